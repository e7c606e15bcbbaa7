//! What a client that waits is told.

use std::cell::RefCell;

use stap_protocol::notice::Notice;
use stap_protocol::reply::{Answer, Replies, Reply, ReplyLimits};
use stap_protocol::request::{Parts, Request};

use crate::client::{connected, request, talk};
use crate::server::{Server, logged};
use crate::stand_in::{HELLO, KEEP, RELEASE_ALL, THREE, WAIT, WAIT_ON};

/// A request of a client of ours whose user looks on.
fn curious(request: Request) -> Vec<u8> {
    let parts = Parts {
        wants_progress: true,
        ..request.into_parts()
    };
    Request::new(parts).unwrap().encode()
}

fn script(text: &str) -> Request {
    request(&["-p4", &format!("-e{text}")])
}

/// Sends a package, and gives what comes before the reply to `hear`.
async fn hearing(server: &Server, package: &[u8], hear: impl FnMut(Notice)) -> Vec<u8> {
    let stream = connected(server).await;
    let answer = stream.exchange_hearing(package, 64 << 20, hear).await;
    answer.unwrap()
}

/// Holds the only slot until it is dropped.
async fn hold_the_slot(server: &Server) {
    let package = script(WAIT).encode();
    let stream = connected(server).await;
    let answer = stream.exchange(&package, 1 << 20).await;
    panic!("a job that waits was answered: {answer:?}");
}

#[test]
fn whoever_asks_is_told_his_place_and_that_it_is_his_turn() {
    let server = Server::start(&["--max-threads=1"]);
    let heard = RefCell::new(Vec::new());
    talk(async {
        let is_heard = tokio::sync::Notify::new();
        let hear = |notice| {
            heard.borrow_mut().push(notice);
            is_heard.notify_one();
        };
        let package = curious(script(WAIT));
        let mut first = Box::pin(hold_the_slot(&server));
        tokio::select! {
            () = &mut first => {}
            () = logged(&server, "runs job 1") => {}
        }
        let mut second = Box::pin(hearing(&server, &package, hear));
        tokio::select! {
            () = first => {}
            _ = &mut second => panic!("there is no slot for the second"),
            () = is_heard.notified() => {}
        }
        // The first was cancelled, so nothing is known of the target yet.
        let learns = async {
            while heard.borrow().last() != Some(&Notice::Learning) {
                is_heard.notified().await;
            }
        };
        tokio::select! {
            _ = second => panic!("a job that waits was answered"),
            () = learns => {}
        }
    });
    let heard = heard.borrow();
    let (_learning, queued) = heard.split_last().unwrap();
    assert!(!queued.is_empty());
    for notice in queued {
        let Notice::Queued {
            position: 1,
            waiting: 1,
            seconds,
        } = notice
        else {
            panic!("{heard:?}");
        };
        assert!(*seconds >= 1, "no compile takes no time");
    }
}

/// A stock client would take a notice for a broken package.
#[test]
fn whoever_does_not_ask_gets_not_one_byte_more_however_long_he_waits() {
    let server = Server::start(&["--max-threads=1"]);
    let answer = talk(async {
        let is_heard = tokio::sync::Notify::new();
        let mut first = Box::pin(hold_the_slot(&server));
        tokio::select! {
            () = &mut first => {}
            () = logged(&server, "runs job 1") => {}
        }
        let package = script(HELLO).encode();
        let stream = connected(&server).await;
        let mut second = Box::pin(stream.exchange(&package, 1 << 20));
        // By the time that the third has been told that both wait, the second could have been told so, too.
        let behind = curious(script("hello 3"));
        let third = hearing(&server, &behind, |notice| {
            if matches!(notice, Notice::Queued { waiting: 2, .. }) {
                is_heard.notify_one();
            }
        });
        tokio::select! {
            () = &mut first => {}
            _ = third => panic!("there is no slot for the third"),
            _ = &mut second => panic!("there is no slot for the second"),
            () = is_heard.notified() => {}
        }
        drop(first);
        second.await.unwrap()
    });
    assert!(answer.starts_with(b"PK"), "{:?}", &answer[..16]);
    let reply = Reply::decode(&answer, &ReplyLimits::default()).unwrap();
    assert_eq!((reply.rc, reply.origin), (0, None));
}

#[test]
fn of_several_targets_each_end_is_told() {
    let server = Server::start(&["-r", THREE, "--max-threads=3"]);
    let patterns = ["5.4:x86_64", "*:*"]
        .map(|pattern| pattern.parse().unwrap())
        .to_vec();
    let script = format!("-e{WAIT_ON} arm64");
    let arguments = vec![b"-p4".to_vec(), script.into_bytes()];
    let request = Request::new(Parts::for_several(patterns, arguments)).unwrap();
    let package = curious(request);
    let mut heard = Vec::new();
    talk(async {
        let all = tokio::sync::Notify::new();
        let hear = |notice: Notice| {
            if matches!(notice, Notice::Ended { done: 3, .. }) {
                all.notify_one();
            }
            heard.push(notice.to_string());
        };
        tokio::select! {
            answer = hearing(&server, &package, hear) => {
                let replies = Replies::decode(&answer, &ReplyLimits::for_several());
                let Ok(Answer::Several(_)) = replies else { panic!("{replies:?}") };
                panic!("one of four waits for ever");
            }
            () = all.notified() => {}
        }
    });
    let told = heard.join("\n");
    for end in [
        " 4 5.4 x86_64 failed",
        " 4 6.1.0-9 x86_64 ok",
        " 4 6.12.0-1 x86_64 ok",
    ] {
        assert!(told.contains(end), "{end} is not in\n{told}");
    }
    assert!(told.contains("learning"), "{told}");
}

/// Of one user: his listing does not wait for the compile that has to find out about a kernel first.
#[test]
fn what_compiles_nothing_passes_the_first_compile_for_a_target() {
    let server = Server::start(&["--max-threads=1"]);
    talk(async {
        let both_wait = tokio::sync::Notify::new();
        let hear = |notice| {
            if matches!(notice, Notice::Queued { waiting: 2, .. }) {
                both_wait.notify_one();
            }
        };
        let mut first = Box::pin(hold_the_slot(&server));
        tokio::select! {
            () = &mut first => {}
            () = logged(&server, "runs job 1") => {}
        }
        let long = curious(script("hello long"));
        let short = curious(request(&["-p2", "-ehello short"]));
        let mut both = Box::pin(async {
            let long = hearing(&server, &long, hear);
            let short = hearing(&server, &short, hear);
            tokio::join!(long, short)
        });
        tokio::select! {
            () = &mut first => {}
            _ = &mut both => panic!("there is no slot for them"),
            () = both_wait.notified() => {}
        }
        drop(first);
        both.await;
    });
    server.wait_for_log("runs job 3");
    let log = server.log();
    for line in ["runs job 2: hello short", "runs job 3: hello long"] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

/// What a worker does in a slot on its own account keeps nobody waiting who has his answer, and others only as a job would.
#[test]
fn a_slot_that_the_worker_still_needs_is_free_when_it_says_so() {
    let server = Server::start(&["--max-threads=2"]);
    talk(async {
        let waits = tokio::sync::Notify::new();
        let hear = |notice| {
            if matches!(notice, Notice::Queued { .. }) {
                waits.notify_one();
            }
        };
        hearing(&server, &script(KEEP).encode(), |_| {}).await;
        let mut other = Box::pin(hold_the_slot(&server));
        tokio::select! {
            () = &mut other => {}
            () = logged(&server, "runs job 2") => {}
        }
        let package = curious(script(HELLO));
        let mut next = Box::pin(hearing(&server, &package, hear));
        tokio::select! {
            () = &mut other => {}
            _ = &mut next => panic!("there is no slot for the next"),
            () = waits.notified() => {}
        }
        assert!(!server.log().contains("runs job 3"), "{}", server.log());
        drop(other);
        next.await;
        hearing(&server, &script(RELEASE_ALL).encode(), |_| {}).await;
        let both = async {
            tokio::join!(hold_the_slot(&server), hold_the_slot(&server));
        };
        tokio::select! {
            () = both => {}
            () = logged(&server, "runs job 6") => {}
        }
    });
}
