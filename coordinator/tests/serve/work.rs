//! Requests that are served.

use std::io::Write as _;
use std::net::TcpStream;

use stap_transport::Deadlines;
use stap_transport::client::probe_certificate;

use crate::client::{ask, connected, exchange, request, stderr, talk};
use crate::server::{Server, logged};
use crate::stand_in::{HELLO, LIMIT, WAIT};

#[test]
fn a_request_gets_its_module() {
    let server = Server::start(&[]);
    let reply = talk(ask(&server, HELLO));
    assert_eq!(
        (reply.rc, &reply.stdout[..]),
        (0, &b"<server>/hello.ko\n"[..])
    );
    assert_eq!(reply.module().unwrap().name.as_bytes(), b"hello.ko");
    assert_eq!(stderr(&reply), "");
    assert!(server.log().contains(&format!(
        ": Using network address [::]:{}",
        server.address().port()
    )));
}

#[test]
fn a_client_that_leaves_has_its_job_cancelled() {
    let server = Server::start(&[]);
    talk(async {
        let package = request(&[&format!("-e{WAIT}")]).encode();
        let stream = connected(&server).await;
        tokio::select! {
            answer = stream.exchange(&package, 1 << 20) => panic!("a job that waits was answered: {answer:?}"),
            () = logged(&server, "runs job 1: wait") => {}
        }
    });
    server.wait_for_log("cancelled job 1");
    server.wait_for_log("the client left before its answer");
}

#[test]
fn a_limit_is_explained() {
    let server = Server::start(&[]);
    let reply = talk(ask(&server, LIMIT));
    assert_eq!((reply.rc, reply.files.len()), (1, 0));
    let text = stderr(&reply);
    assert!(
        text.starts_with("Server: ")
            && text.contains("'wall' of 300 s")
            && text.contains("(request "),
        "{text}"
    );
}

#[test]
fn a_probe_for_the_certificate_gets_just_that() {
    let server = Server::start(&[]);
    let seen = talk(probe_certificate(server.address(), &Deadlines::default())).unwrap();
    assert_eq!(seen, server.certificate());
    assert_eq!(talk(ask(&server, HELLO)).rc, 0);
}

#[test]
fn silent_connections_keep_nobody_out() {
    let server = Server::start(&["--policy=strict"]);
    let mut silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    // Some have begun a handshake and stopped in the middle.
    for connection in silent.iter_mut().step_by(2) {
        connection.write_all(b"\x16\x03\x01").unwrap_or_default();
    }
    assert_eq!(talk(ask(&server, HELLO)).rc, 0);
}

#[test]
fn several_clients_are_served_at_once() {
    let server = Server::start(&["--max-threads=4"]);
    let replies = talk(async {
        let package = request(&[&format!("-e{HELLO}")]).encode();
        let asked = (0..16).map(|_| exchange(&server, &package));
        futures_util::future::join_all(asked).await
    });
    assert_eq!(replies.iter().filter(|reply| reply.rc == 0).count(), 16);
}

#[test]
fn a_log_that_cannot_be_written_does_not_stop_the_service() {
    let server = Server::start(&["--log", "/dev/full"]);
    for _ in 0..2 {
        assert_eq!(talk(ask(&server, HELLO)).rc, 0);
    }
}
