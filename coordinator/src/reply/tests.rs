//! What clients are told about the end of their jobs.

use std::time::Duration;

use stap_protocol::job::Usage;
use stap_protocol::path::FileName;

use super::*;
use crate::request_id::RequestIds;

fn client() -> Client {
    Client {
        version: ProtocolVersion::CURRENT,
        wants_origin: false,
        notices: Vec::new(),
    }
}

fn report(outcome: Outcome, files: Vec<OutputFile>) -> Report {
    Report {
        outcome,
        stdout: b"/jail/out/x.ko\n".to_vec(),
        stderr: b"Pass 1: parsed".to_vec(),
        files,
        private_directories: vec!["/jail/out".into()],
        usage: Usage {
            wall: Duration::from_secs(1),
            ..Usage::default()
        },
        is_whole: true,
    }
}

fn module(content: &[u8]) -> Vec<OutputFile> {
    vec![OutputFile {
        name: FileName::new("x.ko").unwrap(),
        content: content.to_vec(),
    }]
}

fn elf(machine: u8) -> Vec<u8> {
    [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0",
        &[machine, 0][..],
        &[0; 44],
    ]
    .concat()
}

fn composed(report: Report, client: &Client) -> Reply {
    let target = TargetName {
        release: "6.1.0".parse().unwrap(),
        arch: "x86_64".parse().unwrap(),
    };
    let id = RequestIds::default().next();
    compose(
        report,
        client,
        &target,
        &Signature::NotNeeded,
        Origin::Miss,
        id,
    )
}

fn stderr(reply: &Reply) -> String {
    String::from_utf8(reply.stderr.clone()).unwrap()
}

#[test]
fn a_success_gives_the_module_and_no_words_of_ours() {
    let reply = composed(
        report(Outcome::Exited { code: 0 }, module(&elf(62))),
        &client(),
    );
    assert_eq!((reply.rc, &reply.stdout[..]), (0, &b"<server>/x.ko\n"[..]));
    assert_eq!(stderr(&reply), "Pass 1: parsed");
    assert_eq!(reply.files.len(), 1);
}

#[test]
fn a_failed_compile_gives_stap_s_status_and_text_only() {
    let reply = composed(
        report(Outcome::Exited { code: 7 }, module(&elf(62))),
        &client(),
    );
    assert_eq!((reply.rc, reply.files.len()), (7, 0));
    assert_eq!(stderr(&reply), "Pass 1: parsed");
}

#[test]
fn a_limit_is_named_with_its_value_and_class_and_with_who_allows_more() {
    let told = |used: Option<&str>, wider: Option<Wider>| {
        let outcome = Outcome::LimitReached {
            limit: "memory".to_owned(),
            value: "1 GiB".to_owned(),
            class: "strict".to_owned(),
            used: used.map(str::to_owned),
            wider,
        };
        let reply = composed(report(outcome, Vec::new()), &client());
        assert_eq!(reply.rc, 1);
        stderr(&reply)
    };
    let wider = Wider {
        class: "personal".to_owned(),
        value: "2 GiB".to_owned(),
    };
    let text = told(Some("1023 MiB"), Some(wider));
    assert!(
        text.contains(
            "reached the limit 'memory' of 1 GiB (policy 'strict'; it used 1023 MiB). Make the script smaller, or ask \
             the operator: the policy 'personal' allows 2 GiB."
        ),
        "{text}"
    );
    let text = told(None, None);
    assert!(text.contains("(policy 'strict'). Make"), "{text}");
    assert!(
        text.contains("no policy that comes with the server allows more"),
        "{text}"
    );
}

#[test]
fn our_own_faults_are_not_told_in_detail() {
    let outcome = Outcome::WorkerFault {
        reason: "/secret/path is gone".to_owned(),
    };
    let reply = composed(report(outcome, Vec::new()), &client());
    assert_eq!(reply.rc, 1);
    assert!(!stderr(&reply).contains("secret"));
    assert!(stderr(&reply).contains("(request "));
}

#[test]
fn a_module_for_another_machine_is_not_sent() {
    let reply = composed(
        report(Outcome::Exited { code: 0 }, module(&elf(183))),
        &client(),
    );
    assert_eq!((reply.rc, reply.files.len()), (1, 0));
    assert!(stderr(&reply).contains("another machine"));
}

#[test]
fn the_output_of_a_stand_in_for_stap_is_sent() {
    let reply = composed(
        report(Outcome::Exited { code: 0 }, module(b"ELF\n")),
        &client(),
    );
    assert_eq!((reply.rc, reply.files.len()), (0, 1));
}

#[test]
fn a_module_that_the_signer_refused_is_not_sent() {
    let target = TargetName {
        release: "6.1.0".parse().unwrap(),
        arch: "x86_64".parse().unwrap(),
    };
    for files in [module(&elf(62)), Vec::new()] {
        let report = report(Outcome::Exited { code: 0 }, files);
        let refused = Signature::Refused("it enforces stapdev".to_owned());
        let id = RequestIds::default().next();
        let reply = compose(report, &client(), &target, &refused, Origin::Miss, id);
        assert_eq!((reply.rc, reply.files.len()), (1, 0));
        assert!(stderr(&reply).contains("cannot be signed: it enforces stapdev"));
    }
}

#[test]
fn several_modules_are_a_refusal() {
    let mut files = module(&elf(62));
    files.push(OutputFile {
        name: FileName::new("y.ko").unwrap(),
        content: elf(62),
    });
    let reply = composed(report(Outcome::Exited { code: 0 }, files), &client());
    assert_eq!((reply.rc, reply.files.len()), (1, 0));
}

#[test]
fn only_a_client_that_asks_hears_where_its_result_is_from() {
    let curious = Client {
        wants_origin: true,
        ..client()
    };
    for (client, origin) in [(client(), None), (curious, Some(Origin::Miss))] {
        let reply = composed(report(Outcome::Exited { code: 0 }, Vec::new()), &client);
        assert_eq!(reply.origin, origin);
    }
}

#[test]
fn each_client_is_answered_in_its_version() {
    for (theirs, ours) in [((1, 0), (1, 6)), ((4, 8), (4, 8)), ((9, 9), (5, 1))] {
        let client = Client {
            version: ProtocolVersion::new(theirs.0, theirs.1),
            ..client()
        };
        let reply = composed(report(Outcome::Exited { code: 0 }, Vec::new()), &client);
        assert_eq!(reply.version, ProtocolVersion::new(ours.0, ours.1));
    }
}

#[test]
fn a_notice_is_the_line_of_a_stock_server() {
    let client = Client {
        notices: vec!["Localization value '$(id)' contains illegal characters".to_owned()],
        ..client()
    };
    let reply = composed(report(Outcome::Exited { code: 0 }, Vec::new()), &client);
    assert_eq!(
        stderr(&reply),
        "Server: Localization value '$(id)' contains illegal characters\nPass 1: parsed"
    );
}
