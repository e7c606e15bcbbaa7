//! Parts of the kernel that no compile needs.

use stap_jail::layer::Layer::Seccomp;

use crate::corpus::payload::Payload;
use crate::corpus::{Case, Goal, payload};

pub(super) fn cases() -> Vec<Case> {
    [
        payload(
            "nested-user-namespace",
            Goal::Rule("a kernel surface for root"),
            "unshare-user",
        )
        .held(Seccomp, "Operation not permitted"),
        payload("keep-a-key", Goal::Outlive("a key in a keyring"), "add-key")
            .held(Seccomp, "Operation not permitted"),
    ]
    .into_iter()
    .map(Payload::case)
    .collect()
}
