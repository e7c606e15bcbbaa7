//! The documented tool `stap-find-servers`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::find_servers::main(std::env::args_os())
}
