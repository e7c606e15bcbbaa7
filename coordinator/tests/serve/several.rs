//! Requests for several targets.

use std::path::Path;

use stap_protocol::reply::{Answer, OfTarget, Replies, ReplyLimits};
use stap_protocol::request::{Parts, Request};

use crate::client::{connected, exchange, stderr, talk};
use crate::server::{Server, logged_times};
use crate::stand_in::{HELLO, LIMIT_ON, THREE, WAIT};

fn request(patterns: &[&str], script: &str) -> Request {
    let patterns = patterns.iter().map(|text| text.parse().unwrap()).collect();
    let arguments = vec![b"-p4".to_vec(), format!("-e{script}").into_bytes()];
    Request::new(Parts::for_several(patterns, arguments)).unwrap()
}

fn ask(server: &Server, patterns: &[&str], script: &str) -> Replies {
    let package = request(patterns, script).encode();
    let answer = talk(async {
        let stream = connected(server).await;
        stream.exchange(&package, 64 << 20).await.unwrap()
    });
    match Replies::decode(&answer, &ReplyLimits::for_several()).unwrap() {
        Answer::Several(replies) => replies,
        Answer::One(reply) => panic!("it was taken for one target: {}", stderr(&reply)),
    }
}

fn three(options: &[&str]) -> Server {
    Server::start(&[&["-r", THREE], options].concat())
}

/// A policy with some words of the default replaced.
fn with_policy(name: &str, from: &str, to: &str, options: &[&str]) -> Server {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let text = std::fs::read_to_string(policies.join("shared-host.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(name);
    std::fs::write(&path, text.replace(from, to)).unwrap();
    let policy = format!("--policy={}", path.display());
    Server::start_in(home, &[&["-r", THREE, &policy], options].concat())
}

fn names(replies: &Replies) -> Vec<String> {
    let each = replies.each().iter();
    each.map(|one| one.target.to_string()).collect()
}

fn statuses(replies: &Replies) -> Vec<i32> {
    replies.each().iter().map(|one| one.reply.rc).collect()
}

#[test]
fn each_target_gets_its_own_module() {
    let server = three(&[]);
    let replies = ask(&server, &["6.12*:*", "*:*"], HELLO);
    assert_eq!(
        names(&replies),
        ["6.12.0-1 arm64", "6.12.0-1 x86_64", "6.1.0-9 x86_64"]
    );
    assert_eq!((replies.whole().rc, statuses(&replies)), (0, vec![0; 3]));
    let machine = |one: &OfTarget| one.reply.module().unwrap().content[18];
    let machines: Vec<_> = replies.each().iter().map(machine).collect();
    assert_eq!(machines, [0xb7, 0x3e, 0x3e]);
    assert!(replies.each().iter().all(|one| one.took.is_some()));
    let log = server.log();
    for part in 1..=3 {
        let accepted = format!("-1.{part}] request accepted");
        assert!(log.contains(&accepted), "{accepted} is not in\n{log}");
    }
}

#[test]
fn what_fails_for_one_target_concerns_no_other() {
    let server = three(&[]);
    let script = format!("{LIMIT_ON} 6.1.0-9");
    let replies = ask(&server, &["5.4:x86_64", "*:x86_64"], &script);
    assert_eq!(
        names(&replies),
        ["5.4 x86_64", "6.1.0-9 x86_64", "6.12.0-1 x86_64"]
    );
    assert_eq!((replies.whole().rc, statuses(&replies)), (1, vec![1, 1, 0]));
    let [unknown, limit, good] = replies.each() else {
        panic!("{replies:?}");
    };
    let unknown = stderr(&unknown.reply);
    assert!(
        unknown.contains("does not build for 5.4 x86_64")
            && unknown.contains("6.1.0-9 x86_64, 6.12.0-1 x86_64, 6.12.0-1 arm64")
            && unknown.contains("-1.1)"),
        "{unknown}"
    );
    assert!(
        server.log().contains("-1.1] request refused"),
        "{}",
        server.log()
    );
    let limit = stderr(&limit.reply);
    assert!(limit.contains("reached the limit 'wall'"), "{limit}");
    assert!(good.reply.module().is_some());
}

#[test]
fn a_pattern_without_a_target_names_what_is_served() {
    let server = three(&[]);
    let replies = ask(&server, &["*:*", "7.*:x86_64"], HELLO);
    assert!(replies.each().is_empty());
    let said = stderr(replies.whole());
    assert!(
        said.contains("no target that is called 7.*:x86_64")
            && said.contains("6.1.0-9 x86_64, 6.12.0-1 arm64, 6.12.0-1 x86_64"),
        "{said}"
    );
    assert!(!server.log().contains("runs job"), "{}", server.log());
}

#[test]
fn the_policy_bounds_the_targets_of_a_request() {
    let server = with_policy("two.toml", "targets    = 32", "targets    = 2", &[]);
    let replies = ask(&server, &["*:*"], HELLO);
    let said = stderr(replies.whole());
    assert!(
        said.contains("the request has 3 targets; this server's policy 'shared-host' allows 2"),
        "{said}"
    );
    assert_eq!(statuses(&ask(&server, &["*:x86_64"], HELLO)), [0, 0]);
}

#[test]
fn the_policy_and_its_signatures_hold_for_each_target() {
    let server = three(&["--policy=strict"]);
    let forbidden = Request::new(Parts::for_several(
        vec!["*:*".parse().unwrap()],
        vec![b"-p4".to_vec(), b"-g".to_vec(), b"-ehello".to_vec()],
    ));
    let package = forbidden.unwrap().encode();
    let answer = talk(async {
        let stream = connected(&server).await;
        stream.exchange(&package, 64 << 20).await.unwrap()
    });
    let Ok(Answer::Several(replies)) = Replies::decode(&answer, &ReplyLimits::for_several()) else {
        panic!("no reply for several targets");
    };
    assert_eq!(statuses(&replies), [1, 1, 1]);
    for one in replies.each() {
        let said = stderr(&one.reply);
        assert!(said.contains("option -g is not allowed"), "{said}");
    }
}

#[test]
fn a_client_that_leaves_has_all_its_jobs_cancelled() {
    let server = three(&["--max-threads=2"]);
    let package = request(&["*:*"], WAIT).encode();
    talk(async {
        let stream = connected(&server).await;
        tokio::select! {
            answer = stream.exchange(&package, 1 << 20) => panic!("jobs that wait were answered: {answer:?}"),
            () = logged_times(&server, "runs job", 2) => {}
        }
    });
    server.wait_for_log("cancelled job 1");
    server.wait_for_log("cancelled job 2");
    // The third never began, so the next job has its number.
    let reply = talk(exchange(
        &server,
        &crate::client::request(&["-p4", "-ehello"]).encode(),
    ));
    assert_eq!(reply.rc, 0);
    server.wait_for_log("runs job 3: hello");
}

#[test]
fn a_user_with_room_for_one_job_gets_all_targets_one_after_the_other() {
    let server = with_policy(
        "one.toml",
        "jobs-per-peer        = 64",
        "jobs-per-peer        = 1",
        &["--max-threads=3"],
    );
    for _ in 0..5 {
        assert_eq!(statuses(&ask(&server, &["*:*"], HELLO)), [0, 0, 0]);
    }
}
