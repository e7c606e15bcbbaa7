//! Eight clients at once.

use std::thread;
use std::time::{Duration, Instant};

use stap_tests::server::Server;

use crate::Bench;
use crate::account::Account;
use crate::goals::Bound;
use crate::kinds::{self, HELLO, KINDS, Script};
use crate::memory::{self, Peak};
use crate::ways::Way;

/// What the clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Each something else, of many kinds.
    Distinct,
    /// Each another hello.
    Hellos,
    /// All the same, which nobody has asked for before.
    SameNew,
    /// All the same, which is known.
    Repeats,
}

/// What came of it.
struct Outcome {
    requests: usize,
    /// Requests that a stock server failed to answer, and answered later.
    failures: usize,
    wall: Duration,
    cpu: Account,
    peak: Peak,
}

/// Measures a stock server and ours by turns, and how much memory a stock server for eight holds.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    println!("\n### Eight clients at once\n");
    println!("Medians of the rounds by turns; memory is the peak of all.\n");
    println!(
        "| what | way | requests per second | processor for each | memory of the server's tree | failed at first |"
    );
    println!("|---|---|---|---|---|---|");
    let rounds = bench.runs.div_ceil(2);
    for order in Order::ALL {
        let [stock, ours] = by_turns(bench, order, rounds);
        match order {
            Order::Distinct => {
                let wide = wide_stock(bench);
                row(order.title(), "stock pair, `--max-threads=8`", &wide);
                bench.goals.take(
                    "8 clients, distinct scripts of twelve kinds, requests per second",
                    "stock server",
                    rate(&ours) / rate(&stock),
                    Bound::AtLeast(2.5),
                );
                bench.goals.take(
                    "8 clients, peak memory of the server's tree",
                    "stock server, `--max-threads=8`",
                    bytes(&ours) / bytes(&wide),
                    Bound::AtMost(0.5),
                );
            }
            Order::Hellos => bench.goals.take(
                "8 clients, distinct hellos, requests per second",
                "stock server",
                rate(&ours) / rate(&stock),
                Bound::AtLeast(2.5),
            ),
            Order::SameNew => {
                let alone = alone(bench, rounds);
                bench.goals.take(
                    "8 same new scripts, server's processor time",
                    "one such compile",
                    server_time(&ours) * CLIENTS as f64 / alone,
                    Bound::AtMost(1.15),
                );
            }
            Order::Repeats => {}
        }
    }
}

fn by_turns(bench: &mut Bench<'_>, order: Order, rounds: usize) -> [Vec<Outcome>; 2] {
    let mut outcomes = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..WAYS.len() {
            let way = (round + turn) % WAYS.len();
            let scripts = order.scripts(bench);
            let server = bench.yard.server(WAYS[way]).expect("it is a pair");
            if order == Order::Repeats {
                bench.yard.compile(WAYS[way], &scripts[0]);
            }
            outcomes[way].push(together(bench, WAYS[way], server, &scripts));
        }
    }
    for (way, outcomes) in WAYS.iter().zip(&outcomes) {
        row(order.title(), way.title(), outcomes);
    }
    outcomes
}

/// A stock server that does eight things at once, as ours may.
fn wide_stock(bench: &mut Bench<'_>) -> Vec<Outcome> {
    let site = &bench.yard.site;
    let user = bench.yard.lab.bob();
    let options = [
        format!("-r{}", site.release()),
        "--max-threads=8".to_owned(),
    ];
    let server = site.start(site.server(user).args(options), user);
    // The first answer waits until it has read its key.
    let first = kinds::script(HELLO, bench.constants.next());
    bench.yard.compile_at(Way::Stock, Some(&server), &first);
    let scripts = Order::Distinct.scripts(bench);
    let outcome = together(bench, Way::Stock, &server, &scripts);
    server.stop();
    vec![outcome]
}

/// The server's processor time of one compile of what eight ask for.
fn alone(bench: &mut Bench<'_>, rounds: usize) -> f64 {
    let times = (0..rounds).map(|_| {
        let script = kinds::script(HELLO, bench.constants.next());
        bench.yard.compile(Way::Ours, &script).cpu.server()
    });
    median(times.map(|time| time.as_secs_f64()).collect())
}

fn together(bench: &Bench<'_>, way: Way, server: &Server, scripts: &[Script]) -> Outcome {
    let before = Account::of(way, Some(server));
    let start = Instant::now();
    let (failures, peak) = memory::during(server.pid, || {
        thread::scope(|scope| {
            let clients = scripts.chunks(scripts.len() / CLIENTS).map(|own| {
                scope.spawn(move || {
                    let failures = |script| bench.yard.insist(way, Some(server), script);
                    own.iter().map(failures).sum::<usize>()
                })
            });
            let clients: Vec<_> = clients.collect();
            let failures = clients.into_iter().map(|client| client.join());
            failures
                .map(|count| count.expect("a client that panics ends the bench"))
                .sum()
        })
    });
    Outcome {
        requests: scripts.len(),
        failures,
        wall: start.elapsed(),
        cpu: Account::of(way, Some(server)) - before,
        peak,
    }
}

impl Order {
    const ALL: [Self; 4] = [Self::Distinct, Self::Hellos, Self::SameNew, Self::Repeats];

    /// Of all clients, one client's after the other's.
    fn scripts(self, bench: &mut Bench<'_>) -> Vec<Script> {
        let mut new = |kind| kinds::script(kind, bench.constants.next());
        match self {
            Self::Distinct => (0..CLIENTS * 2)
                .map(|number| new(KINDS[number % ORDINARY]))
                .collect(),
            Self::Hellos => (0..CLIENTS * 2).map(|_| new(HELLO)).collect(),
            Self::SameNew => vec![new(HELLO); CLIENTS],
            Self::Repeats => vec![new(HELLO); CLIENTS * 5],
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Distinct => "distinct scripts of twelve kinds",
            Self::Hellos => "distinct hellos",
            Self::SameNew => "the same new script",
            Self::Repeats => "the same known script",
        }
    }
}

fn row(what: &str, way: &str, outcomes: &[Outcome]) {
    let peak = outcomes
        .iter()
        .fold(Peak::default(), |peak, one| peak.max(one.peak));
    let mebibytes = |bytes: u64| bytes >> 20;
    println!(
        "| {what} | {way} | {:.2} | {:.0} ms | {} MiB, {} MiB of them files | {} |",
        rate(outcomes),
        median(outcomes.iter().map(each).collect()) * 1000.0,
        mebibytes(peak.total()),
        mebibytes(peak.files),
        outcomes.iter().map(|one| one.failures).sum::<usize>(),
    );
}

fn rate(outcomes: &[Outcome]) -> f64 {
    let rates = outcomes
        .iter()
        .map(|one| one.requests as f64 / one.wall.as_secs_f64());
    median(rates.collect())
}

/// Everybody's processor time for one request.
fn each(outcome: &Outcome) -> f64 {
    outcome.cpu.total().as_secs_f64() / outcome.requests as f64
}

/// The server's for one request.
fn server_time(outcomes: &[Outcome]) -> f64 {
    let times = outcomes
        .iter()
        .map(|one| one.cpu.server().as_secs_f64() / one.requests as f64);
    median(times.collect())
}

fn bytes(outcomes: &[Outcome]) -> f64 {
    outcomes
        .iter()
        .map(|one| one.peak.total() as f64)
        .fold(0.0, f64::max)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

const WAYS: [Way; 2] = [Way::Stock, Way::Ours];
const CLIENTS: usize = 8;
/// The first kinds, which need nothing but a module of their own.
const ORDINARY: usize = 12;
