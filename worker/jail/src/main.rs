//! Becomes one compile job, as the plan on descriptor 3 says. See the library for how.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    stap_jail::main()
}
