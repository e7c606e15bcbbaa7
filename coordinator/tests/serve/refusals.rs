//! Requests that are not served: each is answered, each is logged, and the server goes on.

use stap_protocol::job::InputFile;
use stap_protocol::path::RelativePath;
use stap_protocol::request::Request;

use crate::client::{ask, connected, exchange, request, request_for, stderr, talk};
use crate::server::{Server, logged_times};
use crate::stand_in::{HELLO, WAIT};

/// The number that the client was told stands in a line of the log.
fn is_logged_under_the_same_number(server: &Server, text: &str) {
    let number = text
        .rsplit_once("(request ")
        .unwrap()
        .1
        .trim_end()
        .trim_end_matches(')');
    server.wait_for_log(&format!("[{number}] request refused: "));
}

#[test]
fn an_unknown_kernel_is_refused_with_what_there_is() {
    let server = Server::start(&[]);
    let request = request_for("sysinfo: 6.1.0-10 x86_64", &["-ehello"]);
    let text = stderr(&talk(exchange(&server, &request.encode())));
    assert!(
        text.contains("does not build for 6.1.0-10 x86_64") && text.contains("6.1.0-9 x86_64"),
        "{text}"
    );
    is_logged_under_the_same_number(&server, &text);
}

#[test]
fn a_package_that_is_too_large_is_refused_by_its_size() {
    let server = Server::start(&["--max-compressed-request", "10"]);
    let text = stderr(&talk(ask(&server, HELLO)));
    assert!(text.contains("request file is too large"), "{text}");
    is_logged_under_the_same_number(&server, &text);
}

#[test]
fn a_package_that_unpacks_to_too_much_is_refused() {
    let server = Server::start(&["--max-request-size", "1000"]);
    let mut parts = request(&["-ehello"]).into_parts();
    let path = RelativePath::new("tapset/zeros.stp").unwrap();
    parts.files.push(InputFile {
        path,
        content: vec![0; 100_000],
    });
    let text = stderr(&talk(exchange(
        &server,
        &Request::new(parts).unwrap().encode(),
    )));
    assert!(text.contains("Uncompressed request size of"), "{text}");
}

#[test]
fn garbage_is_answered_and_survived() {
    let server = Server::start(&[]);
    for garbage in [&b"PK"[..], &[0; 1000], b"not an archive at all"] {
        let reply = talk(exchange(&server, garbage));
        assert_eq!(reply.rc, 1);
        assert!(stderr(&reply).starts_with("Server: "), "{}", stderr(&reply));
    }
    assert_eq!(talk(ask(&server, HELLO)).rc, 0);
}

#[test]
fn options_for_the_server_are_refused() {
    let server = Server::start(&[]);
    let reply = talk(exchange(
        &server,
        &request(&["--sign-module", "-ehello"]).encode(),
    ));
    assert!(
        stderr(&reply).contains("--sign-module is not accepted"),
        "{}",
        stderr(&reply)
    );
    assert!(!server.log().contains("runs job"));
}

#[test]
fn a_request_cannot_write_lines_into_the_log() {
    let server = Server::start(&[]);
    let forged = "--x\nMon Nov 23 03:00:00 2026: forged\u{1b}[2J";
    let text = stderr(&talk(exchange(&server, &request(&[forged]).encode())));
    is_logged_under_the_same_number(&server, &text);
    assert!(
        !server
            .log()
            .lines()
            .any(|line| line.ends_with("forged") || line.contains('\u{1b}'))
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_peer_with_too_many_jobs_is_told_when_to_come_back() {
    let server = Server::start(&["--policy=strict", "--max-threads=1"]);
    let text = talk(async {
        let package = request(&[&format!("-e{WAIT}")]).encode();
        let waiting =
            (0..4).map(|_| async { connected(&server).await.exchange(&package, 1 << 20).await });
        let waiting = futures_util::future::join_all(waiting);
        let refused = async {
            logged_times(&server, "request accepted", 4).await;
            ask(&server, HELLO).await
        };
        tokio::select! {
            answers = waiting => panic!("jobs that wait were answered: {answers:?}"),
            reply = refused => stderr(&reply),
        }
    });
    assert!(
        text.contains("the server is busy") && text.contains("Try again in "),
        "{text}"
    );
}
