//! Clients that do not play fair, against our server.
//!
//! Where time matters the clock is paused: it jumps to the next deadline whenever everybody waits.

use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use stap_protocol::frame::FrameError;
use stap_transport::client;
use stap_transport::server::{Received, ServerStream, TransportError};
use stap_transport::{Deadlines, Late, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use crate::support::{Identity, PATIENT, Server, raw_client};

const DEADLINES: Deadlines = Deadlines {
    handshake: Duration::from_secs(10),
    read: Duration::from_secs(20),
    write: Duration::from_secs(30),
    whole: Duration::from_secs(60),
};

const PIPE: usize = 64 << 10;
const MAX_REQUEST: u32 = 1000;

type Pair = (TlsStream<DuplexStream>, ServerStream<DuplexStream>);

async fn connected() -> Pair {
    let identity = Identity::new();
    let (near, far) = duplex(PIPE);
    let acceptor = identity.acceptor();
    let (client, server) = tokio::join!(
        raw_client(near, &identity, &TLS13),
        acceptor.accept(far, &DEADLINES)
    );
    (client.unwrap(), server.unwrap())
}

fn late(result: Result<impl std::fmt::Debug, TransportError>) -> Late {
    match result {
        Err(TransportError::Late(late)) => late,
        other => panic!("the peer was not found too slow: {other:?}"),
    }
}

#[tokio::test]
async fn plain_bytes_instead_of_a_handshake_are_refused_without_a_reset() {
    let server = Server::start(&Identity::new()).await;
    let talking = async {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket
            .write_all(&b"GET / HTTP/1.0\r\n\r\n".repeat(1000))
            .await
            .unwrap();
        let mut answer = Vec::new();
        socket
            .read_to_end(&mut answer)
            .await
            .expect("the connection ends without a reset");
        answer
    };
    let (answer, accepted) = tokio::join!(talking, server.accept());
    assert!(
        matches!(accepted, Err(TransportError::Handshake(_))),
        "{accepted:?}"
    );
    assert_eq!(
        answer.first(),
        Some(&21),
        "a TLS alert tells the peer what went wrong"
    );
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_and_then_silence_ends_at_the_deadline() {
    let (mut near, far) = duplex(PIPE);
    near.write_all(b"\x16\x03\x01").await.unwrap();
    let started = Instant::now();
    let accepted = Identity::new().acceptor().accept(far, &DEADLINES).await;
    assert_eq!(
        late(accepted),
        Late {
            step: Step::Handshake,
            limit: DEADLINES.handshake
        }
    );
    assert_eq!(started.elapsed(), DEADLINES.handshake);
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_handshake_ends_at_the_deadline() {
    let (_client, mut server) = connected().await;
    let received = server.read_request(MAX_REQUEST).await;
    assert_eq!(
        late(received),
        Late {
            step: Step::Send,
            limit: DEADLINES.read
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_drips_in_ends_at_the_deadline_for_the_whole() {
    let (mut client, mut server) = connected().await;
    let dripping = async {
        client.write_all(&500_u32.to_be_bytes()).await.unwrap();
        loop {
            sleep(DEADLINES.read / 2).await;
            client.write_all(b"x").await.unwrap();
            client.flush().await.unwrap();
        }
    };
    let received = tokio::select! {
        received = server.read_request(MAX_REQUEST) => received,
        () = dripping => unreachable!("the client drips for ever"),
    };
    assert_eq!(
        late(received),
        Late {
            step: Step::Send,
            limit: DEADLINES.whole
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_reply_is_left() {
    let (client, server) = connected().await;
    let replied = server.reply(&vec![b'x'; 10 * PIPE]).await;
    assert_eq!(
        late(replied),
        Late {
            step: Step::Receive,
            limit: DEADLINES.write
        }
    );
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_its_end_open_after_the_reply_is_left() {
    let (mut client, server) = connected().await;
    let started = Instant::now();
    let (replied, _) = tokio::join!(server.reply(b"reply"), async {
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply, b"reply");
    });
    replied.unwrap();
    assert!(started.elapsed() <= DEADLINES.whole);
}

#[tokio::test]
async fn a_request_announced_above_the_limit_is_refused_before_its_body() {
    let (mut client, mut server) = connected().await;
    client
        .write_all(&(MAX_REQUEST + 1).to_be_bytes())
        .await
        .unwrap();
    client.flush().await.unwrap();
    let refused = server.read_request(MAX_REQUEST).await;
    let expected = FrameError::TooLarge {
        announced: MAX_REQUEST + 1,
        limit: MAX_REQUEST,
    };
    assert!(matches!(&refused, Err(TransportError::Frame(error)) if *error == expected));
}

#[tokio::test]
async fn a_negative_size_is_refused() {
    let (mut client, mut server) = connected().await;
    client.write_all(&[0xff; 4]).await.unwrap();
    client.flush().await.unwrap();
    let refused = server.read_request(MAX_REQUEST).await;
    assert!(
        matches!(
            refused,
            Err(TransportError::Frame(FrameError::Negative(-1)))
        ),
        "{refused:?}"
    );
}

/// Over real sockets, with more bytes under way than they hold: this is where a reset would come from.
#[tokio::test]
async fn a_client_that_sends_all_of_a_request_that_is_too_large_still_gets_the_reason() {
    let identity = Identity::new();
    let server = Server::start(&identity).await;
    let refusing = async {
        let mut stream = server.accept().await.unwrap();
        stream.read_request(MAX_REQUEST).await.unwrap_err();
        stream.reply(b"the reason").await
    };
    let asking = async {
        let trusted = identity.trusted();
        let stream = client::connect(server.address(), None, &trusted, &PATIENT)
            .await
            .unwrap();
        stream.exchange(&vec![b'x'; 20 << 20], 1000).await
    };
    let (refused, reply) = tokio::join!(refusing, asking);
    refused.unwrap();
    assert_eq!(reply.unwrap(), b"the reason");
}

#[tokio::test]
async fn bytes_behind_the_request_are_ignored_and_the_reply_arrives() {
    let (mut client, mut server) = connected().await;
    let asking = async {
        client.write_all(b"\0\0\0\x04bodyand more").await.unwrap();
        client.flush().await.unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.unwrap();
        drop(client);
        reply
    };
    let serving = async {
        let received = server.read_request(MAX_REQUEST).await.unwrap();
        server.reply(b"reply").await.unwrap();
        received
    };
    let (reply, received) = tokio::join!(asking, serving);
    assert_eq!(received, Received::Request(b"body".to_vec()));
    assert_eq!(reply, b"reply");
}

#[tokio::test]
async fn a_request_shorter_than_announced_is_cut_short() {
    for ends_politely in [true, false] {
        let (mut client, mut server) = connected().await;
        client.write_all(b"\0\0\0\x0abody").await.unwrap();
        client.flush().await.unwrap();
        if ends_politely {
            client.shutdown().await.unwrap();
        }
        drop(client);
        let received = server.read_request(MAX_REQUEST).await;
        let cut = matches!(received, Err(TransportError::Truncated { missing: 6 }));
        assert!(cut, "{received:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_is_closed() {
    let (client, mut server) = connected().await;
    drop(client);
    let received = server.read_request(MAX_REQUEST).await;
    assert!(
        matches!(received, Err(TransportError::Closed)),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_during_the_compile_is_noticed() {
    let (mut client, mut server) = connected().await;
    client.write_all(b"\0\0\0\x04bodymore").await.unwrap();
    client.flush().await.unwrap();
    server.read_request(MAX_REQUEST).await.unwrap();
    tokio::select! {
        biased;
        () = server.gone() => panic!("the client is still there"),
        () = tokio::task::yield_now() => {}
    }
    drop(client);
    server.gone().await;
    server
        .reply(b"reply")
        .await
        .expect_err("nobody is there to take it");
}

#[tokio::test]
async fn a_client_that_goes_on_talking_during_the_compile_is_taken_for_gone() {
    let (mut client, mut server) = connected().await;
    let talking = async {
        client.write_all(b"\0\0\0\x04body").await.unwrap();
        while client.write_all(&[b'x'; 1000]).await.is_ok() {}
    };
    let waiting = async {
        server.read_request(MAX_REQUEST).await.unwrap();
        server.gone().await;
    };
    tokio::select! {
        () = talking => panic!("the client talks for ever"),
        () = waiting => {}
    }
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_served() {
    let identity = Identity::new();
    let (near, far) = duplex(PIPE);
    let acceptor = identity.acceptor();
    let asking = async {
        let mut client = raw_client(near, &identity, &TLS12).await.unwrap();
        client.write_all(b"\0\0\0\x04body").await.unwrap();
        client.flush().await.unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.unwrap();
        reply
    };
    let serving = async {
        let mut server = acceptor.accept(far, &DEADLINES).await.unwrap();
        server.read_request(MAX_REQUEST).await.unwrap();
        server.reply(b"reply").await.unwrap();
    };
    assert_eq!(tokio::join!(asking, serving).0, b"reply");
}
