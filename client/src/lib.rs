//! The documented tools: `stap-client`, its five companions, and `stap-server`, which manages servers.
//!
//! Each tool is one module with a `main` that takes the words of its command line and returns its
//! exit status; the programs below `bin/` only call it. The rest is what several tools share.
#![forbid(unsafe_code)]

pub mod authorize;
pub mod compile;
pub mod find_or_start;
pub mod find_servers;
pub mod manager;
pub mod start_server;
pub mod stop_server;

mod diagnostics;
mod discovery;
mod host;
mod server_process;
mod server_spec;
mod servers;
mod siblings;
