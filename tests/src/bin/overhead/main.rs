//! Measures what the service costs on top of bare stap: the same scripts, the same root, the same
//! machine, by turns. Run by `tests/bench`.
//!
//! ```text
//! overhead RUNS        needs root, STAP_TEST_ROOT and built programs
//! ```
//!
//! From the top down: [`compile`] compares whole compiles, [`fixed`] says what of the difference has
//! nothing to do with the script, [`account`] reads what the kernel counted, [`table`] prints.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the measurements are the result")]

mod account;
mod compile;
mod fixed;
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
        compile::compare(lab, runs, &mut Constants::starting_now());
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

/// Of what takes milliseconds; more runs than of a compile, because the kernel counts a server's
/// time in hundredths of a second.
const FIXED_RUNS: usize = 40;
