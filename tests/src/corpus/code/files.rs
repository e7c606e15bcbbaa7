//! Files of others.

use stap_jail::layer::Layer::{Landlock, Mount};

use crate::corpus::payload::Payload;
use crate::corpus::{Case, Goal, Guard, Who, payload};

pub(super) fn cases() -> Vec<Case> {
    [
        payload(
            "read-file-of-the-same-user",
            Goal::Read("another job's files"),
            "read {secret}",
        )
        .held(Mount, "No such file")
        .held(Landlock, "Permission denied"),
        payload(
            "read-the-servers-key",
            Goal::Read("the server's TLS key"),
            "read {key}",
        )
        .held(Mount, "No such file")
        .held(Landlock, "Permission denied")
        .held_as(Who::Root, Guard::Unprivileged, "Permission denied"),
        payload(
            "read-shadow",
            Goal::Read("the host's passwords"),
            "read /etc/shadow",
        )
        .held(Mount, "No such file")
        .held(Landlock, "Permission denied")
        .held(Guard::Unprivileged, "Permission denied"),
    ]
    .into_iter()
    .map(Payload::case)
    .collect()
}
