//! The other end of a connection, misbehaving on purpose.
//!
//! A client is made of openssl's own tool, which shares no code with us and sends any bytes. A server
//! is made of our transport, which sends any bytes as a reply.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use stap_certs::{Certificate, Identity, ServerDatabase};
use stap_protocol::reply::{Parts, Reply, ReplyLimits};
use stap_transport::Deadlines;
use stap_transport::server::{Acceptor, Received};

use crate::command::Invocation;
use crate::lab::User;
use crate::server::Server;
use crate::world;

/// How long a server may keep a misbehaving client waiting for its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends bytes through TLS and returns all that comes back until the server closes.
#[must_use]
pub fn send(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let client = Invocation::new("openssl")
        .args(["s_client", "-quiet", "-connect", &server.address()])
        .env("PATH", world::PATH)
        .input(bytes)
        .deadline(PATIENCE);
    client.run().stdout
}

/// Sends bytes without TLS and returns all that comes back until the server closes.
///
/// # Panics
/// When the server cannot be reached, or does not close.
#[must_use]
pub fn send_plain(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).expect("the server listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the time is not zero");
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server closes without a reset");
    answer
}

/// Sends a package with the size in front that it has, and reads the reply.
///
/// # Panics
/// When the reply is not one that a client would accept.
#[must_use]
pub fn request(server: &Server, package: &[u8]) -> Parts {
    let size = u32::try_from(package.len()).expect("packages in tests are small");
    reply(&send(server, &[&size.to_be_bytes(), package].concat()))
}

/// Reads a reply as our client does.
///
/// # Panics
/// When it is not one that a client would accept.
#[must_use]
pub fn reply(bytes: &[u8]) -> Parts {
    let decoded = Reply::decode(bytes, &ReplyLimits::default());
    decoded
        .unwrap_or_else(|error| panic!("{} bytes: {error}", bytes.len()))
        .into_parts()
}

/// Makes the databases that the first start of a server of `user` would make, at this time.
///
/// # Panics
/// When they cannot be made.
pub fn databases(user: User, now: SystemTime) -> Certificate {
    let own =
        ServerDatabase::open_or_create(&user.server_database(), &Identity::of_this_host(), now);
    let opened = own.expect("a fresh database can be made");
    stap_certs::authorize_own(&user.client_database(), &opened, now).expect("so can this one");
    let owner = format!("{0}:{0}", user.id);
    let chown = Invocation::new("chown")
        .arg("-R")
        .arg(owner)
        .arg(user.home().join(".systemtap"));
    chown.env("PATH", world::PATH).run().exits(0);
    opened.certificate
}

/// The time of the tests' own certificates.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a client judges a certificate by its own clock"
)]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// A server that answers every request with the same bytes.
#[derive(Debug)]
pub struct Liar {
    /// Where it listens.
    pub port: u16,
    thread: JoinHandle<()>,
}

impl Liar {
    /// Answers `count` requests under the certificate that `user`'s own servers would use.
    ///
    /// # Panics
    /// When that user has no [`databases`].
    #[must_use]
    pub fn answering(user: User, count: usize, bytes: Vec<u8>) -> Self {
        let database = user.server_database();
        let acceptor = acceptor(&database);
        let (ready, port) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime starts").block_on(async move {
                let listener = tokio::net::TcpListener::bind((world::ADDRESS, 0)).await;
                let listener = listener.expect("a port is free");
                let address = listener.local_addr().expect("it is bound");
                ready.send(address.port()).expect("the test waits for it");
                for _ in 0..count {
                    let (stream, _) = listener.accept().await.expect("the client comes");
                    answer(&acceptor, stream, &bytes).await;
                }
            });
        });
        Self {
            port: port.recv().expect("the thread starts"),
            thread,
        }
    }

    /// Waits until all answers were given.
    ///
    /// # Panics
    /// When it could not answer.
    pub fn finish(self) {
        self.thread.join().expect("every client got its answer");
    }
}

async fn answer(acceptor: &Acceptor, stream: tokio::net::TcpStream, bytes: &[u8]) {
    let accepted = acceptor.accept(stream, &Deadlines::default()).await;
    let mut stream = accepted.expect("the client trusts this certificate");
    let received = stream
        .read_request(1 << 20)
        .await
        .expect("our client is well behaved");
    assert!(
        matches!(received, Received::Request(_)),
        "our client sends requests"
    );
    // A client that has seen enough may close before it took all.
    if let Err(error) = stream.reply(bytes).await {
        assert!(bytes.len() > 1 << 20, "a small answer is taken: {error}");
    }
}

fn acceptor(database: &Path) -> Acceptor {
    let read = |name| std::fs::read(database.join(name)).expect("the databases were made before");
    Acceptor::new(read("stap.cert"), read("stap.key")).expect("a server could use them")
}
