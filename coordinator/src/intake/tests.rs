//! Decisions of the intake, one line each.

use stap_protocol::signing::SignatureHash;

use super::*;
use crate::request_id::RequestIds;

fn target() -> TargetName {
    TargetName {
        release: "6.1.0-9".parse().unwrap(),
        arch: "x86_64".parse().unwrap(),
    }
}

fn catalogue() -> Catalogue {
    Catalogue::new(vec![Target {
        name: target(),
        root: "/".into(),
        build_tree: "/b".into(),
        stap: "/usr/bin/stap".into(),
        stap_version: "5.6".to_owned(),
        compiler: "gcc".to_owned(),
        build_id: "1".to_owned(),
        signature_hash: SignatureHash::Sha256,
        pass_4: Vec::new(),
    }])
}

fn words(arguments: &[&str]) -> Vec<Vec<u8>> {
    arguments
        .iter()
        .map(|argument| argument.as_bytes().to_vec())
        .collect()
}

fn admitted(class: &str, arguments: &[&str]) -> Result<Accepted, Refusal> {
    let request = Request::new(Parts::new(SysInfo::from(target()), words(arguments))).unwrap();
    let policy = Policy::builtin(class).unwrap();
    admit(
        request,
        RequestIds::default().next(),
        &policy,
        &catalogue(),
        &Surety::default(),
        &Keys::default(),
    )
}

#[test]
fn what_is_harmless_reaches_stap_as_it_was() {
    for arguments in [
        &["-p4", "-eprobe begin {}"][..],
        &[
            "script/home/a/x.stp",
            "-v",
            "-w",
            "--",
            "/etc/passwd",
            "../x",
            "-p5",
            "--sign-module",
        ],
        &[
            "-Itapset/home/a",
            "-Itapset/home/alice//missing",
            "script/-",
        ],
        &["-r6.1.0-9", "-ax86_64", "-lsyscall.*"],
        &[
            "--privilege=stapusr",
            "-cls -l /etc",
            "-o/tmp/out",
            "-x1",
            "script/x",
        ],
        &["--privilege=bogus", "-p9", "-eprobe"],
        &["--dump-probe-types", "/not/a/script"],
        &[],
    ] {
        let accepted = admitted("shared-host", arguments)
            .unwrap_or_else(|refusal| panic!("{arguments:?}: {refusal}"));
        assert_eq!(accepted.job.arguments, words(arguments));
        assert_eq!(accepted.job.target, target());
    }
}

#[test]
fn options_that_reach_for_the_server_are_refused_in_every_class() {
    for class in ["strict", "shared-host", "personal"] {
        for option in [
            "--sign-module",
            "--sign-module=/x",
            "--sign-mod",
            "--rlimit-cpu=100000",
            "--download-debuginfo",
            "-k",
            "-vk",
            "-R/x",
            "-B=x",
            "--tmpdir=/x",
            "--remote=ssh://h",
            "--use-server",
            "--modinfo=a=b",
            "-i",
        ] {
            let refusal = admitted(class, &[option, "-eprobe begin {}"]).unwrap_err();
            assert!(
                matches!(refusal, Refusal::ForbiddenOption { .. }),
                "{class}: {option}: {refusal:?}"
            );
        }
    }
}

#[test]
fn paths_of_the_server_are_refused() {
    for arguments in [
        &["/etc/passwd"][..],
        &["-p4", "--", "/etc/passwd"],
        &["script/../../etc/passwd"],
        &["-I/etc", "script/x"],
        &["-I", "tapset/../..", "script/x"],
        &["-eprobe begin {}", "-I", "/"],
    ] {
        let refusal = admitted("personal", arguments).unwrap_err();
        assert!(
            matches!(refusal, Refusal::PathOutside { .. }),
            "{arguments:?}: {refusal:?}"
        );
    }
}

#[test]
fn another_target_than_the_request_names_is_refused() {
    for argument in ["-r5.0", "-r/etc", "-r../..", "-as390x", "-a/"] {
        let refusal = admitted("personal", &[argument, "-eprobe"]).unwrap_err();
        assert!(
            matches!(refusal, Refusal::OtherTarget { .. }),
            "{argument}: {refusal:?}"
        );
    }
}

#[test]
fn guru_mode_is_the_policys_choice() {
    assert!(matches!(
        admitted("strict", &["-g", "-eprobe"]),
        Err(Refusal::OptionNotAllowed { .. })
    ));
    admitted("personal", &["-g", "-eprobe"]).unwrap();
}

#[test]
fn a_word_that_stap_does_not_know_is_refused_with_the_word() {
    let refusal = admitted("personal", &["--no-such=1", "-eprobe"]).unwrap_err();
    assert_eq!(refusal.to_string(), "unrecognized option '--no-such=1'");
    assert!(matches!(
        admitted("personal", &["-p"]),
        Err(Refusal::Grammar(_))
    ));
}

#[test]
fn an_unknown_target_is_refused_with_what_there_is() {
    let wanted = SysInfo::parse(b"sysinfo: 6.1.0-10 x86_64").unwrap();
    let request = Request::new(Parts::new(wanted, words(&["-eprobe"]))).unwrap();
    let policy = Policy::builtin("strict").unwrap();
    let id = RequestIds::default().next();
    let refusal = admit(
        request,
        id,
        &policy,
        &catalogue(),
        &Surety::default(),
        &Keys::default(),
    )
    .unwrap_err();
    let text = String::from_utf8(refusal.reply(id).stderr.clone()).unwrap();
    assert!(text.starts_with(
        "Server: this server does not build for 6.1.0-10 x86_64. It builds for 6.1.0-9 x86_64"
    ));
    assert!(text.ends_with(&format!("(request {id})\n")));
    assert_eq!(text.lines().count(), 1);
}
