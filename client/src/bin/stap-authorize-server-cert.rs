//! The documented tool `stap-authorize-server-cert`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    stap_client::authorize::main(std::env::args_os())
}
