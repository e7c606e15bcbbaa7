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
use crate::table::median;
use crate::ways::{Way, apart};

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
    /// The most that its server held; without one, there is none.
    peak: Option<Peak>,
}

/// Measures the ways by turns, and how much memory a stock server for eight holds.
pub(crate) fn measure(bench: &mut Bench<'_>) {
    let rounds = bench.runs;
    println!("\n### Eight clients at once\n");
    println!(
        "Medians of {rounds} rounds by turns. Memory is the peak of another one, because reading it takes a tenth of the \
         processors; the stock pair with `--max-threads=8` is there for it alone. Bare stap runs eight times at once. What cannot be spared are passes 1 to 3 as stap counts them, and compiling as the server's log has it.\n"
    );
    println!(
        "| what | way | requests per second | processor for each | of it for passes 1 to 3 and compiling | memory of \
         the server's tree | failed at first |"
    );
    println!("|---|---|---|---|---|---|---|");
    for order in Order::ALL {
        let [_bare, stock, ours, _mixed] = by_turns(bench, order, rounds);
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
                    held(&ours) / held(&wide),
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

fn by_turns(bench: &mut Bench<'_>, order: Order, rounds: usize) -> [Measured; WAYS.len()] {
    let mut outcomes = WAYS.map(|_| Vec::new());
    for round in 0..rounds {
        for way in apart(WAYS.len(), round) {
            let scripts = ready(bench, WAYS[way], order);
            let server = bench.yard.server(WAYS[way]);
            outcomes[way].push(together(bench, WAYS[way], server, &scripts, order));
        }
    }
    let mut ways = WAYS.into_iter();
    outcomes.map(|outcomes| {
        let way = ways.next().expect("there are as many");
        let peak = bench.yard.server(way).map(|server| server.pid).map(|pid| {
            let scripts = ready(bench, way, order);
            let server = bench.yard.server(way);
            let watched = || together(bench, way, server, &scripts, order);
            memory::during(pid, watched).1
        });
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
        together(bench, Way::Stock, Some(&server), &scripts, Order::Distinct)
    });
    server.stop();
    Measured {
        outcomes: vec![outcome],
        peak: Some(peak),
    }
}

/// The server's processor time of one compile of what eight ask for.
fn alone(bench: &mut Bench<'_>, rounds: usize) -> f64 {
    let times = (0..rounds).map(|round| {
        let mut script = || kinds::script(HELLO, bench.constants.next());
        // As often as among the clients, it comes behind a stock server's.
        if round % 2 == 0 {
            bench.yard.compile(Way::Stock, &script());
        }
        bench.yard.compile(Way::Ours, &script()).cpu.server()
    });
    median(times.map(|time| time.as_secs_f64()).collect())
}

fn together(
    bench: &Bench<'_>,
    way: Way,
    server: Option<&Server>,
    scripts: &[Script],
    order: Order,
) -> Outcome {
    let options: &[&str] = if order.is_told() { &["-v"] } else { &[] };
    // Theirs say nothing of what compiling took.
    let telling = server.filter(|_| order.is_told() && way == Way::Ours);
    let log_before = telling.map(|server| server.said().len());
    let before = Account::of(way, server);
    let start = Instant::now();
    let answers = thread::scope(|scope| {
        let clients = scripts.chunks(scripts.len() / CLIENTS).map(|own| {
            scope.spawn(move || {
                let ask = |script| bench.yard.insist(way, server, script, options);
                own.iter().map(ask).collect::<Vec<_>>()
            })
        });
        let clients: Vec<_> = clients.collect();
        let answers = clients.into_iter().map(|client| client.join());
        let answers = answers.map(|own| own.expect("a client that panics ends the bench"));
        answers.flatten().collect::<Vec<_>>()
    });
    let wall = start.elapsed();
    let least = telling.zip(log_before).map(|(server, from)| {
        let passes = answers.iter().map(|(_, said)| Passes::read(said).first);
        passes.sum::<Duration>() + compiling(server, from, scripts.len())
    });
    Outcome {
        requests: scripts.len(),
        failures: answers.iter().map(|(failures, _)| failures).sum(),
        wall,
        cpu: Account::of(way, server) - before,
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
    let memory = peak.map(|peak| {
        let (total, files) = (peak.total() >> 20, peak.files >> 20);
        format!("{total} MiB, {files} MiB of them files")
    });
    let least = median_of(outcomes, least).map(|least| format!("{:.0} ms", least * 1000.0));
    println!(
        "| {what} | {way} | {:.2} | {:.0} ms | {} | {} | {} |",
        rate(outcomes),
        median(outcomes.iter().map(each).collect()) * 1000.0,
        least.unwrap_or_default(),
        memory.unwrap_or_default(),
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

/// In bytes.
fn held(measured: &Measured) -> f64 {
    measured.peak.expect("it has a server").total() as f64
}

const WAYS: [Way; 4] = [Way::Bare, Way::Stock, Way::Ours, Way::Mixed];
const CLIENTS: usize = 8;
/// The first kinds, which need nothing but a module of their own.
const ORDINARY: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seconds: u64, jailed: u64, least: Option<u64>) -> Outcome {
        Outcome {
            requests: 4,
            failures: 0,
            wall: Duration::from_secs(seconds),
            cpu: Account {
                ours: Duration::from_secs(4),
                jailed: Duration::from_secs(jailed),
                ..Account::default()
            },
            least: least.map(Duration::from_secs),
        }
    }

    #[test]
    fn rates_and_times_are_of_one_request_in_the_round_in_the_middle() {
        let rounds = [
            outcome(2, 8, None),
            outcome(80, 80, None),
            outcome(4, 12, None),
        ];
        assert!((rate(&rounds) - 1.0).abs() < 1e-9);
        assert!(
            (server_time(&rounds) - 3.0).abs() < 1e-9,
            "without the client's"
        );
        assert!((each(&rounds[2]) - 4.0).abs() < 1e-9, "with the client's");
    }

    #[test]
    fn at_best_every_processor_does_only_what_must_be_done() {
        let processors = thread::available_parallelism().unwrap().get() as f64;
        let rounds = [Some(8), Some(2), Some(800)].map(|least| outcome(1, 1, least));
        assert!((best(&rounds).unwrap() - processors / 2.0).abs() < 1e-9);
        assert!(best(&[outcome(1, 1, Some(1)), outcome(1, 1, None)]).is_none());
    }
}
