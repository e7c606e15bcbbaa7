//! Signs modules.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    stap_signer::main()
}
