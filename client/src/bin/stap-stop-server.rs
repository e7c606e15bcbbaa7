//! The documented tool `stap-stop-server`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::stop_server::main(std::env::args_os())
}
