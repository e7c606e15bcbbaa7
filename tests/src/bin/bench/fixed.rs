//! What a request costs whatever is compiled: a stap that only answers, bare and served, and
//! connections that ask for nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use stap_tests::command::Invocation;
use stap_tests::lab::{HELLO, User};
use stap_tests::server::Server;
use stap_tests::world::{PATH, STANDINS};
use stap_transport::{Deadlines, client};

use crate::Bench;
use crate::account::Account;
use crate::table::{self, Series};

/// Measures both many times, because the kernel counts a server's time in hundredths of a second.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let (user, runs) = (bench.yard.client(), RUNS);
    let server = bench.yard.lab.serve(user);
    let (mut alone, mut served) = (Vec::new(), Vec::new());
    let mut cost_alone = Duration::ZERO;
    let mut costs = Vec::new();
    for _ in 0..runs {
        let before = Account::with(&server);
        alone.push(stand_in_alone(user));
        let between = Account::with(&server);
        served.push(stand_in_served(user, &server));
        cost_alone += (between - before).ours;
        costs.push(Account::with(&server) - between);
    }
    println!("\n### A stand-in for stap that compiles nothing\n");
    println!("Medians of {runs} by turns.\n");
    println!("| | |\n|---|---|");
    table::single("alone", &Series::of(alone));
    table::single("served", &Series::of(served));
    table::parts("Who used the processor for it: means", &costs);
    table::mean("the stand-in alone", cost_alone, runs);
    handshakes(user, &server, runs);
    server.stop();
}

/// Our stand-in, in a directory of its own, as the jail starts it.
fn stand_in_alone(user: User) -> Duration {
    let file = user.write("alone/script.stp", HELLO);
    let directory = file.parent().expect("it is in a directory");
    let start = Instant::now();
    let stand_in = Invocation::new(Path::new(STANDINS).join("fakestap"));
    let run = stand_in
        .identity(user.id)
        .directory(directory)
        .env("PATH", PATH)
        .args(["-p4", "-e", HELLO])
        .run();
    assert!(run.code().is_some(), "{run}");
    start.elapsed()
}

fn stand_in_served(user: User, server: &Server) -> Duration {
    let at = format!("--server={}", server.address());
    let start = Instant::now();
    user.client([at.as_str(), "-p4", "-e", HELLO]).exits(0);
    start.elapsed()
}

/// Connections whose server is trusted and that end there. This program is the client, so only the
/// server's processor time is told; the client does about as much.
fn handshakes(user: User, server: &Server, runs: usize) {
    let certificate = fs::read(user.server_database().join("stap.cert")).expect("it was made");
    let address: SocketAddr = server.address().parse().expect("the lab has numbers");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("threads are not needed");
    let (trusted, deadlines) = ([certificate], Deadlines::default());
    let before = Account::with(server);
    let mut walls = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        let connected = runtime.block_on(client::connect(address, None, &trusted, &deadlines));
        drop(connected.expect("the server is trusted"));
        walls.push(start.elapsed());
    }
    let cost = Account::with(server) - before;
    table::single("TLS: connect, handshake, close", &Series::of(walls));
    table::mean("the server's processor time for it", cost.coordinator, runs);
}

/// Of what takes milliseconds.
const RUNS: usize = 40;
