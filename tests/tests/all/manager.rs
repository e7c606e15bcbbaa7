//! `stap-server`, which manages several servers.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use stap_tests::finished::Finished;
use stap_tests::lab::{self, Lab, User};
use stap_tests::process::{self, Process};
use stap_tests::wait;

/// Where the servers of a user are recorded.
fn states(user: User) -> PathBuf {
    user.home().join(".systemtap/stap-server/run")
}

/// The process of the only server that a user has started.
fn only_server(user: User) -> i32 {
    let files = lab::list(&states(user));
    let mut pids = files
        .iter()
        .filter_map(|name| name.strip_suffix(".stat")?.parse().ok());
    let pid = pids.next().expect("a server was recorded");
    assert_eq!(pids.next(), None, "{files:?}");
    pid
}

fn manage(user: User, line: &str) -> Finished {
    user.run("stap-server", line.split_whitespace())
}

/// What every server of this user is like when nothing is said: this host's kernel and the user's log.
fn defaults(lab: &Lab) -> (String, String) {
    let word = |option| lab.alice().run("uname", [option]).out().trim().to_owned();
    (
        format!("-a {:?}", word("-m")),
        format!("-r {:?}", word("-r")),
    )
}

fn is_alive(pid: i32) -> bool {
    Process::of(pid).is_some_and(|process| process.is_alive() && process.name == "stap-serverd")
}

#[test]
fn a_server_is_started_watched_and_stopped_by_its_nickname() {
    lab::inside(|lab| {
        let alice = lab.alice();
        let (arch, release) = defaults(lab);
        let log = alice.home().join(".systemtap/stap-server/log");
        let quoted = format!("{arch} {release} -n \"web\" --log {log:?}");
        manage(alice, "start -n web")
            .exits(0)
            .prints(&format!("Starting stap-server {quoted}\nOK\n"))
            .says_nothing();
        let pid = only_server(alice);
        assert!(is_alive(pid));
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("Using network address"), "{said}");
        let running = format!("stap-server {quoted} running as PID {pid}\n");
        for line in ["status", "status -n web", &format!("status -p {pid}")] {
            manage(alice, line).exits(0).prints(&running).says_nothing();
        }
        // What runs already is not started a second time.
        manage(alice, "start -n web").exits(0);
        assert_eq!(only_server(alice), pid);
        manage(alice, "stop -n web")
            .exits(0)
            .prints(&format!("Stopping stap-server {quoted}\nOK\n"));
        assert!(!is_alive(pid), "stop waits for the end");
        manage(alice, "status")
            .exits(3)
            .prints("No managed stap-server is running\n");
        manage(alice, "stop").exits(0).prints_nothing();
    });
}

#[test]
fn a_restart_keeps_the_nickname_and_a_conditional_one_starts_nothing() {
    lab::inside(|lab| {
        let alice = lab.alice();
        for line in ["condrestart", "try-restart"] {
            manage(alice, line).exits(0).prints_nothing();
        }
        manage(alice, "start -n web").exits(0);
        let first = only_server(alice);
        for line in [
            "restart",
            "restart -n web",
            "condrestart",
            "force-reload -n web",
        ] {
            let before = only_server(alice);
            manage(alice, line).exits(0).says_nothing();
            let after = only_server(alice);
            assert!(
                after != before && !is_alive(before) && is_alive(after),
                "{line}"
            );
            manage(alice, "status -n web").exits(0);
        }
        assert!(!is_alive(first));
        manage(alice, "stop").exits(0);
    });
}

#[test]
fn what_cannot_be_stopped_is_not_started_a_second_time() {
    lab::inside(|lab| {
        let alice = lab.alice();
        manage(alice, "start -n web").exits(0);
        let pid = only_server(alice);
        process::signal(pid, Signal::STOP);
        let restarted = manage(alice, "restart -n web");
        restarted
            .exits(1)
            .says("it was told to end, and still runs 15 s later");
        assert!(!restarted.out().contains("Starting"), "{restarted}");
        assert_eq!(only_server(alice), pid);
        process::signal(pid, Signal::CONT);
        wait::until_true("the hung server ends", || !is_alive(pid));
        manage(alice, "restart -n web").exits(0);
        assert_ne!(only_server(alice), pid);
    });
}

#[test]
fn a_server_that_died_is_told_from_one_that_was_stopped() {
    lab::inside(|lab| {
        let alice = lab.alice();
        manage(alice, "start -n web").exits(0);
        let pid = only_server(alice);
        process::signal(pid, Signal::KILL);
        wait::until_true("it has died", || !is_alive(pid));
        let status = manage(alice, "status");
        status.exits(1);
        let line = format!("started as PID {pid} is no longer running\n");
        assert!(status.out().ends_with(&line), "{status}");
        manage(alice, "start -n web").exits(0);
        assert_ne!(only_server(alice), pid);
        manage(alice, "stop").exits(0);
        manage(alice, "status -n web")
            .exits(1)
            .says("No configuration found for the nickname 'web'");
    });
}

#[test]
fn another_process_with_a_recorded_number_is_left_alone() {
    lab::inside(|lab| {
        let alice = lab.alice();
        let other = lab.serve_with(alice, []);
        alice
            .run("mkdir", ["-p", ".systemtap/stap-server/run"])
            .exits(0);
        let state = format!(".systemtap/stap-server/run/{}.stat", other.pid);
        alice.write(state, "STARTED=1\nNICKNAME=web\n");
        manage(alice, "status").exits(1);
        manage(alice, "stop -n web").exits(0);
        assert!(
            other.is_alive(),
            "a server that was started in another way is stopped"
        );
    });
}

#[test]
fn all_that_is_configured_is_started_each_with_its_own() {
    lab::inside(|lab| {
        let alice = lab.alice();
        let place = ".systemtap/stap-server/conf.d";
        alice.run("mkdir", ["-p", place]).exits(0);
        let (_, release) = defaults(lab);
        let release = release
            .trim_start_matches("-r ")
            .trim_matches('"')
            .to_owned();
        alice.write(
            format!("{place}/one.conf"),
            format!("# the first\nNICKNAME=one\nRELEASE={release}\nMAXTHREADS=1\n"),
        );
        alice.write(
            format!("{place}/two.conf"),
            "NICKNAME=two\nPOLICY=personal\n",
        );
        manage(alice, "start").exits(0).says_nothing();
        let status = manage(alice, "status");
        status.exits(0);
        let said = status.out();
        assert_eq!(said.lines().count(), 2, "{status}");
        assert!(
            said.contains("-n \"one\"") && said.contains("--max-threads \"1\""),
            "{status}"
        );
        assert!(
            said.contains("-n \"two\"") && said.contains("--policy \"personal\""),
            "{status}"
        );
        // A copy that differs is another server, without the name.
        manage(alice, "start -n one --max-threads 2").exits(0);
        assert_eq!(
            manage(alice, "status").out().matches("-n \"one\"").count(),
            1
        );
        manage(alice, "stop").exits(0);
        assert_eq!(lab::store_files(&states(alice)), [""; 0]);

        alice.write(format!("{place}/two.conf"), "COLOR=red\n");
        let broken = alice.home().join(place).join("two.conf");
        manage(alice, "start").exits(1).says(&format!(
            "Invalid input, \"COLOR=red\", in {}",
            broken.display()
        ));
        lab::set_mode(&broken, 0o666);
        manage(alice, "start")
            .exits(1)
            .says("others can write to it");
    });
}

#[test]
fn nicknames_are_found_where_a_configuration_says_wherever_it_stands() {
    lab::inside(|lab| {
        let alice = lab.alice();
        let own = alice.home().join("states");
        let file = alice.write("global", format!("STAT_PATH={}\n", own.display()));
        let given = file.display();
        manage(alice, &format!("start -n web -c {given}")).exits(0);
        assert_eq!(lab::store_files(&own).len(), 1);
        manage(alice, &format!("status -n web -c {given}")).exits(0);
        manage(alice, "status").exits(3);
        manage(alice, &format!("stop -n web -c {given}")).exits(0);
    });
}

#[test]
fn what_cannot_be_done_has_its_documented_status() {
    lab::inside(|lab| {
        let alice = lab.alice();
        for line in ["", "usage", "dance"] {
            let help = manage(alice, line);
            help.exits(0).says_nothing();
            assert!(
                help.out().starts_with("Usage: stap-server ACTION"),
                "{help}"
            );
        }
        manage(alice, "start --bogus")
            .exits(2)
            .prints_nothing()
            .says("Error: Argument parse error: unknown option '--bogus'")
            .says("Usage: stap-server");
        manage(alice, "reload")
            .exits(3)
            .says("reload is not supported");
        manage(alice, "status -p 4194000")
            .exits(1)
            .says("No stap-server running as pid 4194000");
        manage(alice, "stop -n nobody")
            .exits(1)
            .says("No configuration found for the nickname 'nobody'");
        manage(alice, "status -c /nonexistent")
            .exits(1)
            .says("cannot be read");
        let failed = manage(alice, "start --policy /nonexistent");
        failed.exits(1).says("Unable to start a systemtap server");
        assert!(failed.out().ends_with("\nFAILED\n"), "{failed}");
        assert_eq!(
            lab::store_files(&states(alice)),
            [""; 0],
            "what failed is not recorded"
        );
    });
}

#[test]
fn root_starts_servers_as_the_service_and_never_as_root() {
    lab::inside(|lab| {
        let root = lab.root();
        manage(root, "start")
            .exits(1)
            .says("there is no account 'stap-server'");
        for name in ["root", "alice"] {
            manage(root, &format!("start -u {name}")).exits(1);
        }
        manage(root, "start -u root").says("a server does not run as root");
        manage(root, "start -u alice").says("'alice' is not in the group stap-server");
        manage(lab.alice(), "start -u bob")
            .exits(1)
            .says("only root can start a server as 'bob'");

        service_account();
        manage(root, "start -n service").exits(0);
        let entry = lab::store_files(Path::new("/var/run/stap-server"));
        let pid = entry[0].trim_end_matches(".stat").parse().unwrap();
        assert_eq!(
            Process::of(pid).and_then(|process| process.user()),
            Some(SERVICE)
        );
        assert!(Path::new("/var/log/stap-server/log").exists());
        // Anybody may look, and only who started it may stop it.
        let look = "-c /etc/global";
        fs::write("/etc/global", "STAT_PATH=/var/run/stap-server\n").unwrap();
        manage(lab.alice(), &format!("status {look}")).exits(0);
        manage(lab.alice(), &format!("stop {look}")).exits(1);
        assert!(is_alive(pid));
        manage(root, "stop").exits(0);
        assert!(!is_alive(pid));
    });
}

/// Adds what installing the package adds.
pub(crate) fn service_account() {
    for (file, line) in [
        (
            "/etc/passwd",
            format!("stap-server:x:{SERVICE}:{SERVICE}:service:{HOME}:/usr/sbin/nologin\n"),
        ),
        ("/etc/group", format!("stap-server:x:{SERVICE}:\n")),
    ] {
        let mut text = fs::read_to_string(file).unwrap();
        text.push_str(&line);
        fs::write(file, text).unwrap();
    }
    fs::create_dir_all(HOME).unwrap();
    chown(HOME, Some(SERVICE), Some(SERVICE)).unwrap();
}

pub(crate) const SERVICE: u32 = 12399;
const HOME: &str = "/var/lib/stap-server";
