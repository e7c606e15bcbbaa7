//! Gives up everything a compile job does not need, then becomes the job.
//!
//! The worker uses [`plan`], [`report`], [`handover`] and [`probe`]; the rest is the launcher.

pub mod handover;
pub mod layer;
pub mod plan;
pub mod probe;
pub mod report;
