//! How a server comes to its end, and how it does not even begin.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{connected, request, stderr, talk};
use crate::server::{Server, Verdict, launch, log_file, logged};
use crate::stand_in::{CRASH, NOTHING, WAIT};

use stap_protocol::reply::{Reply, ReplyLimits};

/// Sends a script, does something once it runs, and returns the answer.
fn interrupted(server: &Server, script: &str, act: impl FnOnce(&Server)) -> Reply {
    talk(async {
        let package = request(&[&format!("-e{script}")]).encode();
        let stream = connected(server).await;
        let acting = async {
            logged(server, "runs job 1").await;
            act(server);
        };
        let (answer, ()) = tokio::join!(stream.exchange(&package, 1 << 20), acting);
        Reply::decode(&answer.unwrap(), &ReplyLimits::default()).unwrap()
    })
}

#[test]
fn a_server_that_is_asked_to_stop_answers_first() {
    let mut server = Server::start(&[]);
    let reply = interrupted(&server, WAIT, |server| server.signal(Signal::TERM));
    assert_eq!(reply.rc, 1);
    assert!(
        stderr(&reply).contains("the server is stopping"),
        "{}",
        stderr(&reply)
    );
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut server = Server::start(&[]);
    talk(async {
        let package = request(&[&format!("-e{WAIT}")]).encode();
        let stream = connected(&server).await;
        let twice = async {
            for text in ["runs job 1", "stopping, "] {
                logged(&server, text).await;
                server.signal(Signal::TERM);
            }
        };
        // The connection may end in any way.
        let (_answer, ()) = tokio::join!(stream.exchange(&package, 1 << 20), twice);
    });
    assert_eq!(server.ended().code(), Some(0));
    assert!(server.log().contains("stopping at once"));
}

#[test]
fn signals_of_a_lost_terminal_do_not_end_it() {
    let mut server = Server::start(&[]);
    for signal in [Signal::HUP, Signal::PIPE, Signal::XFSZ, Signal::XCPU] {
        server.signal(signal);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_worker_that_dies_is_told_to_its_clients_and_ends_the_server() {
    let mut server = Server::start(&[]);
    let reply = interrupted(&server, CRASH, |_| ());
    assert_eq!(reply.rc, 1);
    assert!(
        stderr(&reply).contains("the script is not to blame"),
        "{}",
        stderr(&reply)
    );
    assert_eq!(server.ended().code(), Some(1));
    assert!(
        server.log().contains("the worker is gone"),
        "{}",
        server.log()
    );
}

#[test]
fn a_busy_port_is_the_reason_for_not_starting() {
    let busy = TcpListener::bind("[::]:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let home = TempDir::new().unwrap();
    let (mut child, verdict) = launch(&home, &[&format!("--port={port}")]);
    match verdict {
        Verdict::Failed(reason) => assert!(
            reason.contains("could not open a connection to listen on"),
            "{reason}"
        ),
        Verdict::Ready(port) => panic!("two servers on port {port}"),
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_certificate_stays_the_same_over_a_restart() {
    let home = TempDir::new().unwrap();
    let certificates: Vec<_> = (0..2)
        .map(|_| {
            let (mut child, verdict) = launch(&home, &[]);
            assert!(matches!(verdict, Verdict::Ready(_)));
            child.kill().unwrap();
            child.wait().unwrap();
            fs::read(home.path().join("db/stap.cert")).unwrap()
        })
        .collect();
    assert_eq!(certificates[0], certificates[1]);
}

#[test]
fn a_server_without_targets_says_what_is_missing_and_what_to_do() {
    let home = TempDir::new().unwrap();
    let (mut child, verdict) = launch(&home, &["-r", NOTHING]);
    let Verdict::Failed(reason) = verdict else {
        panic!("it serves nothing");
    };
    assert_eq!(child.wait().unwrap().code(), Some(1));
    for part in ["no stap in /", "headers", "deploy/target-root"] {
        assert!(reason.contains(part), "{reason}");
    }
    let log = fs::read_to_string(log_file(&home)).unwrap();
    assert!(
        log.contains(": WARNING: worker: there is no stap\n"),
        "{log}"
    );
}
