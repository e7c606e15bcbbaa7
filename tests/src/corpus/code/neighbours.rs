//! Processes and services of others.

use stap_jail::layer::Layer::{Landlock, Net, Pid, Seccomp};

use crate::corpus::payload::Payload;
use crate::corpus::{Case, Goal, Guard, payload};

pub(super) fn cases() -> Vec<Case> {
    [
        payload(
            "connect-to-loopback",
            Goal::Reach("a service of the host"),
            "connect-tcp {tcp}",
        )
        .held(Seccomp, "Operation not permitted")
        .held(Landlock, "Permission denied")
        .held(Net, "Network is unreachable"),
        payload(
            "signal-a-neighbour",
            Goal::Disturb("a process of the same user"),
            "signal {neighbour}",
        )
        .held(Pid, "No such process")
        .held(Guard::Landlock(6), "Operation not permitted"),
    ]
    .into_iter()
    .map(Payload::case)
    .collect()
}
