//! The documented tool `stap-start-server`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::start_server::main(std::env::args_os())
}
