//! Gives up everything a compile job does not need, then becomes the job.
//!
//! The worker uses [`plan`], [`report`], [`handover`], [`layer`] and [`probe`], and gives up its own
//! rights by [`seclusion`]; [`main`] is the program `stap-jail`, one process per job, which never starts a thread.

pub mod handover;
pub mod layer;
pub mod plan;
pub mod probe;
pub mod report;
pub mod seclusion;

mod channel;
mod descendants;
mod init;
mod ladder;
mod launcher;
mod mounts;
mod program;
mod sys;

pub use self::ladder::names as rungs;
pub use self::program::main;
