//! How long a client waits for a result that is kept, alone and among others. The requests come from this program, each on a
//! connection of its own, so that the time of starting a client is in none of it; it shares the processors with the server.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stap_protocol::request::{Parts, Request, SysInfo};
use stap_transport::Deadlines;
use stap_transport::client::{ClientStream, Connector};

use crate::Bench;
use crate::account::Account;
use crate::kinds::{self, HELLO, Script};
use crate::table::{self, Series};
use crate::ways::Way;

/// A server, and what it is asked.
struct Question {
    address: SocketAddr,
    trusted: Vec<Vec<u8>>,
    package: Vec<u8>,
}

/// Whether somebody who asks again goes on with his session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sessions {
    New,
    Resumed,
}

/// Asks with different numbers of connections at once.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let script = kinds::script(HELLO, bench.constants.next());
    let question = Arc::new(question(bench, &script));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("threads are not needed");
    let bytes = runtime.block_on(question.ask(&question.asker()));
    println!("\n### A result that is kept\n");
    println!("{bytes} bytes, {REQUESTS} times, each on a connection of its own.\n");
    println!(
        "| connections at once | sessions | half take at most | 99 of 100 at most | server's processor for each |"
    );
    println!("|---|---|---|---|---|");
    for connections in [1, 8, 64] {
        for sessions in [Sessions::New, Sessions::Resumed] {
            let mut walls = Vec::new();
            let each = cost(bench, || {
                walls = runtime.block_on(crowd(&question, sessions, connections));
            });
            let series = Series::of(walls);
            println!(
                "| {connections} | {} | {} | {} | {} |",
                sessions.title(),
                table::show(series.median()),
                table::show(series.slow()),
                table::show(each),
            );
        }
    }
}

/// The server's processor time for each request.
fn cost(bench: &Bench<'_>, work: impl FnOnce()) -> Duration {
    let server = Some(&bench.yard.ours);
    let before = Account::of(Way::Ours, server);
    work();
    let after = Account::of(Way::Ours, server);
    let requests = u32::try_from(REQUESTS).expect("they are few");
    (after - before).server() / requests
}

async fn crowd(question: &Arc<Question>, sessions: Sessions, connections: usize) -> Vec<Duration> {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let question = Arc::clone(question);
        all.spawn(async move {
            let mut walls = Vec::new();
            let mut asker = question.asker();
            for number in 0..REQUESTS / connections {
                if sessions == Sessions::New {
                    asker = question.asker();
                }
                let start = Instant::now();
                let stream = question.connect(&asker).await;
                let is_resumed = sessions == Sessions::Resumed && number > 0;
                assert_eq!(stream.is_resumed(), is_resumed, "the table would be wrong");
                question.exchange(stream).await;
                walls.push(start.elapsed());
            }
            walls
        });
    }
    all.join_all().await.concat()
}

impl Question {
    /// Somebody who has not asked yet.
    fn asker(&self) -> Connector {
        Connector::new(&self.trusted, Deadlines::default())
    }

    async fn connect(&self, asker: &Connector) -> ClientStream {
        let stream = asker.connect(self.address).await;
        stream.expect("the server is trusted")
    }

    async fn exchange(&self, stream: ClientStream) -> usize {
        let answer = stream.exchange(&self.package, MOST).await;
        answer.expect("the server answers").len()
    }

    async fn ask(&self, asker: &Connector) -> usize {
        self.exchange(self.connect(asker).await).await
    }
}

impl Sessions {
    const fn title(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Resumed => "resumed",
        }
    }
}

fn question(bench: &Bench<'_>, script: &Script) -> Question {
    let certificate = bench.yard.client().server_database().join("stap.cert");
    let address = bench.yard.ours.address();
    let release = bench.yard.site.release();
    let target = format!("sysinfo: {release} {}", std::env::consts::ARCH);
    let target = SysInfo::parse(target.as_bytes()).expect("the root has such a kernel");
    let words = vec![b"-p4".to_vec(), script.word()];
    let request = Request::new(Parts::new(target, words));
    Question {
        address: address.parse().expect("the lab has numbers"),
        trusted: vec![fs::read(certificate).expect("it was made")],
        package: request.expect("it is well-formed").encode(),
    }
}

const MOST: u64 = 64 << 20;
/// A multiple of all numbers of connections.
const REQUESTS: usize = 640;
