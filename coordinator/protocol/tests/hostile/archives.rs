//! Requests that are refused for what they are as archives; none is looked into any further.

use stap_protocol::ArchiveError;
use stap_protocol::path::{MAX_DEPTH, MAX_NAME, PathError};
use stap_protocol::request::{DecodeError, Limits};

use crate::Seed;
use crate::forge::{
    BZIP2, DEVICE, DIRECTORY, MS_DOS, Member, NO_MODE, SYMLINK, archive, ending, file,
};
use crate::requests::{SYSINFO, with};

/// Archives that are refused, and why.
pub(crate) fn refused() -> Vec<Seed<DecodeError>> {
    let archives = [
        bad_ends(),
        bad_places(),
        bad_names(),
        bad_kinds(),
        bad_pairs(),
        bombs(),
    ]
    .concat();
    let request = |(name, bytes, error)| (name, bytes, DecodeError::from(error));
    archives.into_iter().map(request).collect()
}

/// The end record is missing, or not at the end.
fn bad_ends() -> Vec<Seed<ArchiveError>> {
    let honest = with(file("script/x", b"content"));
    let cut = |bytes| honest[..honest.len() - bytes].to_vec();
    let prose = b"GET / HTTP/1.0\r\n\r\n and so on".to_vec();
    let comment = ending(&[file("sysinfo", SYSINFO)], |end| end.comment = b"hello");
    vec![
        ("empty", Vec::new(), ArchiveError::NotAnArchive),
        ("not-an-archive", prose, ArchiveError::NoEndRecord),
        ("truncated", cut(30), ArchiveError::NoEndRecord),
        ("end-record-cut", cut(1), ArchiveError::NoEndRecord),
        (
            "trailing-bytes",
            [&honest[..], b"x"].concat(),
            ArchiveError::NoEndRecord,
        ),
        ("comment", comment, ArchiveError::NoEndRecord),
    ]
}

/// The end record is there and says what cannot be.
fn bad_places() -> Vec<Seed<ArchiveError>> {
    let honest = with(file("script/x", b"content"));
    let members = [file("sysinfo", SYSINFO)];
    let part = ending(&members, |end| end.part = 1);
    let elsewhere = ending(&members, |end| end.entries_here = Some(7));
    let marker = ending(&members, |end| end.entries = Some(u16::MAX));
    let nowhere = ending(&members, |end| end.directory_start = Some(u32::MAX - 100));
    let small = ending(&members, |end| end.directory_size = Some(1));
    let many = ending(&members, |end| end.entries = Some(10_001));
    let too_many = ArchiveError::TooManyEntries {
        announced: 10_001,
        limit: 10_000,
    };
    vec![
        (
            "leading-bytes",
            [b"x", &honest[..]].concat(),
            ArchiveError::MisplacedDirectory,
        ),
        (
            "archive-behind-archive",
            honest.repeat(2),
            ArchiveError::MisplacedDirectory,
        ),
        ("several-parts", part, ArchiveError::SeveralParts),
        ("entries-elsewhere", elsewhere, ArchiveError::SeveralParts),
        ("zip64-marker", marker, ArchiveError::Zip64),
        ("zip64-locator", zip64_locator(), ArchiveError::Zip64),
        (
            "directory-nowhere",
            nowhere,
            ArchiveError::MisplacedDirectory,
        ),
        (
            "directory-too-small",
            small,
            ArchiveError::MisplacedDirectory,
        ),
        (
            "end-record-before-end-record",
            hidden_archive(),
            ArchiveError::MisplacedDirectory,
        ),
        ("too-many-entries", many, too_many),
    ]
}

/// A record that points to a 64-bit end record, smuggled into the directory.
fn zip64_locator() -> Vec<u8> {
    let mut bytes = archive(&[file("sysinfo", SYSINFO)]);
    let end = bytes.len() - 22;
    let locator = [&b"PK\x06\x07"[..], &[0; 16]].concat();
    bytes.splice(end..end, locator);
    let size =
        end + 20 - u32::from_le_bytes(bytes[end + 36..end + 40].try_into().unwrap()) as usize;
    bytes[end + 32..end + 36].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    bytes
}

/// An archive with more members than allowed, and behind it an end record that announces one member
/// in a directory that does not exist: a reader that gives up on the last record and looks for an
/// earlier one has judged the wrong number.
fn hidden_archive() -> Vec<u8> {
    let many: Vec<_> = (1..=10_001)
        .map(|number| file(&format!("script/{number}"), b""))
        .collect();
    let decoy = ending(&[], |end| {
        end.entries = Some(1);
        end.directory_start = Some(0);
        end.directory_size = Some(46);
    });
    [archive(&many), decoy].concat()
}

/// An empty member with nothing but a name, which may be a file's or a directory's.
fn named(name: &str) -> Vec<u8> {
    with(file(name, b"").attributes(NO_MODE))
}

fn bad_names() -> Vec<Seed<ArchiveError>> {
    let long = "n".repeat(MAX_NAME + 1);
    let deep = vec!["d"; MAX_DEPTH + 1].join("/");
    let backslashes = with(
        file("script\\..\\x", b"")
            .attributes(NO_MODE)
            .made_on(MS_DOS),
    );
    let names = [
        ("parent", "../x", PathError::Parent),
        ("parent-inside", "script/../../x", PathError::Parent),
        ("absolute", "/etc/passwd", PathError::Absolute),
        ("dot", "script/./x", PathError::NotNormal),
        ("two-slashes", "script//x", PathError::NotNormal),
        ("two-slashes-behind", "script/x//", PathError::NotNormal),
        ("no-name", "", PathError::Empty),
        ("only-a-slash", "/", PathError::Empty),
        ("long-name", &long, PathError::ComponentTooLong),
        ("deep-name", &deep, PathError::TooDeep),
        ("nul", "script/a\0b", PathError::Nul),
    ];
    let seed = |(seed, name, reason): (_, &str, _)| {
        let shown = name.replace('\0', "\\u{0}");
        (
            seed,
            named(name),
            ArchiveError::Name {
                name: shown,
                reason,
            },
        )
    };
    let mut seeds = names.map(seed).to_vec();
    let shown = "script\\\\..\\\\x".to_owned();
    seeds.push(("backslashes", backslashes, ArchiveError::Backslash(shown)));
    seeds
}

fn bad_kinds() -> Vec<Seed<ArchiveError>> {
    let link = with(file("script/x", b"/etc/passwd").attributes(SYMLINK));
    let dos_link = with(
        file("script/x", b"/etc/passwd")
            .attributes(SYMLINK)
            .made_on(MS_DOS),
    );
    let linked_directory = with(file("script/", b"/etc").attributes(SYMLINK));
    let device = with(file("script/x", b"").attributes(DEVICE));
    let called_file = with(file("script/x", b"").attributes(DIRECTORY));
    let full_directory = with(file("script/x/", b"content").attributes(DIRECTORY));
    let encrypted = with(file("script/x", b"content").flags(1));
    let bzip2 = with(file("script/x", b"content").method(BZIP2));
    let name = || "script/x".to_owned();
    let method = ArchiveError::Method {
        name: name(),
        method: "Bzip2".to_owned(),
    };
    vec![
        ("symlink", link, ArchiveError::Symlink(name())),
        (
            "symlink-made-on-dos",
            dos_link,
            ArchiveError::Symlink(name()),
        ),
        (
            "symlink-as-directory",
            linked_directory,
            ArchiveError::Symlink("script/".to_owned()),
        ),
        ("device", device, ArchiveError::Special(name())),
        (
            "directory-called-a-file",
            called_file,
            ArchiveError::Special(name()),
        ),
        (
            "directory-with-content",
            full_directory,
            ArchiveError::Special("script/x/".to_owned()),
        ),
        ("encrypted", encrypted, ArchiveError::Encrypted(name())),
        ("bzip2", bzip2, method),
    ]
}

/// Members that cannot exist side by side.
fn bad_pairs() -> Vec<Seed<ArchiveError>> {
    let pair = |one, other| archive(&[file("sysinfo", SYSINFO), one, other]);
    let x = || file("script/x", b"");
    let both = || ArchiveError::FileAsDirectory("script/x".to_owned());
    let directory = file("script/x/", b"").attributes(DIRECTORY);
    vec![
        ("duplicate", pair(x(), x()), ArchiveError::Duplicate),
        ("file-and-directory", pair(x(), directory), both()),
        (
            "file-below-a-file",
            pair(file("script/x/y", b""), x()),
            both(),
        ),
    ]
}

fn bombs() -> Vec<Seed<ArchiveError>> {
    let name = || "script/x".to_owned();
    let bomb = Member {
        unpacked: 2 << 20,
        ..file("script/x", b"small").deflated()
    };
    let huge = Member {
        unpacked: u32::MAX - 1,
        ..file("script/x", b"small")
    };
    let limit = Limits::default().unpacked;
    let unpacked = u64::from(u32::MAX - 1) + SYSINFO.len() as u64 + 3;
    vec![
        (
            "bomb",
            with(bomb),
            ArchiveError::Bomb {
                name: name(),
                unpacked: 2 << 20,
                packed: 10,
            },
        ),
        (
            "announces-too-much",
            with(huge),
            ArchiveError::TooLarge { unpacked, limit },
        ),
    ]
}
