//! The first request for a kernel: of somebody who has never compiled for it, and of a server that has just started.

use std::fs;
use std::path::Path;

use stap_tests::lab::User;
use stap_tests::root;
use stap_tests::server::Server;

use crate::Bench;
use crate::goals::Bound;
use crate::kinds::{self, HELLO};
use crate::table;
use crate::ways::{Cost, Way, apart, series};

/// Each time, nobody knows anything about the kernel but a server that was told to warm up.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let mut costs = WAYS.map(|_| Vec::new());
    for run in 0..bench.runs {
        for way in apart(WAYS.len(), run) {
            costs[way].push(cold(bench, WAYS[way]));
        }
    }
    println!("\n### The first request for a kernel\n");
    println!("Medians of {} by turns; a hello.\n", costs[0].len());
    let rows = [
        (
            "processor, everybody's",
            series(&costs, |cost| cost.cpu.total()),
        ),
        ("wall", series(&costs, |cost| cost.wall)),
    ];
    table::ways(&WAYS, &rows, OURS);
    let servers = series(&costs, |cost| cost.cpu.server());
    bench.goals.take(
        "first request on a fresh server after warm-up, processor",
        "stock server cold",
        servers[OURS].ratio(&servers[STOCK]),
        Bound::AtMost(0.06),
    );
}

fn cold(bench: &mut Bench<'_>, way: Way) -> Cost {
    let script = kinds::script(HELLO, bench.constants.next());
    let fresh = unknowing(bench, way);
    let server = fresh.as_ref().or_else(|| bench.yard.server(way));
    let cost = bench.yard.compile_at(way, server, &script);
    if let Some(fresh) = fresh {
        fresh.stop();
    }
    cost
}

/// Has a way forget the kernel, or starts a server that has not compiled for it.
pub(crate) fn unknowing(bench: &Bench<'_>, way: Way) -> Option<Server> {
    match way {
        Way::Bare => forget(bench.yard.client()),
        Way::Stock => forget(bench.yard.lab.bob()),
        Way::Ours | Way::Mixed | Way::Made => return Some(started(bench)),
    }
    None
}

/// A server that has not compiled anything yet, whose kernel an earlier one has warmed.
fn started(bench: &Bench<'_>) -> Server {
    root::serve(bench.yard.client())
}

/// Empties what stock SystemTap of a user keeps.
fn forget(user: User) {
    let cache = user.home().join(".systemtap/cache");
    for name in stap_tests::lab::list(&cache) {
        remove(&cache.join(name));
    }
}

fn remove(path: &Path) {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.expect("root may write everywhere");
}

const WAYS: [Way; 4] = [Way::Bare, Way::Stock, Way::Ours, Way::Mixed];
const STOCK: usize = 1;
const OURS: usize = 2;
