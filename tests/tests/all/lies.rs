//! Replies that no server of ours would send: row X5 and more. The client believes none of them.

use std::fs;
use std::path::Path;

use stap_tests::archive::{self, Member};
use stap_tests::lab::{self, HELLO, Lab, list};
use stap_tests::peer::{self, Liar};
use stap_tests::process;

/// A module that would pass.
const MODULE: &[u8] = b"\x7fELF\x02\x01\x01";

/// The parts of an honest reply, without those that are named.
fn honest_but_for(missing: &str) -> Vec<Member> {
    let parts = [
        ("version", "5.1"),
        ("rc", "0"),
        ("stdout", "evil.ko\n"),
        ("stderr", ""),
    ];
    let kept = parts.into_iter().filter(|(name, _)| *name != missing);
    kept.map(|(name, content)| Member::file(name, content))
        .collect()
}

fn with(members: impl IntoIterator<Item = Member>) -> Vec<u8> {
    let mut all = honest_but_for("");
    all.push(Member::file("stap000000/evil.ko", MODULE));
    all.extend(members);
    archive::of(&all)
}

/// Asserts that a reply ends the client with 1 and this reason, and leaves no trace of itself.
fn is_refused(lab: &Lab, reason: &str, reply: Vec<u8>) {
    let alice = lab.alice();
    let liar = Liar::answering(alice, 1, reply);
    let at = format!("--server={}:{}", stap_tests::world::ADDRESS, liar.port);
    let before = everything();
    let refused = alice.client([&at, "-e", HELLO]);
    refused
        .exits(1)
        .says("ERROR: ")
        .says(reason)
        .prints_nothing();
    liar.finish();
    assert_eq!(alice.staprun_calls(), [], "{reason}: nothing is run");
    assert_eq!(everything(), before, "{reason}: nothing is written");
    assert_eq!(process::strangers(), [], "{reason}: nothing runs");
}

/// What a reply could have written to: names, and the content of the likeliest victim.
fn everything() -> Vec<String> {
    let directories = [
        "/tmp",
        "/home/alice",
        "/home",
        "/etc",
        "/",
        "/run/lab/notes/alice",
    ];
    let mut found: Vec<String> = directories
        .iter()
        .flat_map(|directory| list(Path::new(directory)))
        .collect();
    found.push(fs::read_to_string("/etc/passwd").unwrap());
    found
}

#[test]
fn an_honest_reply_from_the_same_peer_is_believed() {
    lab::inside(|lab| {
        peer::databases(lab.alice(), peer::now());
        let liar = Liar::answering(lab.alice(), 1, with([]));
        let at = format!("--server={}:{}", stap_tests::world::ADDRESS, liar.port);
        lab.alice()
            .client([&at, "-p4", "-e", HELLO])
            .exits(0)
            .prints("evil.ko\n");
        liar.finish();
        assert_eq!(lab.alice().home_files(), ["evil.ko"]);
    });
}

#[test]
fn x5_a_lying_reply_is_refused_and_leaves_nothing() {
    lab::inside(|lab| {
        peer::databases(lab.alice(), peer::now());
        let passwd = "/etc/passwd";
        for (member, reason) in [
            (Member::file("../x", "x"), "has a name that is not accepted"),
            (
                Member::file("stap000000/../../x", "x"),
                "has a name that is not accepted",
            ),
            (
                Member::file("/tmp/x", "x"),
                "has a name that is not accepted",
            ),
            (
                Member::symlink("stap000000/link", passwd),
                "is a symbolic link",
            ),
            (
                Member::symlink("signing_key.x509", passwd),
                "is a symbolic link",
            ),
            (
                Member::device("stap000000/device"),
                "neither a regular file nor a directory",
            ),
            (
                Member::file("stap000000/other.ko", MODULE),
                "more than one module",
            ),
            (Member::file("stap000001/x", "x"), "stap000001"),
            (Member::file("extra", "x"), "does not belong there"),
            (Member::file("rc", "0"), "the same name"),
        ] {
            is_refused(lab, reason, with([member]));
        }
    });
}

#[test]
fn x5_an_incomplete_reply_is_refused() {
    lab::inside(|lab| {
        peer::databases(lab.alice(), peer::now());
        for part in ["rc", "stdout", "stderr"] {
            let reason = format!("{part} is missing");
            is_refused(lab, &reason, archive::of(&honest_but_for(part)));
        }
        let mut linked = honest_but_for("stdout");
        linked.push(Member::symlink("stdout", "/etc/passwd"));
        is_refused(lab, "is a symbolic link", archive::of(&linked));
        for status in ["", "zero", "0x0", "-", "99999999999999999999"] {
            let mut odd = honest_but_for("rc");
            odd.push(Member::file("rc", status));
            is_refused(lab, "rc", archive::of(&odd));
        }
    });
}

#[test]
fn a_server_may_call_its_version_anything() {
    lab::inside(|lab| {
        peer::databases(lab.alice(), peer::now());
        let odd: [Option<&[u8]>; 8] = [
            None,
            Some(b""),
            Some(b"abc"),
            Some(b"1.0"),
            Some(b"4.8\n"),
            Some(b"99.1"),
            Some(b"\xff\x1b[2J"),
            Some(b"99999999999999999999.-1"),
        ];
        for version in odd {
            let mut members = honest_but_for("version");
            members.extend(version.map(|version| Member::file("version", version)));
            members.push(Member::file("stap000000/evil.ko", MODULE));
            let liar = Liar::answering(lab.alice(), 1, archive::of(&members));
            let at = format!("--server={}:{}", stap_tests::world::ADDRESS, liar.port);
            let used = lab.alice().client([&at, "-p4", "-e", HELLO]);
            used.exits(0).prints("evil.ko\n").never_says("\x1b");
            liar.finish();
        }
    });
}

#[test]
fn what_is_no_archive_is_no_reply() {
    lab::inside(|lab| {
        peer::databases(lab.alice(), peer::now());
        is_refused(lab, "without an answer", Vec::new());
        is_refused(
            lab,
            "Cannot unpack server response",
            b"<html>it works</html>".to_vec(),
        );
        let whole = with([]);
        is_refused(
            lab,
            "Cannot unpack server response",
            whole[..whole.len() / 2].to_vec(),
        );
        let lie = Member::file("stap000000/x", "x").declared(u32::MAX);
        is_refused(lab, "unpack", with([lie]));
        is_refused(
            lab,
            "a ratio of more than",
            archive::bomb("stap000000/x", 100 << 20),
        );
    });
}

#[test]
fn success_without_a_module_is_an_error() {
    lab::inside(|lab| {
        peer::databases(lab.alice(), peer::now());
        let mut members = honest_but_for("stdout");
        members.push(Member::file("stdout", ""));
        is_refused(
            lab,
            "No module was returned by the server",
            archive::of(&members),
        );
    });
}
