//! Archives that are in order and make no request.

use super::kit::forge::{DIRECTORY, archive, file};
use super::kit::{Kit, Squeeze as _};
use super::{Proof, Trick};
use crate::corpus::Goal;

pub(super) fn tricks() -> Vec<Trick> {
    let trick = |name, package, says| Trick {
        name,
        goal: Goal::Deceive("the server about what is asked"),
        lesson: "",
        package,
        says,
        proof: Proof::Honest,
    };
    vec![
        trick("no-members", |_| archive(&[]), "it has no sysinfo"),
        trick(
            "no-kernel",
            |_| archive(&[file("argv1", b"-p2")]),
            "it has no sysinfo",
        ),
        trick(
            "kernel-that-is-a-path",
            |_| {
                archive(&[
                    file("sysinfo", b"sysinfo: ../../etc x86_64"),
                    file("argv1", b"-p2"),
                ])
            },
            "sysinfo is not accepted",
        ),
        trick(
            "gap-in-arguments",
            |kit| archive(&[kit.sysinfo(), file("argv1", b"-p2"), file("argv3", b"-g")]),
            "argument 2 is missing",
        ),
        trick(
            "argument-with-a-nul",
            |kit| archive(&[kit.sysinfo(), file("argv1", b"-p2\0-g")]),
            "NUL",
        ),
        trick(
            "argument-that-is-a-directory",
            |kit| archive(&[kit.sysinfo(), file("argv1/", b"").attributes(DIRECTORY)]),
            "argv1 is a directory",
        ),
        Trick {
            goal: Goal::Exhaust("what a command line may hold"),
            proof: Proof::Allowed(&[("arguments", "65")]),
            ..trick("one-argument-too-many", arguments, "has 65 arguments")
        },
        Trick {
            goal: Goal::Exhaust("what one argument may hold"),
            ..trick(
                "argument-too-long",
                |kit| archive(&[kit.sysinfo(), file("argv1", &[b'x'; 200_000]).squeezed()]),
                "argument 1 is 200000 bytes long",
            )
        },
    ]
}

fn arguments(kit: &Kit) -> Vec<u8> {
    let more = (3..=65).map(|number| file(&format!("argv{number}"), b"x"));
    archive(&kit.and(more))
}
