//! Requests that no client of ours would send. The server says why, logs one line, and goes on.

use stap_protocol::version::ProtocolVersion;
use stap_tests::archive::{self, Member};
use stap_tests::lab::{self, HELLO, Lab};
use stap_tests::peer;
use stap_tests::server::Server;

/// Members that a request of the host's own kernel needs.
fn sysinfo(lab: &Lab) -> Member {
    let release = lab.alice().run("uname", ["-r"]).out();
    let arch = lab.alice().run("uname", ["-m"]).out();
    Member::file(
        "sysinfo",
        format!("sysinfo: {} {}", release.trim(), arch.trim()),
    )
}

/// A request for `stap ARGUMENTS`, plus whatever else.
fn package(lab: &Lab, arguments: &[&str], more: impl IntoIterator<Item = Member>) -> Vec<u8> {
    let mut members = vec![Member::file("version", "5.1"), sysinfo(lab)];
    let numbered = (1..).zip(arguments);
    members.extend(numbered.map(|(number, text)| Member::file(format!("argv{number}"), text)));
    members.extend(more);
    archive::of(&members)
}

/// Sends a package and asserts the refusal: in the reply, in the log, and nowhere else.
fn refused(server: &Server, package: &[u8], reason: &str) {
    let before = server.requests().len();
    let reply = peer::request(server, package);
    let said = String::from_utf8_lossy(&reply.stderr).into_owned();
    assert_eq!(reply.rc, 1, "served, but should not for {reason:?}: {said}");
    assert!(said.contains(reason), "{said:?} lacks {reason:?}");
    assert!(
        reply.files.is_empty() && reply.stdout.is_empty(),
        "a refusal has no results"
    );
    one_line_more(server, before, reason);
}

/// Asserts that exactly one request was logged since, in one line that has the reason.
fn one_line_more(server: &Server, before: usize, reason: &str) {
    server.logs(reason);
    let requests = server.requests();
    assert_eq!(requests.len(), before + 1, "{}", server.said());
    let id = requests.last().unwrap();
    let lines: Vec<_> = server
        .said()
        .lines()
        .filter(|line| line.contains(id.as_str()))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(reason), "{lines:#?}");
}

/// Asserts that the server still serves, with a request like the ones above.
fn still_serves(lab: &Lab, server: &Server) {
    let served = peer::request(server, &package(lab, &["-p1", "-e", HELLO], []));
    assert_eq!(
        (served.rc, served.stdout.as_slice()),
        (0, &b"# parse tree dump\n"[..])
    );
    assert!(server.is_alive());
}

fn server(lab: &Lab) -> Server {
    lab.serve_with(lab.alice(), ["--no-advertise"])
}

#[test]
fn x9_an_oversize_request_is_refused_with_the_reason() {
    lab::inside(|lab| {
        let options = ["--no-advertise", "--max-compressed-request=10"];
        let server = lab.serve_with(lab.alice(), options);
        let at = format!("--server={}", server.address());
        let refused = lab.alice().client([&at, "-p1", "-e", HELLO]);
        refused
            .exits(1)
            .prints_nothing()
            .says("request file is too large");
        server.logs("request file is too large");
        assert!(server.is_alive());
    });
}

#[test]
fn impossible_sizes_are_refused_before_anything_is_read() {
    lab::inside(|lab| {
        let server = server(lab);
        for (size, reason) in [
            (u32::MAX, "is negative"),
            (1 << 31, "is negative"),
            (i32::MAX.unsigned_abs(), "request file is too large"),
            (1 << 30, "request file is too large"),
        ] {
            let before = server.requests().len();
            let reply = peer::reply(&peer::send(&server, &size.to_be_bytes()));
            let said = String::from_utf8_lossy(&reply.stderr);
            assert!(reply.rc == 1 && said.contains(reason), "{size}: {said}");
            one_line_more(&server, before, reason);
        }
        still_serves(lab, &server);
    });
}

#[test]
fn a_request_of_no_bytes_only_looks_at_the_certificate() {
    lab::inside(|lab| {
        let server = server(lab);
        assert_eq!(peer::send(&server, &[0; 4]), Vec::<u8>::new());
        still_serves(lab, &server);
    });
}

#[test]
fn what_is_no_archive_is_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        refused(
            &server,
            b"this is not a zip archive at all",
            "not a zip archive",
        );
        refused(&server, &archive::of(&[]), "sysinfo");
        let whole = package(lab, &["-p1", "-e", HELLO], []);
        refused(&server, &whole[..whole.len() - 30], "zip archive");
        refused(&server, &[&whole[..], b"x"].concat(), "zip archive");
        refused(&server, &[b"x", &whole[..]].concat(), "zip archive");
        still_serves(lab, &server);
    });
}

#[test]
fn names_that_leave_the_request_are_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        for name in [
            "../x",
            "script/../../x",
            "/etc/x",
            "script//x",
            "script/./x",
        ] {
            let hostile = package(lab, &["-p1", "-e", HELLO], [Member::file(name, "x")]);
            refused(&server, &hostile, "has a name that is not accepted");
        }
        still_serves(lab, &server);
    });
}

#[test]
fn links_devices_and_doubles_are_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        for (member, reason) in [
            (
                Member::symlink("script/link", "/etc/passwd"),
                "symbolic link",
            ),
            (Member::device("script/device"), "neither a regular file"),
            (Member::file("version", "5.1"), "the same name"),
        ] {
            refused(
                &server,
                &package(lab, &["-p1", "-e", HELLO], [member]),
                reason,
            );
        }
        still_serves(lab, &server);
    });
}

#[test]
fn a_directory_that_lies_about_sizes_is_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        let small = Member::file("script/x", vec![b'x'; 4096]).declared(10);
        refused(
            &server,
            &package(lab, &["-p1", "-e", HELLO], [small]),
            "member script/x",
        );
        let huge = Member::file("script/x", "x").declared(u32::MAX);
        refused(
            &server,
            &package(lab, &["-p1", "-e", HELLO], [huge]),
            "ncompressed request size of",
        );
        still_serves(lab, &server);
    });
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        let large =
            (0..100).map(|number| Member::file(format!("script/{number}"), "x").declared(1 << 20));
        let reason = "ncompressed request size of";
        refused(&server, &package(lab, &["-p1", "-e", HELLO], large), reason);
        refused(
            &server,
            &archive::bomb("script/x", 60 << 20),
            "a ratio of more than",
        );
        still_serves(lab, &server);
    });
}

#[test]
fn a_flood_of_members_is_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        let flood = (0..20_000).map(|number| Member::file(format!("script/{number}"), ""));
        refused(
            &server,
            &package(lab, &["-p1", "-e", HELLO], flood),
            "members",
        );
        still_serves(lab, &server);
    });
}

#[test]
fn an_incomplete_request_is_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        refused(
            &server,
            &archive::of(&[Member::file("argv1", "-p1")]),
            "sysinfo",
        );
        let gap = [
            sysinfo(lab),
            Member::file("argv1", "-p1"),
            Member::file("argv3", "x"),
        ];
        refused(&server, &archive::of(&gap), "argument 2 is missing");
        let garbled = [Member::file("sysinfo", "sysinfo: \u{1b}[2J/../ x86_64")];
        refused(&server, &archive::of(&garbled), "sysinfo is not accepted");
        still_serves(lab, &server);
    });
}

#[test]
fn an_unserved_kernel_is_refused_with_what_there_is() {
    lab::inside(|lab| {
        let server = server(lab);
        let release = lab.alice().run("uname", ["-r"]).out();
        let members = [
            Member::file("sysinfo", "sysinfo: 9.9.9 x86_64"),
            Member::file("argv1", "-p1"),
        ];
        let reply = peer::request(&server, &archive::of(&members));
        let said = String::from_utf8_lossy(&reply.stderr).into_owned();
        assert_eq!(reply.rc, 1);
        assert!(said.contains("does not build for 9.9.9 x86_64"), "{said}");
        assert!(
            said.contains(release.trim()),
            "the nearest is named: {said}"
        );
        still_serves(lab, &server);
    });
}

#[test]
fn options_that_are_the_servers_own_are_refused() {
    lab::inside(|lab| {
        let server = server(lab);
        for options in [
            &["--tmpdir=/tmp/x"][..],
            &["--sign-module=/etc"],
            &["--rlimit-as=1"],
            &["-R", "/tmp"],
            &["-B", "CONFIG_X=y"],
            &["--remote=somewhere"],
            &["-vR/tmp"],
            &["--client-options"],
        ] {
            let arguments: Vec<_> = options
                .iter()
                .copied()
                .chain(["-p1", "-e", HELLO])
                .collect();
            refused(&server, &package(lab, &arguments, []), "option");
        }
        refused(
            &server,
            &package(lab, &["-p1", "/etc/passwd"], []),
            "lies outside of the request",
        );
        refused(
            &server,
            &package(lab, &["-p1", "-I", "/etc", "-e", HELLO], []),
            "lies outside",
        );
        still_serves(lab, &server);
    });
}

#[test]
fn nothing_in_a_request_forges_a_line_of_the_log() {
    lab::inside(|lab| {
        let server = server(lab);
        let forged = "--tmpdir=x\nMon Jan  1 00:00:00 2026: [1-1] forged";
        refused(
            &server,
            &package(lab, &[forged, "-p1", "-e", HELLO], []),
            "option",
        );
        assert!(
            !server
                .said()
                .lines()
                .any(|line| line.starts_with("Mon Jan  1 00:00:00 2026"))
        );
        still_serves(lab, &server);
    });
}

#[test]
fn odd_versions_and_locales_are_survived() {
    lab::inside(|lab| {
        let server = server(lab);
        let odd = [
            "abc",
            "",
            "99.1",
            "1.0",
            "4.8",
            "-1",
            "999999999999999999999.1",
        ];
        for version in odd.into_iter().map(Some).chain([None]) {
            let mut members = vec![
                sysinfo(lab),
                Member::file("argv1", "-p1"),
                Member::file("argv2", format!("-e{HELLO}")),
                Member::file(
                    "locale",
                    "LANG=C\nLD_PRELOAD=/tmp/x.so\nLC_ALL=$(id)\nPATH=/tmp\n",
                ),
                // What only a client of tomorrow sends.
                Member::file("colour", "blue"),
                Member::file("colours/sky", "blue"),
            ];
            members.extend(version.map(|version| Member::file("version", version)));
            let reply = peer::request(&server, &archive::of(&members));
            let said = String::from_utf8_lossy(&reply.stderr).into_owned();
            assert_eq!(reply.rc, 0, "{version:?}: {said}");
            assert!(
                said.contains("locale LANG=C ") && !said.contains("colour"),
                "{said}"
            );
            // A number that the client knows; stock clients abort at anything that is none.
            let understood = ProtocolVersion::new(1, 6)..=ProtocolVersion::CURRENT;
            assert!(understood.contains(&reply.version), "{}", reply.version);
        }
        still_serves(lab, &server);
    });
}

#[test]
fn silence_plain_bytes_and_broken_connections_are_survived() {
    lab::inside(|lab| {
        let server = server(lab);
        let silent = std::net::TcpStream::connect(server.address()).unwrap();
        assert!(!peer::send_plain(&server, b"GET / HTTP/1.0\r\n\r\n").starts_with(b"HTTP"));
        drop(std::net::TcpStream::connect(server.address()).unwrap());
        still_serves(lab, &server);
        drop(silent);
    });
}
