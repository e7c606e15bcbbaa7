//! Replies that are refused.

use stap_protocol::ArchiveError;
use stap_protocol::path::{FileName, PathError};
use stap_protocol::reply::{InvalidReply, Reply, ReplyError, ReplyLimits};

use crate::Seed;
use crate::forge::{DIRECTORY, Member, SYMLINK, archive, file};

fn honest() -> Vec<Member> {
    vec![
        file("version", b"5.1"),
        file("rc", b"0"),
        file("stdout", b""),
        file("stderr", b""),
    ]
}

/// An honest reply with some members more.
fn with(members: &[Member]) -> Vec<u8> {
    archive(&[honest(), members.to_vec()].concat())
}

/// An honest reply with one member replaced, or left out.
fn instead(name: &str, member: Option<Member>) -> Vec<u8> {
    let mut members = honest();
    members.retain(|member| member.name != name.as_bytes());
    members.extend(member);
    archive(&members)
}

fn directory(name: &str) -> Member {
    file(name, b"").attributes(DIRECTORY)
}

fn name(text: &str) -> FileName {
    FileName::try_from(text).unwrap()
}

/// Replies that are accepted.
pub(crate) fn accepted() -> Vec<Seed<()>> {
    let module = file("stapAbC12x/stap_1.ko", b"\x7fELF");
    let build = [
        directory("stapAbC12x/"),
        module.clone(),
        file("stapAbC12x/stap_1.c", b"int x;"),
        directory("stapAbC12x/.tmp_versions/"),
        file("stapAbC12x/.tmp_versions/stap_1.mod", b""),
        file("stapAbC12x/uprobes/uprobes.ko", b""),
    ];
    vec![
        ("minimal", with(&[]), ()),
        ("module", with(&[module]), ()),
        ("whole-build-directory", with(&build), ()),
        ("no-results", with(&[directory("stap000000/")]), ()),
        ("signing-key", with(&[file("signing_key.x509", b"key")]), ()),
        (
            "status-with-newline",
            instead("rc", Some(file("rc", b"137\n"))),
            (),
        ),
        (
            "negative-status",
            instead("rc", Some(file("rc", b"-1"))),
            (),
        ),
        ("no-version", instead("version", None), ()),
    ]
}

/// Replies that are refused, and why.
pub(crate) fn refused() -> Vec<Seed<ReplyError>> {
    [bad_packages(), bad_members(), bad_results()].concat()
}

fn bad_packages() -> Vec<Seed<ReplyError>> {
    let link = |name: &str| file(name, b"/etc/passwd").attributes(SYMLINK);
    let parent = ArchiveError::Name {
        name: "../x".to_owned(),
        reason: PathError::Parent,
    };
    vec![
        ("empty", Vec::new(), ReplyError::Empty),
        (
            "not-an-archive",
            b"x".repeat(100),
            ArchiveError::NoEndRecord.into(),
        ),
        ("parent", with(&[file("../x", b"")]), parent.into()),
        (
            "stdout-is-a-symlink",
            instead("stdout", Some(link("stdout"))),
            ArchiveError::Symlink("stdout".to_owned()).into(),
        ),
        (
            "result-is-a-symlink",
            with(&[link("stap000000/x.ko")]),
            ArchiveError::Symlink("stap000000/x.ko".to_owned()).into(),
        ),
        (
            "two-statuses",
            with(&[file("rc", b"1")]),
            ArchiveError::Duplicate.into(),
        ),
    ]
}

fn bad_members() -> Vec<Seed<ReplyError>> {
    vec![
        (
            "only-version",
            archive(&[file("version", b"5.1")]),
            ReplyError::Missing("rc"),
        ),
        ("no-status", instead("rc", None), ReplyError::Missing("rc")),
        (
            "no-stdout",
            instead("stdout", None),
            ReplyError::Missing("stdout"),
        ),
        (
            "no-stderr",
            instead("stderr", None),
            ReplyError::Missing("stderr"),
        ),
        (
            "stderr-is-a-directory",
            instead("stderr", Some(directory("stderr/"))),
            ReplyError::NotAFile("stderr".to_owned()),
        ),
        (
            "status-is-a-word",
            instead("rc", Some(file("rc", b"ok"))),
            ReplyError::BadStatus("ok".to_owned()),
        ),
        (
            "status-is-empty",
            instead("rc", Some(file("rc", b""))),
            ReplyError::BadStatus(String::new()),
        ),
        (
            "status-overflows",
            instead("rc", Some(file("rc", b"99999999999"))),
            ReplyError::BadStatus("99999999999".to_owned()),
        ),
        (
            "extra-file",
            with(&[file(".bashrc", b"")]),
            ReplyError::Unexpected(".bashrc".to_owned()),
        ),
        (
            "extra-directory",
            with(&[directory("server/")]),
            ReplyError::Unexpected("server".to_owned()),
        ),
        (
            "result-directory-of-another-length",
            with(&[file("stap0000000/x.ko", b"")]),
            ReplyError::Unexpected("stap0000000/x.ko".to_owned()),
        ),
        (
            "results-are-a-file",
            with(&[file("stap000000", b"")]),
            ReplyError::NotAFile("stap000000".to_owned()),
        ),
    ]
}

fn bad_results() -> Vec<Seed<ReplyError>> {
    let two = [file("stap000000/a.ko", b""), file("stap111111/b.ko", b"")];
    let modules = [file("stap000000/a.ko", b""), file("stap000000/b.ko", b"")];
    vec![
        (
            "two-result-directories",
            with(&two),
            ReplyError::SeveralResultDirectories("stap000000".to_owned(), "stap111111".to_owned()),
        ),
        (
            "two-modules",
            with(&modules),
            InvalidReply::SeveralModules(name("a.ko"), name("b.ko")).into(),
        ),
        (
            "reserved-name",
            with(&[file("stap000000/client.zip", b"")]),
            InvalidReply::ReservedName(name("client.zip")).into(),
        ),
    ]
}

#[test]
fn odd_replies_are_accepted() {
    for (name, bytes, ()) in accepted() {
        if let Err(error) = Reply::decode(&bytes, &ReplyLimits::default()) {
            panic!("{name} is refused: {error}");
        }
    }
}

#[test]
fn hostile_replies_are_refused_for_the_right_reason() {
    let wrong: Vec<_> = refused()
        .into_iter()
        .map(|(name, bytes, reason)| {
            (
                name,
                Reply::decode(&bytes, &ReplyLimits::default()),
                Err(reason),
            )
        })
        .filter(|(_, outcome, expected)| outcome != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_what_lies_directly_among_the_results_is_taken() {
    let seed = accepted()
        .into_iter()
        .find(|(name, ..)| *name == "whole-build-directory");
    let reply = Reply::decode(&seed.unwrap().1, &ReplyLimits::default()).unwrap();
    let names: Vec<_> = reply
        .files
        .iter()
        .map(|file| file.name.to_string())
        .collect();
    assert_eq!(names, ["stap_1.ko", "stap_1.c"]);
    assert_eq!(
        reply.module().map(|module| &module.content[..]),
        Some(&b"\x7fELF"[..])
    );
}

#[test]
fn a_reply_above_its_limits_is_refused() {
    let reply = with(&[file("stap000000/x.ko", &[0; 1000])]);
    let refused = |limits| Reply::decode(&reply, &limits).unwrap_err();
    let limits = ReplyLimits::default();
    let size = reply.len() as u64;
    assert_eq!(
        refused(ReplyLimits {
            compressed: 100,
            ..limits
        }),
        ReplyError::TooLong { size, limit: 100 }
    );
    assert_eq!(
        refused(ReplyLimits {
            unpacked: 100,
            ..limits
        }),
        ArchiveError::TooLarge {
            unpacked: 1004,
            limit: 100
        }
        .into()
    );
    assert_eq!(
        refused(ReplyLimits {
            entries: 4,
            ..limits
        }),
        ArchiveError::TooManyEntries {
            announced: 5,
            limit: 4
        }
        .into()
    );
}
