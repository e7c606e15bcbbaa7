//! How much memory a server holds for one client, at most.

use crate::Bench;
use crate::cold;
use crate::kinds::{self, HELLO, KINDS, Kind};
use crate::memory;
use crate::ways::Way;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Case {
    /// A hello, of a server that knows nothing of the kernel but what it has warmed.
    First,
    /// A script that was not compiled before.
    New(Kind),
    /// A hello that was.
    Repeat,
}

/// Watches a stock server and ours by turns.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let rounds = bench.runs.div_ceil(3);
    println!("\n### Memory for one client\n");
    println!("Peaks of the server with all that it starts; medians of {rounds} by turns.\n");
    println!("| | stock pair | ours | ours / stock pair |");
    println!("|---|---|---|---|");
    // The first request last: behind it stock SystemTap knows nothing of tracepoints, either.
    let new = KINDS
        .iter()
        .step_by(3)
        .map(|kind| (kind.0, Case::New(*kind)));
    let others = [
        ("a repeat", Case::Repeat),
        ("the first request for a kernel", Case::First),
    ];
    for (name, case) in new.chain(others) {
        let mut peaks = WAYS.map(|_| Vec::new());
        for round in 0..rounds {
            for turn in 0..WAYS.len() {
                let way = (round + turn) % WAYS.len();
                peaks[way].push(peak(bench, WAYS[way], case));
            }
        }
        let [stock, ours] = peaks.map(median);
        let ratio = ours as f64 / stock as f64;
        println!(
            "| {name} | {} MiB | {} MiB | {ratio:.2} |",
            stock >> 20,
            ours >> 20
        );
    }
}

/// In bytes.
fn peak(bench: &mut Bench<'_>, way: Way, case: Case) -> u64 {
    let kind = match case {
        Case::New(kind) => kind,
        Case::First | Case::Repeat => HELLO,
    };
    let script = kinds::script(kind, bench.constants.next());
    let fresh = match case {
        Case::First => cold::unknowing(bench, way),
        Case::New(_) | Case::Repeat => None,
    };
    let server = fresh.as_ref().or_else(|| bench.yard.server(way));
    let mut times = 1;
    if let Case::Repeat = case {
        bench.yard.ask(way, server, &script);
        // One is over before anybody has looked twice.
        times = REPEATS;
    }
    let pid = server.expect("it is a pair").pid;
    let ask = || {
        for _ in 0..times {
            bench.yard.ask(way, server, &script);
        }
    };
    let ((), peak) = memory::during(pid, ask);
    if let Some(fresh) = fresh {
        fresh.stop();
    }
    peak.total()
}

fn median(mut peaks: Vec<u64>) -> u64 {
    peaks.sort_unstable();
    peaks[peaks.len() / 2]
}

const REPEATS: usize = 20;
const WAYS: [Way; 2] = [Way::Stock, Way::Ours];
