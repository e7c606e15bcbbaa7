//! Measures what the service costs, beside bare stap and beside a stock server with a stock client: the same scripts,
//! the same root, the same machine, by turns. Run by `tests/bench`.
//!
//! ```text
//! bench RUNS [PART...]     needs root, STAP_TEST_ROOT, STAP_TEST_STOCK and built programs;
//!                          targets wants STAP_TEST_OTHER_ROOT, too
//! ```
//!
//! Each part is a module: [`cold`], [`misses`], [`repeats`], [`crowd`], [`peaks`] (called `memory`), [`targets`], [`latency`],
//! [`fixed`]. They compile in the ways of [`ways`]; [`account`] reads what the kernel counted, [`memory`] how much a server holds, [`goals`] sums up
//! and [`table`] prints.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the measurements are the result")]

mod account;
mod cold;
mod crowd;
mod fixed;
mod goals;
mod kinds;
mod latency;
mod machine;
mod memory;
mod misses;
mod passes;
mod peaks;
mod repeats;
mod table;
mod targets;
mod ways;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use stap_tests::lab;

use crate::goals::Goals;
use crate::ways::Yard;

/// Everything that can be measured, in order.
const PARTS: [(&str, Part); 8] = [
    ("cold", cold::measure),
    ("misses", misses::measure),
    ("repeats", repeats::measure),
    ("crowd", crowd::measure),
    ("memory", peaks::measure),
    ("targets", targets::measure),
    ("latency", latency::measure),
    ("fixed", fixed::measure),
];

type Part = fn(&mut Bench<'_>);

/// What all parts work with.
struct Bench<'a> {
    yard: Yard<'a>,
    /// How often each compile is done each way.
    runs: usize,
    constants: Constants,
    goals: Goals,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let runs = words.next().and_then(|word| word.parse().ok());
    let chosen: Vec<String> = words.collect();
    let is_known = |name: &String| PARTS.iter().any(|(known, _)| known == name);
    let Some(runs @ 1..) = runs.filter(|_| chosen.iter().all(is_known)) else {
        let names = PARTS.map(|(name, _)| name).join(", ");
        println!("usage: tests/bench [--quick] [PART...], with these parts: {names}");
        return ExitCode::from(2);
    };
    let other_root = std::env::var_os("STAP_TEST_OTHER_ROOT").map(PathBuf::from);
    lab::program_inside_beside(other_root, |lab| {
        machine::describe();
        let mut bench = Bench {
            yard: Yard::prepare(lab),
            runs,
            constants: Constants::starting_now(),
            goals: Goals::default(),
        };
        for (name, part) in PARTS {
            if chosen.is_empty() || chosen.iter().any(|one| one == name) {
                part(&mut bench);
            }
        }
        bench.goals.print();
        println!("\nLoad after: {}", machine::load());
        bench.yard.close();
    })
}

/// Numbers that were never in a script before, so that no cache of anybody holds its module.
struct Constants(u64);

impl Constants {
    #[expect(
        clippy::disallowed_methods,
        reason = "only a clock tells this run from the last one"
    )]
    fn starting_now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let milliseconds = now.expect("no clock is before 1970").as_millis();
        Self(u64::try_from(milliseconds).expect("they last for ages"))
    }

    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
