//! `stap-worker`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    stap_worker::main()
}
