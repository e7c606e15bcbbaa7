//! A compile server that answers what a test wants.

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use stap_certs::{Identity, ServerDatabase};
use stap_protocol::job::OutputFile;
use stap_protocol::notice::Notice;
use stap_protocol::path::FileName;
use stap_protocol::reply::{Parts, Reply};
use stap_protocol::request::{Limits, Request};
use stap_transport::Deadlines;
use stap_transport::server::{Acceptor, Received};
use tokio::net::TcpListener;

use crate::world::{Finished, World};

/// A running stand-in; it ends with the test's process.
pub(crate) struct StandIn {
    address: SocketAddr,
    requests: Receiver<Request>,
}

/// What is sent for a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes.
    Package(Vec<u8>),
    /// What becomes of the request.
    For(fn(&Request) -> Vec<u8>),
    /// Nothing, until the client has gone.
    Silence,
    /// These notices, and then no reply until the client has gone.
    Notices(Vec<Notice>),
}

impl Answer {
    /// A successful compile with this on stdout and these files.
    pub(crate) fn compiled(stdout: &str, files: &[&str]) -> Self {
        let file = |name: &&str| OutputFile {
            name: FileName::try_from(*name).unwrap(),
            content: b"ELF".to_vec(),
        };
        Self::of(Parts {
            stdout: stdout.as_bytes().to_vec(),
            stderr: b"server's words\n".to_vec(),
            files: files.iter().map(file).collect(),
            ..Parts::default()
        })
    }

    /// A module, named on the server's stdout as stap names it.
    pub(crate) fn module(name: &str) -> Self {
        Self::compiled(&format!("<server>/stap000000/{name}\n"), &[name])
    }

    pub(crate) fn of(parts: Parts) -> Self {
        Self::Package(Reply::new(parts).unwrap().encode())
    }
}

impl StandIn {
    pub(crate) fn answering(answer: Answer) -> Self {
        let (tell_address, address) = channel();
        let (tell_request, requests) = channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(&answer, &tell_address, &tell_request));
        });
        Self {
            address: address.recv().unwrap(),
            requests,
        }
    }

    /// What `--server=` is given.
    pub(crate) fn option(&self) -> String {
        format!("--server={}", self.address)
    }

    /// The next request, which the client has sent or will send.
    pub(crate) fn request(&self) -> Request {
        self.requests
            .recv_timeout(Duration::from_secs(30))
            .expect("the client asks the server")
    }

    pub(crate) fn was_not_asked(&self) -> bool {
        self.requests.try_recv().is_err()
    }

    /// A client that trusts this server and asks no other.
    pub(crate) fn client(&self, world: &World) -> Command {
        let trusted = world
            .tool("stap-authorize-server-cert")
            .arg(certificate_file())
            .arg(world.path("trusted"))
            .output()
            .unwrap();
        assert_eq!((trusted.err().as_str(), trusted.code()), ("", 0));
        let mut client = world.tool("stap-client");
        client
            .arg(self.option())
            .arg(format!("--ssl={}", world.path("trusted").display()));
        client
    }
}

async fn serve(answer: &Answer, tell_address: &Sender<SocketAddr>, tell: &Sender<Request>) {
    let opened = database();
    let acceptor =
        Acceptor::new(opened.certificate.der().to_vec(), opened.private_key_pkcs8).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell_address.send(listener.local_addr().unwrap()).unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(socket, &Deadlines::default()).await else {
            continue;
        };
        let Ok(Received::Request(package)) = stream.read_request(64 << 20).await else {
            continue;
        };
        let request = Request::decode(&package, &Limits::default()).unwrap();
        let made = match answer {
            Answer::For(make) => make(&request),
            _ => Vec::new(),
        };
        if tell.send(request).is_err() {
            return;
        }
        match answer {
            Answer::Package(bytes) => stream.reply(bytes).await.unwrap(),
            Answer::For(_) => stream.reply(&made).await.unwrap(),
            Answer::Silence => stream.gone().await,
            Answer::Notices(notices) => {
                let mut lines = Some(notices.iter().flat_map(Notice::encode).collect());
                let told = || {
                    let lines = lines.take();
                    async {
                        match lines {
                            Some(lines) => lines,
                            None => pending().await,
                        }
                    }
                };
                stream.gone_while_told(told).await;
            }
        }
    }
}

/// Keys take long to make, so one serves all tests of a build.
fn database() -> stap_certs::server::Opened {
    #[expect(
        clippy::disallowed_methods,
        reason = "the certificate must be valid now"
    )]
    let now = SystemTime::now();
    ServerDatabase::open_or_create(&directory(), &Identity::of_host("localhost"), now).unwrap()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stand-in")
}

/// The file that the server's owner would hand out.
pub(crate) fn certificate_file() -> PathBuf {
    drop(database());
    directory().join("stap.cert")
}
