//! A script that was compiled before.

use std::time::Duration;

use crate::Bench;
use crate::goals::Bound;
use crate::kinds::{self, HELLO};
use crate::misses::accounts;
use crate::table;
use crate::ways::{Way, series};

/// Compiles the same script again and again, each time in each way.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let script = kinds::script(HELLO, bench.constants.next());
    for way in WAYS {
        bench.yard.compile(way, &script);
    }
    let mut costs = WAYS.map(|_| Vec::new());
    for run in 0..REPEATS {
        for turn in 0..WAYS.len() {
            let way = (run + turn) % WAYS.len();
            costs[way].push(bench.yard.compile(WAYS[way], &script));
        }
    }
    println!("\n### A repeat\n\nMedians of {REPEATS} by turns (least .. most).\n");
    let rows = [
        (
            "processor, everybody's",
            series(&costs, |cost| cost.cpu.total()),
        ),
        ("wall", series(&costs, |cost| cost.wall)),
    ];
    table::ways(&WAYS, &rows, OURS);
    table::parts(
        "Who used the processor in a served repeat: means",
        &accounts(&costs[OURS]),
    );
    // A server's time comes in hundredths of a second, so only sums tell.
    let servers = costs.each_ref().map(|costs| {
        let times = costs.iter().map(|cost| cost.cpu.server());
        times.sum::<Duration>().as_secs_f64()
    });
    bench.goals.take(
        "repeat, server's processor time",
        "stock server",
        servers[OURS] / servers[STOCK],
        Bound::AtMost(0.02),
    );
    bench.goals.take(
        "repeat, wall, median seen by our client",
        "stock pair",
        rows[1].1[OURS].ratio(&rows[1].1[STOCK]),
        Bound::AtMost(0.10),
    );
}

const WAYS: [Way; 4] = [Way::Bare, Way::Stock, Way::Ours, Way::Mixed];
const STOCK: usize = 1;
const OURS: usize = 2;
/// Of what takes tens of milliseconds on one side and hundreds on the other.
const REPEATS: usize = 21;
