//! `stap-start-server` and `stap-find-or-start-server`, with a stand-in for `stap-serverd`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{Finished, World, binary};

/// Puts the tool and a `stap-serverd` side by side, as they are installed, and runs the tool.
fn start(world: &World, tool: &str, server: &str, words: &[&str]) -> Output {
    let own = world.program(&binary(tool), tool);
    world.script("stap-serverd", server);
    world.command(&own).args(words).output().unwrap()
}

/// Says that it is ready and notes what it is.
const READY: &str = r#"
    exec >&2
    printf '%s\n' "$@" > "$HOME/arguments"
    readlink /proc/$$/fd/0 > "$HOME/stdin"
    pwd > "$HOME/cwd"; umask > "$HOME/umask"
    cut -d' ' -f6 /proc/$$/stat > "$HOME/session"
    echo "stap-serverd: WARNING: something"
    echo ready 4711 >&3
    exec 3>&-
    exec sleep 1000
"#;

fn noted(world: &World, name: &str) -> String {
    fs::read_to_string(world.path("home").join(name))
        .unwrap()
        .trim_end()
        .to_owned()
}

fn end(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_server_whose_pid_cannot_be_printed_is_stopped_again() {
    let world = World::new();
    let own = world.program(&binary("stap-start-server"), "stap-start-server");
    world.script("stap-serverd", &format!("echo $$ > \"$HOME/pid\"\n{READY}"));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = world.command(&own).stdout(full).output().unwrap();
    output.assert_failed("its process id cannot be written");
    let process = format!("/proc/{}/cmdline", noted(&world, "pid"));
    let deadline = Instant::now() + Duration::from_secs(30);
    // What has ended has no command line, also when nobody has waited for it.
    while !fs::read(&process).unwrap_or_default().is_empty() {
        assert!(Instant::now() < deadline, "the server goes on");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_pid_of_a_detached_server_is_printed_when_it_is_ready() {
    let world = World::new();
    let output = start(&world, "stap-start-server", READY, &["--port", "7", "a b"]);

    let pid = output.out();
    end(&pid);
    assert!(pid.ends_with('\n') && pid.trim_end().bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(output.code(), 0);
    assert_eq!(output.err(), "stap-serverd: WARNING: something\n");
    assert_eq!(noted(&world, "arguments"), "--ready-fd=3\n--port\n7\na b");
    assert_eq!(
        noted(&world, "session"),
        pid.trim_end(),
        "it leads a session of its own"
    );
    let caller = world.path("cwd").canonicalize().unwrap();
    assert_eq!(
        Path::new(&noted(&world, "cwd")),
        caller,
        "relative names mean what they say"
    );
    assert_eq!(noted(&world, "stdin"), "/dev/null");
    assert_eq!(noted(&world, "umask"), "0022");
}

#[test]
fn a_server_that_refuses_says_why_and_is_gone() {
    let world = World::new();
    let refuse = "echo $$ > $HOME/pid; echo failed the port is busy >&3; sleep 1000";
    let output = start(&world, "stap-start-server", refuse, &[]);
    output.assert_failed("Unable to start a systemtap server: the port is busy\n");
    assert!(!PathBuf::from(format!("/proc/{}/exe", noted(&world, "pid"))).exists());
}

#[test]
fn a_server_that_dies_early_is_not_started() {
    let world = World::new();
    let output = start(&world, "stap-start-server", "exit 3", &[]);
    output.assert_failed("Unable to start a systemtap server: stap-serverd did not start");
}

#[test]
fn without_the_program_there_is_no_server() {
    let world = World::new();
    let own = world.program(&binary("stap-start-server"), "stap-start-server");
    let output = world
        .command(&own)
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    output.assert_failed("Unable to start a systemtap server: stap-serverd did not start");
}

#[test]
fn find_or_start_prints_the_pid_or_minus_one_and_always_succeeds() {
    let world = World::new();
    let tool = "stap-find-or-start-server";
    // A release that nobody announces cannot be chosen here: what is found is this host's.
    let started = start(&world, tool, READY, &[]);
    if started.out() != "0\n" {
        end(&started.out());
    }
    assert_eq!(started.code(), 0);

    let failed = start(&world, tool, "echo failed no reason >&3", &["--bogus"]);
    assert!(
        matches!(failed.out().as_str(), "-1\n" | "0\n"),
        "{}",
        failed.out()
    );
    assert_eq!(failed.code(), 0);
}
