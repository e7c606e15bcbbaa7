//! The documented tool `stap-client`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::compile::main(std::env::args_os())
}
