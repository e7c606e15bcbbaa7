//! Servers that do not play fair, against our client.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use stap_protocol::notice::{MAX_NOTICE, MAX_NOTICES, Notice, NoticeError};
use stap_transport::client::{self, ClientStream, ConnectError, ExchangeError};
use stap_transport::{Deadlines, Late, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_rustls::server::TlsStream;

use crate::support::{Identity, PATIENT, raw_server};

const DEADLINES: Deadlines = Deadlines {
    handshake: Duration::from_secs(10),
    read: Duration::from_secs(20),
    write: Duration::from_secs(30),
    whole: Duration::from_secs(60),
};

const PIPE: usize = 64 << 10;
const MAX_REPLY: u64 = 1000;
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn address() -> SocketAddr {
    "192.0.2.1:7".parse().unwrap()
}

/// Connects to a server that presents `shown` and holds the key of `held`.
async fn meet(
    shown: &Identity,
    held: &Identity,
    version: &'static SupportedProtocolVersion,
) -> Result<(ClientStream<DuplexStream>, TlsStream<DuplexStream>), ConnectError> {
    let (near, far) = duplex(PIPE);
    let trusted = shown.trusted();
    let (client, server) = tokio::join!(
        client::connect_over(near, address(), None, &trusted, &DEADLINES),
        raw_server(far, shown.certificate.clone(), held.key.clone(), version),
    );
    client.map(|client| {
        (
            client,
            server.expect("the client has finished the handshake"),
        )
    })
}

async fn connected() -> (ClientStream<DuplexStream>, TlsStream<DuplexStream>) {
    let identity = Identity::new();
    meet(&identity, &identity, &TLS13).await.unwrap()
}

#[tokio::test]
async fn the_owner_of_a_trusted_certificate_is_accepted() {
    for version in VERSIONS {
        for identity in [Identity::new(), Identity::stock()] {
            meet(&identity, &identity, version).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_shows_a_trusted_certificate_without_its_key_is_refused() {
    for version in VERSIONS {
        for (shown, held) in [
            (Identity::new(), Identity::new()),
            (Identity::stock(), Identity::stock()),
        ] {
            let error = meet(&shown, &held, version).await.unwrap_err();
            assert!(matches!(error, ConnectError::Handshake { .. }), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_shakes_hands_is_left() {
    let (near, _far) = duplex(PIPE);
    let error = client::connect_over(near, address(), None, &[], &DEADLINES)
        .await
        .unwrap_err();
    let expected = Late {
        step: Step::Handshake,
        limit: DEADLINES.handshake,
    };
    assert!(
        matches!(error, ConnectError::Late(late) if late == expected),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_reset_is_told_from_other_failures() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let resetting = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        // Some of the client's hello stays unread, so that closing resets the connection.
        socket.read_exact(&mut [0; 1]).await.unwrap();
    };
    let connecting = client::connect(address, None, &[], &PATIENT);
    let (connected, ()) = tokio::join!(connecting, resetting);
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::Reset(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_as_long_as_a_compile_takes() {
    let (client, mut server) = connected().await;
    let started = Instant::now();
    let compiling = async {
        server.read_exact(&mut [0; 4 + 7]).await.unwrap();
        sleep(100 * DEADLINES.whole).await;
        server.write_all(b"reply").await.unwrap();
        server.shutdown().await.unwrap();
    };
    let (reply, ()) = tokio::join!(client.exchange(b"request", MAX_REPLY), compiling);
    assert_eq!(reply.unwrap(), b"reply");
    assert!(started.elapsed() >= 100 * DEADLINES.whole);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_halfway_is_late() {
    let (client, mut server) = connected().await;
    server.write_all(b"rep").await.unwrap();
    server.flush().await.unwrap();
    let error = client.exchange(b"request", MAX_REPLY).await.unwrap_err();
    let expected = Late {
        step: Step::Send,
        limit: DEADLINES.read,
    };
    assert!(
        matches!(error, ExchangeError::Late(late) if late == expected),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (client, mut server) = connected().await;
    let flooding = async { while server.write_all(&[b'x'; 1000]).await.is_ok() {} };
    let (reply, ()) = tokio::join!(client.exchange(b"request", MAX_REPLY), flooding);
    let error = reply.unwrap_err();
    assert!(
        matches!(error, ExchangeError::ReplyTooLong { limit: MAX_REPLY }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_just_closes_has_ended_its_answer() {
    let (client, mut server) = connected().await;
    server.write_all(b"reply").await.unwrap();
    server.flush().await.unwrap();
    let (socket, _session) = server.into_inner();
    drop(socket);
    assert_eq!(client.exchange(b"", MAX_REPLY).await.unwrap(), b"reply");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_take_the_request_is_left() {
    let (client, _server) = connected().await;
    let error = client
        .exchange(&vec![b'x'; 10 * PIPE], MAX_REPLY)
        .await
        .unwrap_err();
    let expected = Late {
        step: Step::Receive,
        limit: DEADLINES.write,
    };
    assert!(
        matches!(error, ExchangeError::Late(late) if late == expected),
        "{error:?}"
    );
}

/// What our client makes of a server that sends `stream` in front of its reply.
async fn told(stream: &[u8]) -> (Result<Vec<u8>, ExchangeError>, Vec<Notice>) {
    let (client, mut server) = connected().await;
    let mut heard = Vec::new();
    let serving = async {
        // A client that has heard enough closes the connection.
        if server.write_all(stream).await.is_ok() {
            server.shutdown().await.unwrap_or_default();
        }
    };
    let hearing = client.exchange_hearing(b"request", MAX_REPLY, |notice| heard.push(notice));
    let (reply, ()) = tokio::join!(hearing, serving);
    (reply, heard)
}

#[tokio::test]
async fn notices_are_heard_and_the_reply_is_none_of_them() {
    let (reply, heard) = told(b"notice: running\nnotice: later\nPK and the rest").await;
    assert_eq!(reply.unwrap(), b"PK and the rest");
    assert_eq!(heard, [Notice::Running]);
}

#[tokio::test]
async fn a_client_that_asks_for_no_notices_takes_none_out_of_its_reply() {
    let (client, mut server) = connected().await;
    server.write_all(b"notice: running\nPK").await.unwrap();
    server.shutdown().await.unwrap();
    let reply = client.exchange(b"request", MAX_REPLY).await.unwrap();
    assert_eq!(reply, b"notice: running\nPK");
}

#[tokio::test]
async fn a_reply_that_ends_where_a_notice_begins_arrives() {
    for reply in [&b""[..], b"not", b"notice: "] {
        assert_eq!(told(reply).await.0.unwrap(), reply);
    }
}

#[tokio::test]
async fn a_notice_without_end_is_cut_off() {
    let line = [&b"notice: "[..], &[b'x'; MAX_NOTICE]].concat();
    let error = told(&line).await.0.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Notice(NoticeError::TooLong)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_notices_is_cut_off() {
    let most = MAX_NOTICES as usize;
    let (reply, heard) = told(&b"notice: running\n".repeat(most + 1)).await;
    let error = reply.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Notice(NoticeError::TooMany)),
        "{error:?}"
    );
    assert_eq!(heard.len(), most);
}

#[tokio::test(start_paused = true)]
async fn notices_without_end_are_not_heard_for_ever() {
    let (client, mut server) = connected().await;
    let talking = async {
        while server.write_all(b"notice: running\n").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let (mut heard, started) = (0, Instant::now());
    let hearing = client.exchange_hearing(b"request", MAX_REPLY, |_| heard += 1);
    let error = tokio::select! {
        reply = hearing => reply.unwrap_err(),
        () = talking => panic!("the client left without a word"),
    };
    assert!(
        matches!(error, ExchangeError::Notice(NoticeError::TooMany)),
        "{error:?}"
    );
    assert_eq!(heard, MAX_NOTICES);
    assert!(started.elapsed() < Duration::from_secs(5 * 3600));
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_stops_halfway_is_late_and_silence_between_two_is_not() {
    let (client, mut server) = connected().await;
    let talking = async {
        server.write_all(b"notice: running\n").await.unwrap();
        sleep(100 * DEADLINES.whole).await;
        server.write_all(b"notice: runn").await.unwrap();
    };
    let hearing = client.exchange_hearing(b"request", MAX_REPLY, drop);
    let (reply, ()) = tokio::join!(hearing, talking);
    let error = reply.unwrap_err();
    let expected = Late {
        step: Step::Send,
        limit: DEADLINES.read,
    };
    assert!(
        matches!(error, ExchangeError::Late(late) if late == expected),
        "{error:?}"
    );
}
