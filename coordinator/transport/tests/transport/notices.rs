//! What our server tells a client that waits.

use std::cell::Cell;
use std::future::ready;
use std::time::Duration;

use rustls::version::TLS13;
use stap_transport::server::ServerStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::support::{Identity, PATIENT, raw_client};

/// Bytes of a piece.
const PIECE: usize = 400;
/// More than TLS holds back at once.
const LARGE_PIECE: usize = 200_000;
/// What the ticket of the session takes at most, which is sent first.
const TICKET: usize = 300;
/// Small, so that few pieces fill it.
const PIPE: usize = 1000 + TICKET;

async fn connected() -> (TlsStream<DuplexStream>, ServerStream<DuplexStream>) {
    let identity = Identity::new();
    let (near, far) = duplex(PIPE);
    let acceptor = identity.acceptor();
    let (client, server) = tokio::join!(
        raw_client(near, &identity, &TLS13),
        acceptor.accept(far, &PATIENT)
    );
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    client.write_all(b"\0\0\0\x04body").await.unwrap();
    client.flush().await.unwrap();
    server.read_request(100).await.unwrap();
    (client, server)
}

/// Pieces that can be told apart, and how many were asked for.
fn pieces(asked: &Cell<u8>, size: usize) -> impl FnMut() -> std::future::Ready<Vec<u8>> {
    move || {
        asked.set(asked.get() + 1);
        ready(vec![asked.get(); size])
    }
}

/// Whenever the job ends, the client has every piece that was begun, whole and in its order, and the reply behind them.
#[tokio::test(start_paused = true)]
async fn what_was_begun_is_sent_before_the_reply() {
    for size in [PIECE, LARGE_PIECE] {
        let (mut client, mut server) = connected().await;
        let asked = Cell::new(0);
        let mut seen = vec![0; 1700];
        let waiting = async {
            let told = server.gone_while_told(pieces(&asked, size));
            let read = client.read_exact(&mut seen);
            tokio::select! {
                () = told => panic!("the client is there"),
                read = read => read.unwrap(),
            }
        };
        waiting.await;
        let rest = async {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            client.shutdown().await.unwrap();
            rest
        };
        let (rest, sent) = tokio::join!(rest, server.reply(b"PK"));
        sent.unwrap();
        let told: Vec<u8> = (1..=asked.get()).flat_map(|one| vec![one; size]).collect();
        assert!(
            [seen, rest].concat() == [&told[..], b"PK"].concat(),
            "{size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_costs_a_few_pieces_and_delays_nothing() {
    let (client, mut server) = connected().await;
    let asked = Cell::new(0);
    let told = server.gone_while_told(pieces(&asked, PIECE));
    let waited = timeout(Duration::from_secs(1000), told).await;
    assert!(waited.is_err(), "a client that is slow is not gone");
    let whole = u8::try_from((PIPE - TICKET) / PIECE).unwrap();
    assert_eq!(asked.get(), whole + 1, "what the connection holds, and one");
    drop(client);
    server.gone_while_told(pieces(&asked, PIECE)).await;
    assert_eq!(asked.get(), whole + 1, "nobody is left to be told more");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_found_out_while_there_is_nothing_to_tell() {
    let (client, mut server) = connected().await;
    drop(client);
    server.gone_while_told(std::future::pending).await;
}
