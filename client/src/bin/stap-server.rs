//! The documented tool `stap-server`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::manager::main(std::env::args_os())
}
