//! `stap-start-server`: rows S1, S7 to S13, S46, S54 and S58.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use stap_tests::lab::{self, HELLO, Lab, mode, set_mode, store_files};
use stap_tests::mdns::Avahi;
use stap_tests::process::{self, Process};
use stap_tests::server::{Server, fresh_log, log_option, parse_pid};
use stap_tests::wait;

#[test]
fn s1_start_prints_one_number() {
    lab::inside(|lab| {
        let started = lab.alice().command("stap-start-server").run();
        started.exits(0).says_nothing();
        parse_pid(&started.out());
    });
}

#[test]
fn s7a_one_socket_listens_on_the_announced_port() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let sockets = lab.root().run("ss", ["-ltnpH"]).out();
        let mark = format!("pid={},", server.pid);
        let own: Vec<_> = sockets
            .lines()
            .filter(|line| line.contains(&mark))
            .collect();
        assert_eq!(own.len(), 1, "{sockets}");
        assert!(own[0].contains(&format!(":{} ", server.port)), "{sockets}");
    });
}

#[test]
fn s7b_the_port_speaks_tls_and_survives_plain_bytes() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let address = server.address();
        let shown = lab
            .alice()
            .run("openssl", ["s_client", "-connect", &address]);
        assert!(
            shown.out().contains("CN = Systemtap Compile Server"),
            "{shown}"
        );

        let mut plain = TcpStream::connect(&address).unwrap();
        plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        plain.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

        let option = format!("--server={address}");
        lab.alice()
            .client([&option, "-p1", "-e", HELLO])
            .exits(0)
            .prints("# parse tree dump\n");
    });
}

#[test]
fn s9a_the_pid_is_the_servers() {
    lab::inside(|lab| {
        let server = lab.serve_with(lab.alice(), []);
        assert_eq!(server.process().name, "stap-serverd");
    });
}

#[test]
fn s9b_each_start_makes_another_server() {
    lab::inside(|lab| {
        let first = lab.serve_with(lab.alice(), []);
        let second = lab.serve_with(lab.alice(), []);
        assert_ne!(first.pid, second.pid);
        assert!(first.is_alive() && second.is_alive());
    });
}

#[test]
fn s10_ports_are_random_and_differ() {
    lab::inside(|lab| {
        let servers: Vec<_> = (0..3).map(|_| lab.serve_with(lab.alice(), [])).collect();
        let mut ports: Vec<_> = servers.iter().map(|server| server.port).collect();
        let found = wait::until("all three are found", || {
            let found = lab.alice().run("stap-find-servers", ["--all"]).out();
            ports
                .iter()
                .all(|port| found.contains(&format!(" {port} ")))
                .then_some(found)
        });
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3, "{found}");
        assert!(ports.iter().all(|port| *port >= 1024), "{ports:?}");
    });
}

#[test]
fn s11a_avahi_sees_the_announcement() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let server = lab.serve(lab.alice());
        let release = lab.alice().run("uname", ["-r"]).out();
        let arch = lab.alice().run("uname", ["-m"]).out();
        let sysinfo = format!("\"sysinfo={} {}\"", release.trim(), arch.trim());
        let port = format!(";{};", server.port);
        wait::until_true("avahi-browse resolves the server", || {
            let seen = avahi.browse().out();
            seen.lines().any(|line| {
                line.starts_with('=') && line.contains(&port) && line.contains(&sysinfo)
            })
        });
    });
}

#[test]
fn s11b_a_stopped_server_is_announced_no_more() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let server = lab.serve(lab.alice());
        let port = format!(";{};", server.port);
        wait::until_true("avahi sees it", || avahi.browse().out().contains(&port));
        server.stop();
        wait::until_true("avahi sees it no more", || {
            !avahi.browse().out().contains(&port)
        });
    });
}

#[test]
fn s12a_start_prints_only_the_pid_of_a_running_process() {
    lab::inside(|lab| {
        let started = lab.alice().command("stap-start-server").run();
        let pid = parse_pid(&started.exits(0).out());
        assert!(Process::of(pid).is_some_and(|server| server.is_alive()));
    });
}

#[test]
fn s12b_a_client_works_at_once_after_the_start() {
    lab::inside(|lab| {
        let both = format!("stap-start-server >/dev/null && stap-client -p1 -e '{HELLO}'");
        lab.alice()
            .run("sh", ["-c", &both])
            .exits(0)
            .prints("# parse tree dump\n");
    });
}

#[test]
fn s12c_start_needs_no_terminal() {
    lab::inside(|lab| {
        let started = lab.alice().run("setsid", ["--wait", "stap-start-server"]);
        parse_pid(&started.exits(0).out());
    });
}

#[test]
fn s12d_the_server_survives_the_shell_that_started_it() {
    lab::inside(|lab| {
        let shell = lab
            .alice()
            .command("sh")
            .args(["-c", "stap-start-server; exit 0"]);
        let pid = parse_pid(&shell.own_group().run().exits(0).out());
        let server = Process::of(pid).unwrap();
        assert_eq!(server.parent, 1, "it was handed to the first process");
        lab.alice().client(["-p1", "-e", HELLO]).exits(0);
        assert!(server.is_alive());
    });
}

#[test]
fn s13a_an_unwritable_home_fails_the_start() {
    lab::inside(|lab| {
        set_mode(&lab.alice().home(), 0o500);
        fails_to_start(lab, &[]);
    });
}

#[test]
fn s13b_no_possible_announcement_fails_the_start() {
    lab::inside(|lab| {
        lab.cut_network();
        fails_to_start(lab, &[]);
    });
}

#[test]
fn s13c_a_busy_port_fails_the_start() {
    lab::inside(|lab| {
        let taken = TcpListener::bind("[::]:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        fails_to_start(lab, &[&format!("--port={port}")]);
    });
}

/// Asserts that nothing is printed, the reason is one line, and no server is left.
fn fails_to_start(lab: &Lab, arguments: &[&str]) {
    let started = lab.alice().run("stap-start-server", arguments);
    started
        .exits(1)
        .prints_nothing()
        .says("Unable to start a systemtap server: ");
    assert_eq!(process::named("stap-serverd"), []);
}

#[test]
fn s46_a_search_that_finds_nothing_leads_to_a_start() {
    lab::inside(|lab| {
        let either = lab
            .alice()
            .run("sh", ["-c", "stap-find-servers || stap-start-server"]);
        parse_pid(&either.exits(0).out());
        wait::until_true("it is found", || {
            lab.alice().command("stap-find-servers").run().code() == Some(0)
        });
    });
}

#[test]
fn s54_the_printed_pid_stops_the_server() {
    lab::inside(|lab| {
        for start in ["stap-start-server", "stap-find-or-start-server"] {
            let line = format!("stap-stop-server $({start})");
            lab.alice()
                .run("sh", ["-c", &line])
                .exits(0)
                .prints_nothing()
                .says_nothing();
            wait::until_true("it has ended", || process::named("stap-serverd").is_empty());
        }
    });
}

#[test]
fn s58_an_open_umask_opens_nothing() {
    lab::inside(|lab| modes_are_fixed_under(lab, "000"));
}

#[test]
fn s58_a_strict_umask_closes_nothing() {
    lab::inside(|lab| modes_are_fixed_under(lab, "077"));
}

fn modes_are_fixed_under(lab: &Lab, umask: &str) {
    let log = fresh_log(lab.alice());
    let line = format!("umask {umask}; exec stap-start-server {}", log_option(&log));
    let server = Server::started(&lab.alice().run("sh", ["-c", &line]), log);
    assert!(server.is_alive());
    assert_database_modes(lab);
}

/// Asserts the modes of both of alice's databases.
pub(crate) fn assert_database_modes(lab: &Lab) {
    let own = lab.alice().server_database();
    let trusted = lab.alice().client_database();
    for (path, expected) in [
        (own.clone(), 0o755),
        (own.join("stap.cert"), 0o644),
        (own.join("stap.key"), 0o600),
        (trusted.clone(), 0o755),
    ] {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    for name in store_files(&trusted) {
        assert_eq!(mode(&trusted.join(&name)), 0o644, "{name}");
    }
}
