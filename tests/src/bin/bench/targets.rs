//! One script for several kernels: one request for all, beside a request for each.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use stap_tests::root;
use stap_tests::server::Server;
use stap_tests::world::OTHER_ROOT;

use crate::Bench;
use crate::account::Account;
use crate::kinds::{self, HELLO, Script};
use crate::table::{self, Series};
use crate::ways::{Cost, Way};

/// How the requests are made.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// One after the other.
    InTurn,
    /// All at the same time.
    AtOnce,
    /// One for all.
    Together,
}

/// Asks for every kernel of the roots of two releases.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let mut releases = root::releases();
    let has_other = Path::new(OTHER_ROOT).join("usr").is_dir();
    let server = if has_other {
        releases.extend(root::releases_of(Path::new(OTHER_ROOT)));
        root::serve_both(bench.yard.client())
    } else {
        root::serve(bench.yard.client())
    };
    // What is made once for a kernel.
    ask(bench, &server, &releases, Manner::InTurn);
    let mut costs = MANNERS.map(|_| Vec::new());
    for run in 0..bench.runs {
        for turn in 0..MANNERS.len() {
            let manner = (run + turn) % MANNERS.len();
            costs[manner].push(ask(bench, &server, &releases, MANNERS[manner]));
        }
    }
    server.stop();
    print(&costs, releases.len(), bench.runs);
}

fn ask(bench: &mut Bench<'_>, server: &Server, releases: &[String], manner: Manner) -> Cost {
    let script = kinds::script(HELLO, bench.constants.next());
    let before = Account::of(Way::Ours, Some(server));
    let start = Instant::now();
    let each: Vec<&[String]> = releases.chunks(1).collect();
    match manner {
        Manner::InTurn => each
            .iter()
            .for_each(|one| request(bench, server, one, &script)),
        Manner::AtOnce => thread::scope(|scope| {
            for one in each {
                scope.spawn(|| request(bench, server, one, &script));
            }
        }),
        Manner::Together => request(bench, server, releases, &script),
    }
    let wall = start.elapsed();
    Cost {
        wall,
        cpu: Account::of(Way::Ours, Some(server)) - before,
    }
}

fn request(bench: &Bench<'_>, server: &Server, releases: &[String], script: &Script) {
    bench
        .yard
        .ask_for(Way::Ours, Some(server), releases, script);
}

fn print(costs: &[Vec<Cost>], targets: usize, runs: usize) {
    println!(
        "\n### One script for {targets} kernels\n\nMedians of {runs} by turns (least .. most).\n"
    );
    println!("| | processor, everybody's | wall |\n|---|---|---|");
    for (manner, costs) in MANNERS.iter().zip(costs) {
        let series = |of: fn(&Cost) -> Duration| {
            let series = Series::of(costs.iter().map(of).collect());
            table::cell(&series)
        };
        let (processor, wall) = (series(|cost| cost.cpu.total()), series(|cost| cost.wall));
        println!("| {} | {processor} | {wall} |", manner.title());
    }
}

impl Manner {
    const fn title(self) -> &'static str {
        match self {
            Self::InTurn => "a request for each, one after the other",
            Self::AtOnce => "a request for each, all at once",
            Self::Together => "one request for all",
        }
    }
}

const MANNERS: [Manner; 3] = [Manner::InTurn, Manner::AtOnce, Manner::Together];
