//! What becomes of a reply, honest or not.

use std::fs;
use std::io::{Cursor, Write};

use stap_protocol::reply::Parts;
use stap_protocol::request::MachineOwnerKeys;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::stand_in::{Answer, StandIn, certificate_file};
use crate::world::{Finished, World};

#[test]
fn text_of_the_first_passes_is_replayed() {
    let world = World::new();
    let server = StandIn::answering(Answer::compiled("# probes\nlooks like a.ko\n", &[]));
    let output = server
        .client(&world)
        .args(["-p2", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(
        (output.out().as_str(), output.code()),
        ("# probes\nlooks like a.ko\n", 0)
    );
    assert_eq!(output.err(), "server's words\n");
}

#[test]
fn a_module_of_pass_4_is_saved_here_and_named() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("stap_4242.ko"));
    let output = server
        .client(&world)
        .args(["-p4", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(
        (output.out().as_str(), output.code()),
        ("stap_4242.ko\n", 0)
    );
    assert_eq!(fs::read(world.path("cwd/stap_4242.ko")).unwrap(), b"ELF");
    assert_eq!(world.names("tmp"), [""; 0]);
}

#[test]
fn a_link_in_the_way_of_a_module_is_replaced_and_not_followed() {
    let world = World::new();
    fs::write(world.path("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(world.path("precious"), world.path("cwd/m.ko")).unwrap();
    let server = StandIn::answering(Answer::module("m.ko"));
    let output = server
        .client(&world)
        .args(["-p4", "-m", "m", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("m.ko\n", 0));
    assert_eq!(fs::read(world.path("precious")).unwrap(), b"precious");
    assert!(world.path("cwd/m.ko").symlink_metadata().unwrap().is_file());
}

#[test]
fn a_failed_compile_is_final_and_gives_status_1() {
    let world = World::new();
    let server = StandIn::answering(Answer::of(Parts {
        rc: 7,
        stdout: b"partial\n".to_vec(),
        stderr: b"parse error: fake\n".to_vec(),
        ..Parts::default()
    }));
    let output = server
        .client(&world)
        .arg(server.option())
        .args(["-p2", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("partial\n", 1));
    assert!(
        output.err().starts_with("parse error: fake\n"),
        "{}",
        output.err()
    );
    assert!(
        output.err().contains("Passes: via server failed."),
        "{}",
        output.err()
    );
    server.request();
    assert!(server.was_not_asked(), "a server that answered is final");
}

#[test]
fn a_server_that_dies_before_its_answer_is_followed_by_the_next() {
    let world = World::new();
    let mute = StandIn::answering(Answer::Package(Vec::new()));
    let output = mute.client(&world).args(["-e", "x"]).output().unwrap();
    output.assert_failed("closed the connection without an answer");

    let other = StandIn::answering(Answer::compiled("# probes\n", &[]));
    let mut client = mute.client(&world);
    let output = client.arg(other.option()).args(["-p2", "-e", "x"]).output();
    let output = output.unwrap();
    assert_eq!(
        (output.out().as_str(), output.code()),
        ("# probes\n", 0),
        "{}",
        output.err()
    );
}

#[test]
fn a_module_that_cannot_be_saved_is_not_the_server_s_fault() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    let mut client = server.client(&world);
    // Not even root can make a file there.
    let output = client
        .args(["-p4", "-e", "x"])
        .current_dir("/proc")
        .output();
    let output = output.unwrap();
    output.assert_failed("m.ko cannot be saved in the current directory");
    assert!(
        !output.err().contains("via server failed"),
        "{}",
        output.err()
    );
}

#[test]
fn a_missing_module_is_an_error() {
    let world = World::new();
    let server = StandIn::answering(Answer::compiled("", &[]));
    let none = server
        .client(&world)
        .args(["-p4", "-e", "x"])
        .output()
        .unwrap();
    none.assert_failed("ERROR: No module was returned by the server");
    let other = StandIn::answering(Answer::module("stap_1.ko"));
    let wrong = other
        .client(&world)
        .args(["-p4", "-m", "foo", "-e", "x"])
        .output()
        .unwrap();
    wrong.assert_failed("ERROR: module foo.ko does not exist");
    assert_eq!(world.names("cwd"), [""; 0]);
}

#[test]
fn the_temporary_directory_is_kept_when_asked_for() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("stap_1.ko"));
    let output = server
        .client(&world)
        .args(["-k", "-p4", "-e", "x"])
        .output()
        .unwrap();
    let [kept] = &world.names("tmp")[..] else {
        panic!("{:?}", world.names("tmp"))
    };
    let path = world.path("tmp").join(kept);
    let line = format!("Keeping temporary directory \"{}\"\n", path.display());
    assert!(output.err().ends_with(&line), "{}", output.err());
    for name in [
        "stap_1.ko",
        "client.zip",
        "server.zip",
        "client/argv1",
        "server/rc",
    ] {
        assert!(path.join(name).is_file(), "{name}");
    }
}

/// A package with the files that a reply must have, and one more entry.
fn package(leave_out: &str, also: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Answer {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let all = [
        ("rc", "0"),
        ("stdout", "lies\n"),
        ("stderr", ""),
        ("version", "5.1"),
    ];
    for (name, content) in all.iter().filter(|(name, _)| *name != leave_out) {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    also(&mut zip);
    Answer::Package(zip.finish().unwrap().into_inner())
}

fn file(zip: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str) {
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(b"x").unwrap();
}

#[test]
fn a_reply_that_lies_is_thrown_away_whole() {
    let lies: [(&str, Answer); 8] = [
        ("no rc", package("rc", |_| ())),
        ("rc is no number", package("rc", |zip| file(zip, "rc"))),
        ("parent", package("", |zip| file(zip, "../x"))),
        ("absolute", package("", |zip| file(zip, "/tmp/stap-lie"))),
        ("extra", package("", |zip| file(zip, "extra"))),
        (
            "link",
            package("", |zip| {
                zip.add_symlink(
                    "stap000000/m.ko",
                    "/etc/passwd",
                    SimpleFileOptions::default(),
                )
                .unwrap();
            }),
        ),
        (
            "two modules",
            package("", |zip| {
                file(zip, "stap000000/a.ko");
                file(zip, "stap000000/b.ko");
            }),
        ),
        ("garbage", Answer::Package(b"garbage".to_vec())),
    ];
    for (lie, answer) in lies {
        let world = World::new();
        let staprun = world.script("staprun", "touch \"$HOME/ran\"");
        let server = StandIn::answering(answer);
        let output = server
            .client(&world)
            .args(["-e", "x"])
            .env("SYSTEMTAP_STAPRUN", staprun)
            .output();
        let output = output.unwrap();
        assert_eq!(
            (output.out().as_str(), output.code()),
            ("", 1),
            "{lie}: {}",
            output.err()
        );
        let said = output
            .err()
            .contains("ERROR: Cannot unpack server response: ");
        assert!(said, "{lie}: {}", output.err());
        for directory in ["tmp", "cwd", "home"] {
            assert_eq!(
                world.names(directory),
                [""; 0],
                "{lie} left something in {directory}"
            );
        }
    }
}

#[test]
fn a_signature_goes_where_its_module_goes() {
    for (options, left) in [
        (&["-p4"][..], &["stap_1.ko", "stap_1.ko.sgn"][..]),
        (
            &["-p4", "--privilege=stapusr"],
            &["stap_1.ko", "stap_1.ko.sgn"],
        ),
    ] {
        let world = World::new();
        let files = ["stap_1.ko", "stap_1.ko.sgn", "stap_1_src.c"];
        let server = StandIn::answering(Answer::compiled("x/stap_1.ko\n", &files));
        let output = server
            .client(&world)
            .args(options)
            .args(["-e", "x"])
            .output()
            .unwrap();
        assert_eq!(
            (output.out().as_str(), output.code()),
            ("stap_1.ko\n", 0),
            "{}",
            output.err()
        );
        assert_eq!(world.names("cwd"), left);
    }
}

#[test]
fn staprun_finds_the_signature_beside_the_module() {
    let world = World::new();
    let staprun = world.script("staprun", "ls \"$(dirname \"${@: -1}\")\"");
    let server = StandIn::answering(Answer::compiled("", &["stap_1.ko", "stap_1.ko.sgn"]));
    let mut client = server.client(&world);
    let output = client
        .args(["-e", "x"])
        .env("SYSTEMTAP_STAPRUN", staprun)
        .output()
        .unwrap();
    assert_eq!(
        output.out(),
        "stap_1.ko\nstap_1.ko.sgn\n",
        "{}",
        output.err()
    );
}

#[test]
fn a_key_to_enrol_is_saved_for_the_command_that_names_it() {
    let world = World::new();
    let certificate = fs::read(certificate_file()).unwrap();
    let refusal = Parts {
        rc: 1,
        stderr: b"Server: enrol signing_key.x509\n".to_vec(),
        signing_key: Some(certificate.clone()),
        ..Parts::default()
    };
    let server = StandIn::answering(Answer::of(refusal.clone()));
    let output = server
        .client(&world)
        .args(["-p4", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(output.code(), 1);
    assert!(
        output.err().starts_with("Server: enrol signing_key.x509\n"),
        "{}",
        output.err()
    );
    assert_eq!(
        fs::read(world.path("cwd/signing_key.x509")).unwrap(),
        certificate
    );

    let world = World::new();
    let liar = StandIn::answering(Answer::of(Parts {
        signing_key: Some(b"#!/bin/sh".to_vec()),
        ..refusal
    }));
    let output = liar
        .client(&world)
        .args(["-p4", "-e", "x"])
        .output()
        .unwrap();
    assert!(
        output.err().contains("signing_key.x509 is not used"),
        "{}",
        output.err()
    );
    assert_eq!(world.names("cwd"), [""; 0]);
}

#[test]
fn a_client_that_needs_signatures_says_which_keys_it_trusts() {
    for (options, asked) in [
        (&["-p4"][..], MachineOwnerKeys::Missing),
        (&["-p2"], MachineOwnerKeys::NotAsked),
        (&["-p4", "-r", "6.1.0-other"], MachineOwnerKeys::NotAsked),
    ] {
        let world = World::new();
        let server = StandIn::answering(Answer::module("stap_1.ko"));
        let mut client = server.client(&world);
        let output = client
            .args(options)
            .args(["-e", "x"])
            .env("SYSTEMTAP_SIGN", "1")
            .output()
            .unwrap();
        assert_eq!(output.code(), 0, "{}", output.err());
        assert_eq!(server.request().machine_owner_keys, asked, "{options:?}");
    }
}
