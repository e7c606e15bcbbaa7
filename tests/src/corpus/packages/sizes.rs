//! Archives that are more than they seem, or seem more than they are.

use super::kit::forge::{Member, archive, ending, file};
use super::kit::{Kit, Squeeze as _};
use super::{Proof, Trick, believer};
use crate::corpus::Goal;

pub(super) fn tricks() -> Vec<Trick> {
    [bombings(), bounds(), lies()].concat()
}

fn trick(
    name: &'static str,
    package: fn(&Kit) -> Vec<u8>,
    says: &'static str,
    proof: Proof,
) -> Trick {
    Trick {
        proof,
        ..super::trick(name, Goal::Exhaust("memory"), package, says)
    }
}

fn bombings() -> Vec<Trick> {
    vec![
        Trick {
            lesson: "42.zip; a stock server believes the directory",
            ..trick(
                "bomb",
                bomb,
                "a ratio of more than",
                Proof::Believed(believer::inflates),
            )
        },
        trick(
            "bomb-of-many-members",
            bombs,
            "Uncompressed request size of",
            Proof::Believed(believer::inflates),
        ),
        trick(
            "announces-four-gibibytes",
            |kit| {
                kit.with(Member {
                    unpacked: u32::MAX - 1,
                    ..file("script/x", b"small")
                })
            },
            "Uncompressed request size of",
            Proof::Honest,
        ),
    ]
}

/// Each bound is met by one more than it allows, which a policy that allows one more takes.
fn bounds() -> Vec<Trick> {
    vec![
        trick(
            "one-byte-too-many-unpacked",
            |kit| kit.with(file("script/x", &text(UNPACKED + 1 - used(kit))).squeezed()),
            "Uncompressed request size of 4194305 bytes",
            Proof::Allowed(&[("unpacked", "\"5 MiB\"")]),
        ),
        trick(
            "one-byte-too-many-on-the-wire",
            |kit| {
                let rest = (64 << 10) + 1 - kit.with(file("script/x", b"")).len();
                kit.with(file("script/x", &vec![b'x'; rest]))
            },
            "request file is too large: 65537 bytes",
            Proof::Allowed(&[("compressed", "\"65 KiB\"")]),
        ),
        trick(
            "announces-many-members",
            |kit| ending(&kit.members(), |end| end.entries = Some(30_000)),
            "members and the limit is",
            Proof::Honest,
        ),
        trick(
            "many-members",
            |kit| archive(&kit.and((0..300).map(|number| file(&format!("script/{number}"), b"")))),
            "members and the limit is",
            Proof::Allowed(&[("files", "400")]),
        ),
        trick(
            "one-file-too-many",
            |kit| archive(&kit.and((0..65).map(|number| file(&format!("script/{number}"), b"")))),
            "has 65 files",
            Proof::Allowed(&[("files", "65")]),
        ),
    ]
}

fn lies() -> Vec<Trick> {
    let lie = |name, package, says| Trick {
        goal: Goal::Deceive("the reader about a size"),
        ..trick(name, package, says, Proof::Honest)
    };
    vec![
        lie(
            "unpacks-to-more",
            |kit| {
                kit.with(Member {
                    unpacked: 3,
                    ..file("script/x", b"content").deflated()
                })
            },
            "script/x is damaged: File is larger",
        ),
        lie(
            "unpacks-to-less",
            |kit| {
                kit.with(Member {
                    unpacked: 8,
                    ..file("script/x", b"content").deflated()
                })
            },
            "does not unpack to the 8 bytes",
        ),
        lie(
            "other-checksum",
            |kit| {
                kit.with(Member {
                    checksum: 7,
                    ..file("script/x", b"content")
                })
            },
            "script/x is damaged",
        ),
        lie(
            "no-deflate-stream",
            |kit| {
                kit.with(Member {
                    data: vec![0xff; 12],
                    ..file("script/x", b"content").deflated()
                })
            },
            "script/x is damaged",
        ),
        lie(
            "content-beyond-the-archive",
            |kit| {
                kit.with(Member {
                    packed: u32::MAX - 1,
                    ..file("script/x", b"content")
                })
            },
            "damaged or contradicts itself",
        ),
        lie(
            "content-of-no-bytes",
            |kit| {
                kit.with(Member {
                    packed: 0,
                    ..file("script/x", b"content").deflated()
                })
            },
            "script/x",
        ),
    ]
}

/// What a request may unpack to on this server.
const UNPACKED: usize = 4 << 20;

/// What an honest request unpacks to.
fn used(kit: &Kit) -> usize {
    kit.members().iter().map(|member| member.data.len()).sum()
}

/// Zeros without end, for the compressor: 2 MiB of them are 2 KiB.
fn bomb(kit: &Kit) -> Vec<u8> {
    kit.with(file("script/x", &vec![0; 2 << 20]).squeezed())
}

/// Each of them is small enough to compress as well as it likes.
fn bombs(kit: &Kit) -> Vec<u8> {
    let one = |number| file(&format!("script/{number}"), &vec![0; 1 << 20]).squeezed();
    archive(&kit.and((0..8).map(one)))
}

/// Text that compresses well, though not like a bomb.
fn text(size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size);
    let mut state = 1_u32;
    while text.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let byte = b'a' + u8::try_from(state >> 28).unwrap_or_default();
        let run = 512.min(size - text.len());
        text.extend(std::iter::repeat_n(byte, run));
    }
    text
}
