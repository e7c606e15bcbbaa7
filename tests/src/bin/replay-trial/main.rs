//! Holds pass 4 without make against kbuild, for many kinds of scripts, with the real jail.
//!
//! ```text
//! replay-trial ROOT        needs the built programs beside it
//! ```
//!
//! Each script is translated once and built twice from the same C: stap may translate it otherwise the
//! next time. It prints a line for each script and ends with 1 when one is not as promised. Part of it
//! are recipes with a flag changed, which must be found out.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for tests and eyes")]

mod scripts;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(root) = std::env::args_os().nth(1) else {
        println!("usage: replay-trial ROOT");
        return ExitCode::from(2);
    };
    match trial::run(root.into()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
