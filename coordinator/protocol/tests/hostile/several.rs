//! Replies for several targets, honest and otherwise.

use stap_protocol::ArchiveError;
use stap_protocol::reply::{Answer, InvalidReply, Replies, Reply, ReplyError, ReplyLimits};
use stap_protocol::target::TargetName;

use crate::Seed;
use crate::forge::{DIRECTORY, Member, SYMLINK, archive, file};

const TARGET: &[u8] = b"sysinfo: 6.1.0-9 x86_64";

/// An honest reply about no target, with some members more.
fn with(members: &[Member]) -> Vec<u8> {
    let honest = [
        file("version", b"5.1"),
        file("rc", b"0"),
        file("stdout", b""),
        file("stderr", b""),
        file("targets/", b"").attributes(DIRECTORY),
    ];
    archive(&[&honest[..], members].concat())
}

/// What an honest server says of one target.
fn part(number: &str, target: &[u8]) -> Vec<Member> {
    [
        ("sysinfo", target),
        ("rc", b"0"),
        ("stdout", b""),
        ("stderr", b""),
    ]
    .map(|(name, content)| file(&format!("targets/{number}/{name}"), content))
    .into()
}

/// An honest part with one member more.
fn and(member: Member) -> Vec<u8> {
    with(&[part("1", TARGET), vec![member]].concat())
}

/// Replies that are accepted.
pub(crate) fn accepted() -> Vec<Seed<()>> {
    let two = [
        part("1", TARGET),
        vec![
            file("targets/1/", b"").attributes(DIRECTORY),
            file("targets/1/took", b"1500"),
            file("targets/1/store", b"hit"),
            file("targets/1/stap000000/x.ko", b"\x7fELF"),
        ],
        part("2", b"sysinfo: 6.1.0-9 aarch64"),
        vec![file("targets/2/took", b"soon")],
    ];
    vec![
        ("none", with(&[]), ()),
        ("two", with(&two.concat()), ()),
        ("sparse-numbers", with(&part("64", TARGET)), ()),
    ]
}

/// Replies that are refused, and why.
pub(crate) fn refused() -> Vec<Seed<ReplyError>> {
    [bad_places(), bad_parts()].concat()
}

fn bad_places() -> Vec<Seed<ReplyError>> {
    let stray = |name: &'static str| ReplyError::Unexpected(name.to_owned());
    let link = file("targets/1/stap000000/x.ko", b"/etc/passwd").attributes(SYMLINK);
    vec![
        (
            "number-with-zero",
            with(&part("01", TARGET)),
            stray("targets/01/sysinfo"),
        ),
        (
            "number-with-sign",
            with(&part("+1", TARGET)),
            stray("targets/+1/sysinfo"),
        ),
        (
            "number-beyond-the-limit",
            with(&part("65", TARGET)),
            stray("targets/65/sysinfo"),
        ),
        (
            "a-file-beside-the-numbers",
            with(&[file("targets/x", b"")]),
            stray("targets/x"),
        ),
        (
            "a-number-is-a-file",
            with(&[file("targets/1", b"")]),
            stray("targets/1"),
        ),
        (
            "a-part-has-more",
            and(file("targets/1/.bashrc", b"")),
            stray(".bashrc"),
        ),
        (
            "a-part-in-a-part",
            and(file("targets/1/targets/1/rc", b"")),
            stray("targets/1/rc"),
        ),
        (
            "result-is-a-symlink",
            and(link),
            ArchiveError::Symlink("targets/1/stap000000/x.ko".to_owned()).into(),
        ),
    ]
}

fn bad_parts() -> Vec<Seed<ReplyError>> {
    let twice = [part("1", TARGET), part("2", TARGET)].concat();
    let target = TargetName {
        release: "6.1.0-9".parse().unwrap(),
        arch: "x86_64".parse().unwrap(),
    };
    let nameless = |line| {
        let mut members = part("1", line);
        members.retain(|member| !member.data.is_empty() || !member.name.ends_with(b"sysinfo"));
        with(&members)
    };
    let no_target = || ReplyError::NoTarget("1".to_owned());
    let mut silent = part("1", TARGET);
    silent.retain(|member| !member.name.ends_with(b"stderr"));
    vec![
        ("no-target", nameless(b""), no_target()),
        (
            "target-without-architecture",
            nameless(b"sysinfo: 6.1"),
            no_target(),
        ),
        (
            "target-is-a-path",
            nameless(b"x ../../etc x86_64"),
            no_target(),
        ),
        (
            "one-target-twice",
            with(&twice),
            InvalidReply::SameTarget(target).into(),
        ),
        (
            "a-part-is-incomplete",
            with(&silent),
            ReplyError::Missing("stderr"),
        ),
    ]
}

fn decode(bytes: &[u8]) -> Result<Answer, ReplyError> {
    Replies::decode(bytes, &ReplyLimits::for_several())
}

#[test]
fn odd_replies_for_several_targets_are_accepted() {
    for (name, bytes, ()) in accepted() {
        match decode(&bytes) {
            Ok(Answer::Several(_)) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn hostile_replies_for_several_targets_are_refused_for_the_right_reason() {
    let wrong: Vec<_> = refused()
        .into_iter()
        .map(|(name, bytes, reason)| (name, decode(&bytes), Err(reason)))
        .filter(|(_, outcome, expected)| outcome != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_reply_for_several_is_no_reply_for_one() {
    let refused = Reply::decode(&with(&part("1", TARGET)), &ReplyLimits::default()).unwrap_err();
    assert_eq!(refused, ReplyError::Unexpected("targets".to_owned()));
}

#[test]
fn the_reply_of_a_server_that_knows_of_one_target_is_told_apart() {
    let refusal = Reply::refusal("this server does not build for several-targets");
    assert_eq!(decode(&refusal.encode()), Ok(Answer::One(refusal)));
}
