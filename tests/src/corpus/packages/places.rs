//! Archives that say different things in different places, or that are not what they end as.

use super::Trick;
use super::kit::Kit;
use super::kit::forge::{Member, archive, ending, file};
use crate::corpus::Goal;

pub(super) fn tricks() -> Vec<Trick> {
    [ends(), directories(), members()].concat()
}

fn trick(name: &'static str, package: fn(&Kit) -> Vec<u8>, says: &'static str) -> Trick {
    let goal = Goal::Deceive("one of two readers of an archive");
    super::trick(name, goal, package, says)
}

fn ends() -> Vec<Trick> {
    vec![
        trick(
            "no-archive",
            |_| b"GET / HTTP/1.0\r\n\r\n and so on".to_vec(),
            NO_END,
        ),
        trick(
            "shorter-than-an-end",
            |_| b"PK".to_vec(),
            "its end is missing",
        ),
        trick("archive-cut-short", |kit| cut(kit.honest(), 30), NO_END),
        trick("archive-end-cut-short", |kit| cut(kit.honest(), 1), NO_END),
        trick(
            "bytes-behind-the-archive",
            |kit| [kit.honest(), b"x".to_vec()].concat(),
            NO_END,
        ),
        trick(
            "bytes-before-the-archive",
            |kit| [b"x".to_vec(), kit.honest()].concat(),
            MISPLACED,
        ),
        trick(
            "archive-behind-archive",
            |kit| kit.honest().repeat(2),
            MISPLACED,
        ),
        trick(
            "end-hidden-in-a-comment",
            end_in_a_comment,
            "members and the limit is",
        ),
        trick(
            "comment",
            |kit| ending(&kit.members(), |end| end.comment = b"hello"),
            NO_END,
        ),
        trick("end-before-the-end", end_before_the_end, MISPLACED),
    ]
}

fn directories() -> Vec<Trick> {
    vec![
        trick(
            "directory-nowhere",
            |kit| ending(&kit.members(), |end| end.directory_start = Some(u32::MAX)),
            MISPLACED,
        ),
        trick(
            "directory-too-small",
            |kit| ending(&kit.members(), |end| end.directory_size = Some(1)),
            MISPLACED,
        ),
        trick(
            "directory-too-large",
            |kit| ending(&kit.members(), |end| end.directory_size = Some(u32::MAX)),
            MISPLACED,
        ),
        trick(
            "fewer-members-than-there-are",
            |kit| ending(&kit.members(), |end| end.entries = Some(2)),
            DAMAGED,
        ),
        trick(
            "more-members-than-there-are",
            |kit| ending(&kit.members(), |end| end.entries = Some(4)),
            DAMAGED,
        ),
        trick(
            "second-part-of-a-set",
            |kit| ending(&kit.members(), |end| end.part = 1),
            SEVERAL,
        ),
        trick(
            "members-in-another-part",
            |kit| ending(&kit.members(), |end| end.entries_here = Some(1)),
            SEVERAL,
        ),
        trick(
            "zip64",
            |kit| ending(&kit.members(), |end| end.entries = Some(u16::MAX)),
            "64-bit zip archives are not accepted",
        ),
    ]
}

fn members() -> Vec<Trick> {
    vec![
        trick(
            "other-name-before-the-content",
            |kit| {
                kit.with(Member {
                    local_name: Some(b"script/y".to_vec()),
                    ..script()
                })
            },
            DAMAGED,
        ),
        trick(
            "other-sizes-before-the-content",
            |kit| {
                kit.with(Member {
                    local_numbers: Some([7, 7, 7]),
                    ..script()
                })
            },
            DAMAGED,
        ),
        trick(
            "content-of-another-member",
            |kit| {
                kit.with(Member {
                    start: Some(0),
                    ..script()
                })
            },
            DAMAGED,
        ),
        Trick {
            lesson: "bombs whose members share their bytes; CVE-2019-13232",
            goal: Goal::Exhaust("memory with shared bytes"),
            ..trick("members-that-share-bytes", shared_bytes, DAMAGED)
        },
        trick("member-that-is-not-listed", unlisted, DAMAGED),
        trick(
            "extra-field-without-end",
            |kit| {
                kit.with(Member {
                    extra: vec![0x75, 0x70, 0xff, 0xff],
                    ..script()
                })
            },
            DAMAGED,
        ),
    ]
}

fn script() -> Member {
    file("script/x", b"content")
}

fn cut(mut bytes: Vec<u8>, by: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - by);
    bytes
}

/// The comment of the true end is another one: whoever looks for the last finds that, whoever looks for a
/// comment that reaches to the end of the file finds the other.
fn end_in_a_comment(kit: &Kit) -> Vec<u8> {
    const INNER: &[u8] = b"PK\x05\x06\0\0\0\0\xff\x7f\xff\x7f\0\0\0\0\0\0\0\0\0\0";
    ending(&kit.members(), |end| end.comment = INNER)
}

/// An archive with too many members, and behind it an end that announces one: a reader that does not like
/// the last one and looks for another has judged the wrong number.
fn end_before_the_end(kit: &Kit) -> Vec<u8> {
    let many = (0..300).map(|number| file(&format!("script/{number}"), b""));
    let decoy = ending(&[], |end| {
        end.entries = Some(1);
        end.directory_start = Some(0);
        end.directory_size = Some(46);
    });
    [archive(&kit.and(many)), decoy].concat()
}

/// The second member lies in the content of the first.
fn shared_bytes(kit: &Kit) -> Vec<u8> {
    let inner = archive(&[file("script/y", b"content")]);
    let outer = kit.with(file("script/x", &inner));
    let header = b"PK\x03\x04";
    let inside = outer.windows(4).rposition(|four| four == header);
    let start = inside.and_then(|at| u32::try_from(at).ok());
    let sharing = Member {
        start,
        ..file("script/y", b"content")
    };
    archive(&kit.and([file("script/x", &inner), sharing]))
}

/// A whole member lies between two others, and the directory says nothing of it.
fn unlisted(kit: &Kit) -> Vec<u8> {
    let hidden = archive(&[file("script/y", b"hidden")]);
    let end = hidden.windows(4).position(|four| four == b"PK\x01\x02");
    let hidden = &hidden[..end.unwrap_or(hidden.len())];
    let lied = Member {
        data: [b"content".as_slice(), hidden].concat(),
        ..script()
    };
    kit.with(lied)
}

const DAMAGED: &str = "damaged or contradicts itself";
const NO_END: &str = "not a zip archive's end record without a comment";
const MISPLACED: &str = "is not where the archive says";
const SEVERAL: &str = "in several parts are not accepted";
