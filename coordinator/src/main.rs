//! `stap-serverd`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
fn main() -> ExitCode {
    stap_coordinator::main(std::env::args_os(), std::time::SystemTime::now)
}
