//! `lab-enter COMMAND [ARGUMENT...]`: the first process of a lab; see the library's `init`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    stap_tests::init::run(std::env::args_os().skip(1))
}
