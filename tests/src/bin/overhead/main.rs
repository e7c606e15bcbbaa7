//! Measures what the service costs on top of bare stap: the same scripts, the same root, the same
//! machine, by turns. Run by `tests/bench`.
//!
//! ```text
//! overhead RUNS        needs root, STAP_TEST_ROOT and built programs
//! ```
//!
//! From the top down: [`compile`] compares whole compiles and repeats, [`kept`] what a repeat costs the
//! server, [`fixed`] says what of the difference has
//! nothing to do with the script, [`account`] reads what the kernel counted, [`table`] prints.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the measurements are the result")]

mod account;
mod compile;
mod fixed;
mod kept;
mod kinds;
mod machine;
mod table;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use stap_tests::lab;

fn main() -> ExitCode {
    let runs = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let Some(runs @ 1..) = runs else {
        println!("usage: tests/bench [--quick]");
        return ExitCode::from(2);
    };
    lab::program_inside(|lab| {
        machine::describe();
        let mut constants = Constants::starting_now();
        let contest = compile::Contest::prepare(lab, &mut constants);
        contest.compare(runs, &mut constants);
        contest.repeat(REPEATS, &mut constants);
        kept::measure(&contest, KEPT_RUNS, &mut constants);
        contest.server.stop();
        fixed::measure(lab, FIXED_RUNS);
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

/// Of what takes tens of milliseconds on one side and hundreds on the other.
const REPEATS: usize = 21;
/// Of what takes a millisecond.
const KEPT_RUNS: usize = 400;
/// Of what takes milliseconds; more runs than of a compile, because the kernel counts a server's
/// time in hundredths of a second.
const FIXED_RUNS: usize = 40;
