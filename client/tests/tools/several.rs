//! Several targets in one request, from servers that know of such requests and from others.

use std::fs;

use stap_protocol::job::OutputFile;
use stap_protocol::path::FileName;
use stap_protocol::reply::{OfTarget, Parts, Replies, Reply};
use stap_protocol::request::{Request, SEVERAL};
use stap_protocol::target::TargetName;

use crate::stand_in::{Answer, StandIn};
use crate::world::{Finished, World};

const ARM: &str = "6.1-arm64";

fn file(name: &str, content: &str) -> OutputFile {
    OutputFile {
        name: FileName::try_from(name).unwrap(),
        content: content.into(),
    }
}

fn good(release: &str) -> Reply {
    let parts = Parts {
        stdout: b"<server>/stap_1.ko\n".to_vec(),
        stderr: format!("words about {release}\n").into_bytes(),
        files: vec![file("stap_1.ko", release), file("stap_1.ko.sgn", "signed")],
        ..Parts::default()
    };
    Reply::new(parts).unwrap()
}

fn of_target(release: &str, arch: &str, reply: Reply) -> OfTarget {
    OfTarget {
        target: TargetName {
            release: release.parse().unwrap(),
            arch: arch.parse().unwrap(),
        },
        took: None,
        reply,
    }
}

/// A server with three targets, which fails for the one of arm64.
fn knows(_request: &Request) -> Vec<u8> {
    let each = vec![
        of_target("6.1", "x86_64", good("6.1")),
        of_target(ARM, "arm64", Reply::refusal("semantic error: not there")),
        of_target("7.2", "x86_64", good("7.2")),
    ];
    Replies::new(each).unwrap().encode()
}

fn all_good(_request: &Request) -> Vec<u8> {
    let each = vec![of_target("6.1", "x86_64", good("6.1"))];
    Replies::new(each).unwrap().encode()
}

/// A server that does not look at the member, as ours were before there was one.
fn knows_one(request: &Request) -> Vec<u8> {
    let release = request.target.release.as_str();
    let refusal = |text: &str| Reply::refusal(&format!("Server: {text} (request 1-1)"));
    match release {
        SEVERAL => refusal(&format!("this server does not build for {SEVERAL}. x")),
        ARM => refusal("this server does not build for 6.1-arm64 arm64. x"),
        _ => good(release),
    }
    .encode()
}

/// A stock server, which sends its version for a kernel that it does not have, and nothing else.
fn stock(request: &Request) -> Vec<u8> {
    match request.target.release.as_str() {
        SEVERAL => {
            let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file("version", options).unwrap();
            std::io::Write::write_all(&mut writer, b"5.1").unwrap();
            writer.finish().unwrap().into_inner()
        }
        release => good(release).encode(),
    }
}

fn busy(_request: &Request) -> Vec<u8> {
    Reply::refusal("Server: the server is busy. Try again in 1 s.").encode()
}

#[test]
fn each_module_has_a_directory_of_its_own_and_a_line_in_the_table() {
    let world = World::new();
    fs::write(world.path("cwd/hello.stp"), "probe begin {}").unwrap();
    let server = StandIn::answering(Answer::For(knows));
    let output = server
        .client(&world)
        .args(["-p4", "--targets", "*:*", "hello.stp"])
        .output()
        .unwrap();
    let (first, third) = ("hello-6.1-x86_64", "hello-7.2-x86_64");
    let module = |directory: &str| format!("{directory}/stap_1.ko");
    assert_eq!(
        (output.out(), output.code()),
        (format!("{}\n{}\n", module(first), module(third)), 1)
    );
    for (directory, release) in [(first, "6.1"), (third, "7.2")] {
        let path = world.path("cwd").join(module(directory));
        assert_eq!(fs::read_to_string(&path).unwrap(), release);
        assert!(path.with_extension("ko.sgn").is_file());
    }
    assert_eq!(world.names("cwd"), [first, third, "hello.stp"]);
    let said = output.err();
    for text in [
        "==> 6.1:x86_64 <==\nwords about 6.1\n",
        "==> 6.1-arm64:arm64 <==\nsemantic error: not there\n",
        "6.1-arm64:arm64  failed",
        "hello-7.2-x86_64/stap_1.ko\n",
        "ERROR: 1 of 3 targets failed",
    ] {
        assert!(said.contains(text), "{text:?} is not in\n{said}");
    }
    let request = server.request();
    assert_eq!(request.targets.len(), 1);
    assert_eq!(request.target.release.as_str(), SEVERAL);
    assert!(server.was_not_asked(), "one request is enough");
}

#[test]
fn the_document_is_all_there_is_on_stdout() {
    let world = World::new();
    let server = StandIn::answering(Answer::For(all_good));
    let output = server
        .client(&world)
        .args(["--json", "-p4", "-r", "6.1:x86_64", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(output.code(), 0, "{}", output.err());
    let document: serde_json::Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(
        (&document["ok"], &document["format"]),
        (&true.into(), &1.into())
    );
    assert_eq!(
        document["targets"][0]["module"],
        "stap-6.1-x86_64/stap_1.ko"
    );
    assert_eq!(document["targets"][0]["stdout"], "<server>/stap_1.ko\n");
}

#[test]
fn a_server_that_knows_of_one_target_is_asked_for_each_by_itself() {
    for (answer, code) in [(knows_one as fn(&Request) -> Vec<u8>, 1), (stock, 0)] {
        let world = World::new();
        let server = StandIn::answering(Answer::For(answer));
        let arm = format!("{ARM}:arm64");
        let output = server
            .client(&world)
            .args([
                "-v",
                "-p4",
                "-r",
                "6.1:x86_64",
                "-r",
                &arm,
                "-r",
                "7.2:x86_64",
            ])
            .args(["-e", "x", "--", "one"])
            .output()
            .unwrap();
        assert_eq!(output.code(), code, "{}", output.err());
        assert!(output.out().ends_with("stap-7.2-x86_64/stap_1.ko\n"));
        assert!(
            output
                .err()
                .contains("builds for one target in a request: asking 3 times")
        );
        let asked: Vec<_> = (0..4).map(|_| server.request()).collect();
        assert!(server.was_not_asked());
        assert_eq!(asked[0].target.release.as_str(), SEVERAL);
        for (request, target) in
            asked[1..]
                .iter()
                .zip(["6.1 x86_64", &arm.replace(':', " "), "7.2 x86_64"])
        {
            assert_eq!(request.target.to_string(), target);
            assert!(request.targets.is_empty());
            let release = target.split(' ').next().unwrap();
            let words: Vec<_> = request
                .arguments
                .iter()
                .map(|word| String::from_utf8_lossy(word))
                .collect();
            assert!(words.contains(&format!("-r{release}").into()), "{words:?}");
            assert_eq!(words[words.len() - 2..], ["--", "one"]);
        }
    }
}

#[test]
fn a_pattern_needs_a_server_that_knows_of_several_targets() {
    let world = World::new();
    let server = StandIn::answering(Answer::For(knows_one));
    let output = server
        .client(&world)
        .args(["-p4", "-r", "6.1", "--targets=7.*", "-e", "x"])
        .output()
        .unwrap();
    output.assert_failed("builds for one target in a request, and does not say which '7.*:");
    server.request();
    assert!(server.was_not_asked());
}

#[test]
fn a_refusal_of_the_whole_is_final() {
    let world = World::new();
    let server = StandIn::answering(Answer::For(busy));
    let output = server
        .client(&world)
        .args(["-p4", "-r", "6.1", "-r", "6.2", "-e", "x"])
        .output()
        .unwrap();
    output.assert_failed("the server is busy");
    server.request();
    assert!(
        server.was_not_asked(),
        "a busy server is not asked once more"
    );
}

#[test]
fn a_link_in_the_place_of_a_directory_is_not_followed() {
    let world = World::new();
    fs::create_dir(world.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(world.path("elsewhere"), world.path("cwd/m-6.1-x86_64")).unwrap();
    let server = StandIn::answering(Answer::For(|_request| {
        let parts = Parts {
            files: vec![file("m.ko", "x")],
            ..Parts::default()
        };
        let each = vec![of_target("6.1", "x86_64", Reply::new(parts).unwrap())];
        Replies::new(each).unwrap().encode()
    }));
    let output = server
        .client(&world)
        .args(["-p4", "-m", "m", "--targets", "*", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("", 1));
    assert!(
        output
            .err()
            .contains("cannot be saved in the directory m-6.1-x86_64"),
        "{}",
        output.err()
    );
    assert_eq!(world.names("elsewhere"), [""; 0]);
}

#[test]
fn the_text_of_earlier_passes_stands_under_the_name_of_its_target() {
    let world = World::new();
    let server = StandIn::answering(Answer::For(|_request| {
        let text = |text: &str| {
            let parts = Parts {
                stdout: text.as_bytes().to_vec(),
                ..Parts::default()
            };
            Reply::new(parts).unwrap()
        };
        let each = vec![
            of_target("6.1", "x86_64", text("# probes a\n")),
            of_target("6.2", "x86_64", text("# probes b\n")),
        ];
        Replies::new(each).unwrap().encode()
    }));
    let output = server
        .client(&world)
        .args(["-p2", "--targets", "*", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(
        (output.out().as_str(), output.code()),
        (
            "==> 6.1:x86_64 <==\n# probes a\n==> 6.2:x86_64 <==\n# probes b\n",
            0
        )
    );
    assert_eq!(world.names("cwd"), [""; 0]);
}
