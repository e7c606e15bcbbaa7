//! A request and its reply, over real sockets.

use crate::support::{Identity, PATIENT, Server};
use stap_transport::client::{self, ConnectError, Connector};
use stap_transport::server::{Acceptor, Received, TransportError};

const MAX_REQUEST: u32 = 8 << 20;
const MAX_REPLY: u64 = 64 << 20;

/// Replies to one request with the request itself.
async fn echo(server: &Server) -> Result<Vec<u8>, TransportError> {
    let mut stream = server.accept().await?;
    let Received::Request(request) = stream.read_request(MAX_REQUEST).await? else {
        panic!("a request was sent, not a probe")
    };
    stream.reply(&request).await?;
    Ok(request)
}

async fn exchanges(identity: &Identity, request: &[u8]) {
    let server = Server::start(identity).await;
    let asking = async {
        let trusted = identity.trusted();
        let stream = client::connect(server.address(), None, &trusted, &PATIENT)
            .await
            .unwrap();
        assert_eq!(stream.peer_certificate(), identity.certificate);
        stream.exchange(request, MAX_REPLY).await.unwrap()
    };
    let (reply, received) = tokio::join!(asking, echo(&server));
    assert!(
        received.unwrap() == request,
        "the request changed on its way"
    );
    assert!(reply == request, "the reply changed on its way");
}

#[tokio::test]
async fn a_request_and_its_reply_arrive_as_they_were_sent() {
    exchanges(&Identity::new(), b"PK a small request").await;
}

#[tokio::test]
async fn whoever_asked_before_may_resume_his_session_and_nobody_else_does() {
    let identity = Identity::new();
    let server = Server::start(&identity).await;
    let (one, other) = (connector(&identity), connector(&identity));
    for (asking, is_resumed) in [(&one, false), (&one, true), (&other, false), (&one, true)] {
        let exchange = async {
            let stream = asking.connect(server.address()).await.unwrap();
            assert_eq!(stream.is_resumed(), is_resumed);
            assert_eq!(stream.peer_certificate(), identity.certificate);
            stream.exchange(b"request", MAX_REPLY).await.unwrap()
        };
        let (reply, received) = tokio::join!(exchange, echo(&server));
        assert_eq!(
            (reply, received.unwrap()),
            (b"request".into(), b"request".into())
        );
    }
}

/// The kernel resets a connection that is closed with something unread in it, and that is the ticket.
#[tokio::test]
async fn a_client_that_closes_with_its_ticket_unread_has_only_ended_its_stream() {
    let identity = Identity::new();
    let server = Server::start(&identity).await;
    let asking = connector(&identity);
    let (client, accepted) = tokio::join!(asking.connect(server.address()), server.accept());
    drop(client.unwrap());
    let received = accepted.unwrap().read_request(MAX_REQUEST).await;
    assert!(
        matches!(received, Err(TransportError::Closed)),
        "{received:?}"
    );
}

#[tokio::test]
async fn a_session_is_of_no_use_with_another_server() {
    let identity = Identity::new();
    let mut server = Server::start(&identity).await;
    let asking = connector(&identity);
    for _ in 0..2 {
        // As after a restart, but for the address.
        server.restart(&identity);
        let exchange = async {
            let stream = asking.connect(server.address()).await.unwrap();
            assert!(!stream.is_resumed(), "the key was that of another server");
            stream.exchange(b"request", MAX_REPLY).await.unwrap()
        };
        let (_, received) = tokio::join!(exchange, echo(&server));
        received.unwrap();
    }
}

#[tokio::test]
async fn a_session_does_not_carry_trust_to_another_certificate() {
    let (identity, other) = (Identity::new(), Identity::new());
    let mut server = Server::start(&identity).await;
    let asking = connector(&identity);
    let exchange = async {
        let stream = asking.connect(server.address()).await.unwrap();
        stream.exchange(b"request", MAX_REPLY).await.unwrap()
    };
    let (_, received) = tokio::join!(exchange, echo(&server));
    received.unwrap();
    server.restart(&other);
    let (refused, _) = tokio::join!(asking.connect(server.address()), server.accept());
    assert!(
        matches!(refused, Err(ConnectError::Untrusted(_))),
        "{refused:?}"
    );
}

fn connector(identity: &Identity) -> Connector {
    Connector::new(&identity.trusted(), PATIENT)
}

#[tokio::test]
async fn a_request_and_a_reply_of_many_records_arrive_whole() {
    let request: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    exchanges(&Identity::new(), &request).await;
}

#[tokio::test]
async fn the_certificate_of_a_stock_server_is_accepted() {
    exchanges(&Identity::stock(), b"request").await;
}

#[tokio::test]
async fn a_certificate_can_be_seen_without_trust() {
    let identity = Identity::valid(2000, 2001);
    let server = Server::start(&identity).await;
    let serving = async {
        let mut stream = server.accept().await.unwrap();
        let received = stream.read_request(MAX_REQUEST).await.unwrap();
        stream.close().await.unwrap();
        received
    };
    let (seen, received) = tokio::join!(
        client::probe_certificate(server.address(), &PATIENT),
        serving
    );
    assert_eq!(seen.unwrap(), identity.certificate);
    assert_eq!(received, Received::ProbeOnly);
}

#[tokio::test]
async fn names_are_told_and_not_judged() {
    let identity = Identity::new();
    let server = Server::start(&identity).await;
    let trusted = identity.trusted();
    for name in [
        "labhost.local",
        "other.example",
        "not_a_dns_name!",
        "127.0.0.1",
    ] {
        let connecting = client::connect(server.address(), Some(name), &trusted, &PATIENT);
        let (stream, accepted) = tokio::join!(connecting, server.accept());
        accepted.unwrap();
        assert_eq!(stream.unwrap().dns_names(), ["labhost", "labhost.local"]);
    }
}

async fn refusal(presented: &Identity, trusted: &[Vec<u8>]) -> (ConnectError, TransportError) {
    let server = Server::start(presented).await;
    let connecting = client::connect(server.address(), None, trusted, &PATIENT);
    let (connected, accepted) = tokio::join!(connecting, async {
        // In TLS 1.3 the server's handshake ends before the client has judged the certificate.
        server.accept().await?.read_request(MAX_REQUEST).await
    });
    (connected.unwrap_err(), accepted.unwrap_err())
}

#[tokio::test]
async fn a_server_that_is_not_in_a_database_is_untrusted() {
    let (others, server) = (Identity::new(), Identity::new());
    let (client, _) = refusal(&server, &others.trusted()).await;
    assert!(matches!(client, ConnectError::Untrusted(_)), "{client:?}");
}

#[tokio::test]
async fn a_server_with_an_empty_database_is_untrusted() {
    let (client, _) = refusal(&Identity::new(), &[]).await;
    assert!(matches!(client, ConnectError::Untrusted(_)), "{client:?}");
}

#[tokio::test]
async fn one_changed_byte_makes_another_certificate() {
    let server = Identity::new();
    let mut almost = server.certificate.clone();
    *almost.last_mut().unwrap() ^= 1;
    let (client, _) = refusal(&server, &[almost]).await;
    assert!(matches!(client, ConnectError::Untrusted(_)), "{client:?}");
}

#[tokio::test]
async fn expired_and_not_yet_valid_are_told_apart() {
    let expired = Identity::valid(2000, 2001);
    let (client, _) = refusal(&expired, &expired.trusted()).await;
    assert!(matches!(client, ConnectError::Expired(_)), "{client:?}");

    let early = Identity::valid(2090, 2100);
    let (client, _) = refusal(&early, &early.trusted()).await;
    assert!(matches!(client, ConnectError::NotYetValid(_)), "{client:?}");
}

#[tokio::test]
async fn an_expired_stranger_is_untrusted_rather_than_expired() {
    let (client, _) = refusal(&Identity::valid(2000, 2001), &[]).await;
    assert!(matches!(client, ConnectError::Untrusted(_)), "{client:?}");
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_and_another_key_is_refused() {
    let victim = Identity::new();
    let thief = Identity {
        certificate: victim.certificate,
        key: Identity::new().key,
    };
    let made = Acceptor::new(thief.certificate, thief.key);
    assert!(matches!(made, Err(TransportError::KeyMismatch)));
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let server = Server::start(&Identity::new()).await;
    let address = server.address();
    drop(server);
    let error = client::connect(address, None, &[], &PATIENT)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
}
