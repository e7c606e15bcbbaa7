//! `stap-serverd`.
#![forbid(unsafe_code)]

pub mod executor;
pub mod log;
pub mod options;
pub mod peer;
pub mod readiness;
pub mod scheduler;
pub mod seats;
pub mod worker;

use std::time::SystemTime;

/// Reads the wall clock; only `main` has one.
pub type Clock = fn() -> SystemTime;
