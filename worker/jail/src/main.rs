//! Becomes one compile job, as the plan on descriptor 3 says. See the library for how.

use std::process::ExitCode;

fn main() -> ExitCode {
    stap_jail::main()
}
