//! Members that are no regular files or directories, or that only some readers can read.

use super::kit::Kit;
use super::kit::forge::{BZIP2, DEVICE, DIRECTORY, MS_DOS, SYMLINK, archive, file};
use super::{Proof, Trick, believer, trick};
use crate::corpus::Goal;

pub(super) fn tricks() -> Vec<Trick> {
    [links(), odd_kinds()].concat()
}

fn links() -> Vec<Trick> {
    let link = |name, package| Trick {
        lesson: "unzip follows links of the package in a stock server",
        proof: Proof::Believed(believer::links),
        ..trick(
            name,
            Goal::Read("files of the server through a link"),
            package,
            "is a symbolic link",
        )
    };
    vec![
        link("link-to-a-file", |kit| {
            kit.with(file("script/x", b"/etc/passwd").attributes(SYMLINK))
        }),
        // Not every reader takes a link for one whose maker has none.
        Trick {
            proof: Proof::Honest,
            ..link("link-by-another-system", |kit| {
                let link = file("script/x", b"/etc/passwd").attributes(SYMLINK);
                kit.with(link.made_on(MS_DOS))
            })
        },
        link("link-as-a-directory", through_a_link),
    ]
}

fn odd_kinds() -> Vec<Trick> {
    let odd = |name, package, says| {
        trick(
            name,
            Goal::Deceive("the reader about a kind"),
            package,
            says,
        )
    };
    vec![
        odd(
            "device",
            |kit| kit.with(file("script/x", b"").attributes(DEVICE)),
            "neither a regular file nor a directory",
        ),
        odd(
            "pipe",
            |kit| kit.with(file("script/x", b"").attributes(PIPE)),
            "neither a regular file nor a directory",
        ),
        odd(
            "socket",
            |kit| kit.with(file("script/x", b"").attributes(SOCKET)),
            "neither a regular file nor a directory",
        ),
        odd(
            "directory-called-a-file",
            |kit| kit.with(file("script/x", b"").attributes(DIRECTORY)),
            "neither a regular file nor a directory",
        ),
        odd(
            "directory-with-content",
            |kit| kit.with(file("script/x/", b"content").attributes(DIRECTORY)),
            "neither a regular file nor a directory",
        ),
        odd(
            "encrypted",
            |kit| kit.with(file("script/x", b"content").flags(1)),
            "is encrypted",
        ),
        odd(
            "other-compression",
            |kit| kit.with(file("script/x", b"content").method(BZIP2)),
            "only Stored and Deflated are accepted",
        ),
        odd(
            "unknown-compression",
            |kit| kit.with(file("script/x", b"content").method(99)),
            "only Stored and Deflated are accepted",
        ),
    ]
}

/// A link, and a file that would be written through it.
fn through_a_link(kit: &Kit) -> Vec<u8> {
    archive(&kit.and([
        file("script/x", b"/tmp").attributes(SYMLINK),
        file("script/x/y", b"content"),
    ]))
}

const PIPE: u32 = 0o010_644 << 16;
const SOCKET: u32 = 0o140_755 << 16;
