//! Scripts that nobody has compiled before, for a kernel that everybody has.

use std::time::Duration;

use crate::Bench;
use crate::account::Account;
use crate::goals::Bound;
use crate::kinds::{self, KINDS, Kind};
use crate::passes::Passes;
use crate::table;
use crate::ways::{Cost, Way, apart, series};

/// Compiles every kind as often as is asked, each time in each way.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let (mut kinds, mut passes) = (Vec::new(), Vec::new());
    for kind in KINDS {
        // What is found out once for a kind is nobody's. More of it may be there for one way than for another.
        by_turns(bench, *kind, &WAYS, 1);
        // Types that a job had to have compiled are built for all before the next.
        by_turns(bench, *kind, &[Way::Ours], 1);
        let (costs, told) = by_turns(bench, *kind, &WAYS, bench.runs);
        kinds.push((kind.0, costs));
        passes.push((kind.0, told));
    }
    let parts = kinds[0].1[OURS].clone();
    print(bench, &kinds);
    print_passes(&passes, bench.runs);
    table::parts(
        "Who used the processor in a served hello: means",
        &accounts(&parts),
    );
    without_driver(bench);
}

/// Costs of each way, in the order of the ways.
fn by_turns(
    bench: &mut Bench<'_>,
    kind: Kind,
    ways: &[Way],
    runs: usize,
) -> (Vec<Vec<Cost>>, Vec<Passes>) {
    let mut costs = vec![Vec::new(); ways.len()];
    let mut passes = vec![Passes::default(); ways.len()];
    for run in 0..runs {
        for way in apart(ways.len(), run) {
            let script = kinds::script(kind, bench.constants.next());
            let (cost, told) = bench.yard.compile_told(ways[way], &script);
            costs[way].push(cost);
            passes[way] = passes[way] + told;
        }
    }
    (costs, passes)
}

/// stap's own account, which has hundredths of a second: where in a compile the time goes.
fn print_passes(kinds: &[(&str, Vec<Passes>)], runs: usize) {
    let runs = u32::try_from(runs).expect("nobody waits for that many");
    println!(
        "\n### Warm misses: What stap says of its passes\n\nProcessor time, means of {runs}.\n"
    );
    println!(
        "| | passes 1 to 3, bare | ours | pass 4, bare | ours | ours / bare |\n|---|---|---|---|---|---|"
    );
    for (name, passes) in kinds {
        let (bare, ours) = (passes[0], passes[OURS]);
        let ratio = ours.fourth.as_secs_f64() / bare.fourth.as_secs_f64();
        let times = [bare.first, ours.first, bare.fourth, ours.fourth];
        let cells = times.map(|time| table::show(time / runs)).join(" | ");
        println!("| {name} | {cells} | {ratio:.3} |");
    }
}

fn print(bench: &mut Bench<'_>, kinds: &[(&'static str, Vec<Vec<Cost>>)]) {
    for (title, of, bound) in [
        ("Processor time", total as fn(&Cost) -> Duration, 0.50),
        ("Time on the wall, one client", wall, 0.60),
    ] {
        println!(
            "\n### Warm misses: {title}\n\nMedians of {} by turns (least .. most).\n",
            kinds[0].1[0].len()
        );
        let rows: Vec<_> = kinds
            .iter()
            .map(|(name, costs)| (*name, series(costs, of)))
            .collect();
        let median = table::ways(&WAYS, &rows, OURS);
        let what = match title {
            "Processor time" => "warm miss, processor, median of the kinds",
            _ => "warm miss, wall, one client, median of the kinds",
        };
        bench
            .goals
            .take(what, "bare `stap -p4` warm", median, Bound::AtMost(bound));
    }
}

/// What jail and server cost where make does the same as for bare stap.
fn without_driver(bench: &mut Bench<'_>) {
    let ways = [Way::Bare, Way::Made];
    println!("\n### The jail and the server: pass 4 by make\n");
    println!("Processor time, medians of {} by turns.\n", bench.runs);
    let mut rows = Vec::new();
    for kind in KINDS.iter().step_by(KINDS.len() / FEW).take(FEW) {
        let (costs, _passes) = by_turns(bench, *kind, &ways, bench.runs);
        rows.push((kind.0, series(&costs, total)));
    }
    let median = table::ways(&ways, &rows, 1);
    bench.goals.take(
        "jail and server, warm miss with make",
        "bare `stap -p4` warm",
        median,
        Bound::AtMost(1.05),
    );
}

fn total(cost: &Cost) -> Duration {
    cost.cpu.total()
}

fn wall(cost: &Cost) -> Duration {
    cost.wall
}

/// The parts of some costs.
pub(crate) fn accounts(costs: &[Cost]) -> Vec<Account> {
    costs.iter().map(|cost| cost.cpu).collect()
}

/// Those that are compared; the first is what the others are compared with.
const WAYS: [Way; 4] = [Way::Bare, Way::Stock, Way::Ours, Way::Mixed];
const OURS: usize = 2;
/// How many kinds are enough where only the server is in question.
const FEW: usize = 5;
