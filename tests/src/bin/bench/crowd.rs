//! Eight clients at once.

use std::thread;
use std::time::{Duration, Instant};

use stap_driver::shim;
use stap_tests::server::Server;
use stap_tests::wait;

use crate::Bench;
use crate::account::Account;
use crate::goals::Bound;
use crate::kinds::{self, HELLO, KINDS, Script};
use crate::memory::{self, Peak};
use crate::passes::Passes;
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
    /// Processor time of stap's passes 1 to 3 and of compiling for all requests, where it is known: the least that a server
    /// can do that has them done by stap and its compiler.
    least: Option<Duration>,
}

/// What came of one way.
struct Measured {
    outcomes: Vec<Outcome>,
    /// The most that its server held.
    peak: Peak,
}

/// Measures a stock server and ours by turns, and how much memory a stock server for eight holds.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let rounds = bench.runs;
    println!("\n### Eight clients at once\n");
    println!(
        "Medians of {rounds} rounds by turns. Memory is the peak of another one, because reading it takes a tenth of the \
         processors; the stock pair with `--max-threads=8` is there for it alone. What cannot be spared are passes 1 to 3 as stap counts them, and compiling as the server's log has it.\n"
    );
    println!(
        "| what | way | requests per second | processor for each | of it for passes 1 to 3 and compiling | memory of \
         the server's tree | failed at first |"
    );
    println!("|---|---|---|---|---|---|---|");
    for order in Order::ALL {
        let [stock, ours] = by_turns(bench, order, rounds);
        let faster = rate(&ours.outcomes) / rate(&stock.outcomes);
        let at_best = best(&ours.outcomes).map(|best| best / rate(&stock.outcomes));
        match order {
            Order::Distinct => {
                let wide = wide_stock(bench);
                row(order.title(), "stock pair, `--max-threads=8`", &wide);
                bench.goals.take_beside_best(
                    "8 clients, distinct scripts of twelve kinds, requests per second",
                    "stock server",
                    faster,
                    Bound::AtLeast(2.5),
                    at_best,
                );
                bench.goals.take(
                    "8 clients, peak memory of the server's tree",
                    "stock server, `--max-threads=8`",
                    ours.peak.total() as f64 / wide.peak.total() as f64,
                    Bound::AtMost(0.5),
                );
            }
            Order::Hellos => bench.goals.take_beside_best(
                "8 clients, distinct hellos, requests per second",
                "stock server",
                faster,
                Bound::AtLeast(2.5),
                at_best,
            ),
            Order::SameNew => {
                let alone = alone(bench, rounds);
                bench.goals.take(
                    "8 same new scripts, server's processor time",
                    "one such compile",
                    server_time(&ours.outcomes) * CLIENTS as f64 / alone,
                    Bound::AtMost(1.15),
                );
            }
            Order::Repeats => {}
        }
    }
}

fn by_turns(bench: &mut Bench<'_>, order: Order, rounds: usize) -> [Measured; 2] {
    let mut outcomes = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..WAYS.len() {
            let way = (round + turn) % WAYS.len();
            let scripts = ready(bench, WAYS[way], order);
            let server = bench.yard.server(WAYS[way]).expect("it is a pair");
            outcomes[way].push(together(bench, WAYS[way], server, &scripts, order));
        }
    }
    let [stock, ours] = outcomes;
    [(Way::Stock, stock), (Way::Ours, ours)].map(|(way, outcomes)| {
        let scripts = ready(bench, way, order);
        let server = bench.yard.server(way).expect("it is a pair");
        let watched = || together(bench, way, server, &scripts, order);
        let (_, peak) = memory::during(server.pid, watched);
        let measured = Measured { outcomes, peak };
        row(order.title(), way.title(), &measured);
        measured
    })
}

/// What is to be asked for; what the server of a way is to know of it already, it does.
fn ready(bench: &mut Bench<'_>, way: Way, order: Order) -> Vec<Script> {
    let scripts = order.scripts(bench);
    if order == Order::Repeats {
        bench.yard.compile(way, &scripts[0]);
    }
    scripts
}

/// A stock server that does eight things at once; ours never does more than the machine has processors.
fn wide_stock(bench: &mut Bench<'_>) -> Measured {
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
    let (outcome, peak) = memory::during(server.pid, || {
        together(bench, Way::Stock, &server, &scripts, Order::Distinct)
    });
    server.stop();
    Measured {
        outcomes: vec![outcome],
        peak,
    }
}

/// The server's processor time of one compile of what eight ask for.
fn alone(bench: &mut Bench<'_>, rounds: usize) -> f64 {
    let times = (0..rounds).map(|round| {
        let mut script = || kinds::script(HELLO, bench.constants.next());
        // As often as among the clients, it comes behind a stock server's.
        if round % WAYS.len() == 0 {
            bench.yard.compile(Way::Stock, &script());
        }
        bench.yard.compile(Way::Ours, &script()).cpu.server()
    });
    median(times.map(|time| time.as_secs_f64()).collect())
}

fn together(
    bench: &Bench<'_>,
    way: Way,
    server: &Server,
    scripts: &[Script],
    order: Order,
) -> Outcome {
    let options: &[&str] = if order.is_told() { &["-v"] } else { &[] };
    let log_before = server.said().len();
    let before = Account::of(way, Some(server));
    let start = Instant::now();
    let answers = thread::scope(|scope| {
        let clients = scripts.chunks(scripts.len() / CLIENTS).map(|own| {
            scope.spawn(move || {
                let ask = |script| bench.yard.insist(way, Some(server), script, options);
                own.iter().map(ask).collect::<Vec<_>>()
            })
        });
        let clients: Vec<_> = clients.collect();
        let answers = clients.into_iter().map(|client| client.join());
        let answers = answers.map(|own| own.expect("a client that panics ends the bench"));
        answers.flatten().collect::<Vec<_>>()
    });
    let wall = start.elapsed();
    let least = (order.is_told() && way == Way::Ours).then(|| {
        let passes = answers.iter().map(|(_, said)| Passes::read(said).first);
        passes.sum::<Duration>() + compiling(server, log_before, scripts.len())
    });
    Outcome {
        requests: scripts.len(),
        failures: answers.iter().map(|(failures, _)| failures).sum(),
        wall,
        cpu: Account::of(way, Some(server)) - before,
        least,
    }
}

/// What compiling took for so many requests, by our server's log behind a place in it.
fn compiling(server: &Server, from: usize, requests: usize) -> Duration {
    let notes = wait::until("the log has all jobs", || {
        let said = server.said().split_off(from);
        let notes = said.lines().filter_map(|line| line.split_once("pass 4: "));
        let notes: Vec<_> = notes.map(|(_, note)| note.to_owned()).collect();
        (notes.len() == requests).then_some(notes)
    });
    let times = notes.iter().map(|note| {
        shim::time_in(note).unwrap_or_else(|| panic!("pass 4 was not replayed: {note}"))
    });
    times.sum()
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

    /// Whether stap is to say what its passes take; it has none for what is known.
    fn is_told(self) -> bool {
        matches!(self, Self::Distinct | Self::Hellos)
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

fn row(what: &str, way: &str, measured: &Measured) {
    let Measured { outcomes, peak } = measured;
    let mebibytes = |bytes: u64| bytes >> 20;
    let least = median_of(outcomes, least).map(|least| format!("{:.0} ms", least * 1000.0));
    println!(
        "| {what} | {way} | {:.2} | {:.0} ms | {} | {} MiB, {} MiB of them files | {} |",
        rate(outcomes),
        median(outcomes.iter().map(each).collect()) * 1000.0,
        least.unwrap_or_default(),
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

/// The rate of a server that does nothing but what it must, on processors that are never idle, where that is known.
fn best(outcomes: &[Outcome]) -> Option<f64> {
    let processors = thread::available_parallelism().expect("there is one").get();
    let least = median_of(outcomes, least)?;
    Some(processors as f64 / least)
}

/// What must be done for one request, in seconds.
fn least(outcome: &Outcome) -> Option<f64> {
    Some(outcome.least?.as_secs_f64() / outcome.requests as f64)
}

fn median_of(outcomes: &[Outcome], of: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
    let numbers: Option<Vec<_>> = outcomes.iter().map(of).collect();
    numbers.map(median)
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

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

const WAYS: [Way; 2] = [Way::Stock, Way::Ours];
const CLIENTS: usize = 8;
/// The first kinds, which need nothing but a module of their own.
const ORDINARY: usize = 12;
