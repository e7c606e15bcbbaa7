//! The documented tools: `stap-client` and its five companions.
//!
//! Each tool is one module with a `main` that takes the words of its command line and returns its
//! exit status, 0 or 1; the programs below `bin/` only call it. The rest is what several tools share.
#![forbid(unsafe_code)]

pub mod authorize;
pub mod compile;
pub mod find_or_start;
pub mod find_servers;
pub mod start_server;
pub mod stop_server;

mod diagnostics;
mod discovery;
mod host;
mod siblings;
