//! What a result that is kept costs the server: one request after the other on connections of their own,
//! from this program, so that the time of a client is in none of it.

use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

use stap_protocol::request::{Parts, Request, SysInfo};
use stap_transport::{Deadlines, client};

use crate::Constants;
use crate::account::Account;
use crate::compile::Contest;
use crate::kinds::{HELLO, script};
use crate::table::{self, Series};

/// Asks `runs` times for what the first one made.
pub(crate) fn measure(contest: &Contest, runs: usize, constants: &mut Constants) {
    let certificate = contest.user.server_database().join("stap.cert");
    let trusted = [fs::read(certificate).expect("it was made")];
    let address = contest.server.address();
    let address: SocketAddr = address.parse().expect("the lab has numbers");
    let package = package(contest, constants.next());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("threads are not needed");
    let deadlines = Deadlines::default();
    let ask = || async {
        let stream = client::connect(address, None, &trusted, &deadlines).await;
        let stream = stream.expect("the server is trusted");
        let answer = stream.exchange(&package, MOST).await;
        answer.expect("the server answers").len()
    };
    runtime.block_on(ask());
    let before = Account::with(&contest.server);
    let mut walls = Vec::new();
    let mut bytes = 0;
    for _ in 0..runs {
        let start = Instant::now();
        bytes = runtime.block_on(ask());
        walls.push(start.elapsed());
    }
    let cost = Account::with(&contest.server) - before;
    table::kept(runs, bytes, &Series::of(walls), cost);
}

fn package(contest: &Contest, constant: u64) -> Vec<u8> {
    let target = format!("sysinfo: {} {}", contest.release, std::env::consts::ARCH);
    let target = SysInfo::parse(target.as_bytes()).expect("the root has such a kernel");
    let script = format!("-e{}", script(HELLO, constant)).into_bytes();
    let request = Request::new(Parts::new(target, vec![b"-p4".to_vec(), script]));
    request.expect("it is well-formed").encode()
}

const MOST: u64 = 64 << 20;
