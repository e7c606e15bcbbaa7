//! The documented tool `stap-find-or-start-server`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::find_or_start::main(std::env::args_os())
}
