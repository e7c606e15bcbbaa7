//! Runs passes 1-4 for the kernel targets of this host, each job in a jail.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod targets;
