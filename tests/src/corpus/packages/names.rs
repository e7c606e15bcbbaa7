//! Names that mean something else than a file of the request.

use super::kit::Kit;
use super::kit::forge::{MS_DOS, Member, NO_MODE, archive, crc32, file};
use super::{Proof, Trick, believer};
use crate::corpus::Goal;

const OUTSIDE: Goal = Goal::Write("files outside of the request");
const UNCLEAR: Goal = Goal::Deceive("one of two readers of a name");
const NOT_ACCEPTED: &str = "has a name that is not accepted";

/// A member of this name in an honest request. It may be a file's or a directory's.
fn named(kit: &Kit, name: &str) -> Vec<u8> {
    kit.with(file(name, b"").attributes(NO_MODE))
}

pub(super) fn tricks() -> Vec<Trick> {
    let trick = |name, goal, package, proof| Trick {
        name,
        goal,
        lesson: "",
        package,
        says: NOT_ACCEPTED,
        proof,
    };
    let leaving = Proof::Believed(believer::leaves);
    let slip = |name, package| Trick {
        lesson: "zip slip, CVE-2018-1002200",
        ..trick(name, OUTSIDE, package, leaving)
    };
    let unclear = |name, package| trick(name, UNCLEAR, package, Proof::Honest);
    vec![
        slip("name-of-the-directory-above", |kit| named(kit, "../x")),
        slip("name-that-goes-up-inside", |kit| {
            named(kit, "script/../../x")
        }),
        slip("name-from-the-root", |kit| named(kit, "/etc/passwd")),
        slip("name-in-an-extra-field", renamed_by_an_extra_field),
        unclear("name-with-a-nul", |kit| named(kit, "script/a\0b")),
        unclear("name-with-a-dot", |kit| named(kit, "script/./x")),
        unclear("name-with-two-slashes", |kit| named(kit, "script//x")),
        unclear("name-of-nothing", |kit| named(kit, "")),
        unclear("name-of-a-slash", |kit| named(kit, "/")),
        unclear("name-longer-than-a-name", |kit| {
            named(kit, &format!("script/{}", "n".repeat(256)))
        }),
        unclear("name-longer-than-a-path", |kit| {
            named(kit, &"script/".repeat(1000))
        }),
        unclear("name-too-deep", |kit| named(kit, &vec!["d"; 200].join("/"))),
        Trick {
            says: "backslash, which could be meant as a slash",
            ..unclear("name-with-backslashes", backslashes)
        },
        Trick {
            says: "have the same name",
            ..unclear("name-twice", twice)
        },
        Trick {
            says: "both as a file and as a directory",
            ..unclear("name-of-a-file-and-a-directory", |kit| {
                archive(&kit.and([file("script/x/y", b""), file("script/x", b"")]))
            })
        },
    ]
}

fn renamed_by_an_extra_field(kit: &Kit) -> Vec<u8> {
    let path = [&[1][..], &crc32(b"script/x").to_le_bytes(), b"../../x"].concat();
    kit.with(file("script/x", b"content").extra(0x7075, &path))
}

fn backslashes(kit: &Kit) -> Vec<u8> {
    let member: Member = file("script\\..\\..\\x", b"");
    kit.with(member.attributes(NO_MODE).made_on(MS_DOS))
}

fn twice(kit: &Kit) -> Vec<u8> {
    archive(&kit.and([file("script/x", b"one"), file("script/x", b"other")]))
}
