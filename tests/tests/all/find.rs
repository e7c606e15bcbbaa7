//! `stap-find-servers` and `stap-find-or-start-server`: rows S2, S3, S14 to S23, S47, M1 to M3, X11.

use stap_tests::finished::Finished;
use stap_tests::lab::{self, User, set_mode};
use stap_tests::mdns::Avahi;
use stap_tests::process::{self, Process};
use stap_tests::server::parse_pid;
use stap_tests::wait;

/// What a foreign server for another kernel announces.
const INCOMPATIBLE: &str = "sysinfo=9.9.9 x86_64";

#[test]
fn s2_all_lists_the_server() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let found = lab.alice().run("stap-find-servers", ["--all"]);
        assert!(found.exits(0).out().lines().count() >= 1, "{found}");
    });
}

#[test]
fn s3_s19_find_or_start_prints_zero_for_a_running_server() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        for user in [lab.alice(), lab.bob()] {
            find_or_start(user, &[]).exits(0).prints("0\n");
        }
        let running: Vec<_> = process::named("stap-serverd")
            .iter()
            .map(|p| p.pid)
            .collect();
        assert_eq!(running, [server.pid], "no other server was started");
    });
}

#[test]
fn s14_servers_of_other_users_are_found() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let found = lab.bob().command("stap-find-servers").run();
        assert!(
            found.exits(0).out().contains(&format!(" {} ", server.port)),
            "{found}"
        );
    });
}

#[test]
fn s15_s16_each_line_has_four_fields_and_is_printed_once() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let found = lab.alice().command("stap-find-servers").run();
        found.exits(0).says_nothing();
        let mut lines: Vec<_> = found.out().lines().map(str::to_owned).collect();
        assert!(lines.iter().all(|line| is_server_line(line)), "{found}");
        let count = lines.len();
        lines.sort();
        lines.dedup();
        assert!(count >= 1 && lines.len() == count, "{found}");
    });
}

/// Whether a line is `HOST ADDRESS PORT 'sysinfo=TEXT'`.
fn is_server_line(line: &str) -> bool {
    let mut fields = line.splitn(4, ' ');
    let mut next = || fields.next().unwrap_or_default().to_owned();
    let (host, address, port, text) = (next(), next(), next(), next());
    let quoted = text
        .strip_prefix("'sysinfo=")
        .and_then(|rest| rest.strip_suffix('\''));
    !host.is_empty()
        && address.parse::<std::net::Ipv4Addr>().is_ok()
        && port.parse::<u16>().is_ok()
        && quoted.is_some_and(|value| !value.is_empty() && !value.contains('\''))
}

#[test]
fn s17a_an_empty_network_gives_one_and_prints_nothing() {
    lab::inside(|lab| {
        let search = lab.alice().command("stap-find-servers");
        search
            .deadline(lab::SEARCH_LIMIT)
            .run()
            .exits(1)
            .prints_nothing()
            .says_nothing();
    });
}

#[test]
fn s17b_no_network_gives_one_and_prints_nothing() {
    lab::inside(|lab| {
        lab.cut_network();
        lab.alice()
            .command("stap-find-servers")
            .run()
            .exits(1)
            .prints_nothing();
    });
}

#[test]
fn s18_an_incompatible_server_is_not_enough() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let _foreign = avahi.publish("x", 65001, &[INCOMPATIBLE]);
        let started = find_or_start(lab.alice(), &[]);
        assert_ne!(parse_pid(&started.exits(0).out()), 0);
    });
}

#[test]
fn s20_s21_find_or_start_starts_a_server_and_prints_its_pid() {
    lab::inside(|lab| {
        let pid = parse_pid(&find_or_start(lab.alice(), &[]).exits(0).out());
        assert_eq!(Process::of(pid).unwrap().name, "stap-serverd");
    });
}

#[test]
fn s22a_s23_no_network_prints_minus_one_and_gives_zero() {
    lab::inside(|lab| {
        lab.cut_network();
        find_or_start(lab.alice(), &[]).exits(0).prints("-1\n");
        assert_eq!(process::named("stap-serverd"), []);
    });
}

#[test]
fn s22b_s23_an_unwritable_home_prints_minus_one_and_gives_zero() {
    lab::inside(|lab| {
        set_mode(&lab.alice().home(), 0o500);
        find_or_start(lab.alice(), &[]).exits(0).prints("-1\n");
        assert_eq!(process::named("stap-serverd"), []);
    });
}

#[test]
fn s23_find_or_start_gives_zero_for_nonsense() {
    lab::inside(|lab| {
        find_or_start(lab.alice(), &["--bogus"]).exits(0);
    });
}

#[test]
fn s47_what_find_or_start_started_is_found() {
    lab::inside(|lab| {
        parse_pid(&find_or_start(lab.alice(), &[]).exits(0).out());
        wait::until_true("it is found", || {
            lab.alice().command("stap-find-servers").run().code() == Some(0)
        });
    });
}

#[test]
fn m1_m2_only_all_lists_incompatible_servers() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let _foreign = avahi.publish("x", 65001, &[INCOMPATIBLE]);
        let alice = lab.alice();
        let listed = |arguments: &[&str]| alice.run("stap-find-servers", arguments);
        wait::until_true("--all lists the foreign one", || {
            listed(&["--all"]).out().contains(" 65001 ")
        });
        listed(&[]).exits(1).prints_nothing();

        let server = lab.serve(alice);
        let default = listed(&[]).exits(0).out();
        assert!(default.contains(&format!(" {} ", server.port)), "{default}");
        assert!(!default.contains(" 65001 "), "{default}");
        wait::until_true("--all lists both", || {
            let all = listed(&["--all"]).out();
            all.contains(" 65001 ") && all.contains(&format!(" {} ", server.port))
        });
    });
}

#[test]
fn m3_other_options_of_find_servers_are_ignored() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let plain = lab.alice().command("stap-find-servers").run();
        let odd = lab
            .alice()
            .run("stap-find-servers", ["--bogus", "-x", "--help"]);
        odd.exits(0).prints(&plain.exits(0).out()).says_nothing();
    });
}

#[test]
fn x11_a_restart_of_the_avahi_daemon_changes_nothing() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let server = lab.serve(lab.alice());
        avahi.restart();
        let port = server.port.to_string();
        wait::until_true("our own tools find it", || {
            lab.alice()
                .command("stap-find-servers")
                .run()
                .out()
                .contains(&format!(" {port} "))
        });
        wait::until_true("so does avahi", || {
            avahi.browse().out().contains(&format!(";{port};"))
        });
    });
}

#[test]
fn nonsense_in_an_announcement_is_survived() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let alice = lab.alice();
        let release = alice.run("uname", ["-r"]).out();
        let arch = alice.run("uname", ["-m"]).out();
        let sysinfo = format!("sysinfo={} {}", release.trim(), arch.trim());
        // Each fits, so each is looked at; nobody is there.
        let odd: [&[&str]; 7] = [
            &["version=abc"],
            &["version="],
            &["version=-1", "version=5.6"],
            &["version=99999999999999999999.1", "certinfo="],
            &["version=\x1b[2J5.1", "certinfo=\"'\n"],
            &["certinfo=00:00", "certinfo=zz", "mok_info=\x07"],
            &["=", "x", "VERSION=9.9"],
        ];
        let mut published = Vec::new();
        for (port, texts) in (65001..).zip(odd) {
            let texts = [&[sysinfo.as_str()][..], texts].concat();
            published.push(avahi.publish(&format!("x{port}"), port, &texts));
        }
        let server = lab.serve(alice);
        let listed = || alice.client(["--list-servers=online"]);
        let found = || alice.command("stap-find-servers").run();
        for look in [&listed as &dyn Fn() -> Finished, &found] {
            let all = wait::until("the honest one is among them", || {
                let all = look();
                let text = all.out() + &all.err();
                text.contains(&server.port.to_string()).then_some(all)
            });
            let text = all.exits(0).out() + &all.err();
            assert!(!text.contains(['\x1b', '\x07']), "{all}");
        }
        let used = alice.client(["-p1", "-e", lab::HELLO]);
        used.exits(0).prints("# parse tree dump\n");
    });
}

fn find_or_start(user: User, arguments: &[&str]) -> Finished {
    user.run("stap-find-or-start-server", arguments)
}
