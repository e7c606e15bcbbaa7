//! `stap-stop-server`.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{Finished, World};

/// For what a busy machine does at some time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process under another name, ended with the test.
struct Sleeper(Child);

impl Sleeper {
    /// The kernel shows the name of the file that was executed, a moment after it has let us go on.
    fn named(world: &World, name: &str) -> Self {
        let program = world.program(Path::new("/bin/sleep"), name);
        let child = Command::new(program)
            .arg("1000")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let shown = format!("/proc/{}/comm", child.id());
        let deadline = Instant::now() + PATIENCE;
        while fs::read_to_string(&shown).unwrap().trim_end() != name {
            assert!(Instant::now() < deadline, "it is never called {name}");
            thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn stop(world: &World, pid: &str) -> std::process::Output {
    // In a group of its own, so that a tool that signals its caller's group fails the test by
    // failing itself and not by ending the test.
    world
        .tool("stap-stop-server")
        .arg(pid)
        .process_group(0)
        .output()
        .unwrap()
}

#[test]
fn a_process_id_must_be_given() {
    let world = World::new();
    world
        .tool("stap-stop-server")
        .output()
        .unwrap()
        .assert_failed("Usage: ");
    world
        .tool("stap-stop-server")
        .arg("")
        .output()
        .unwrap()
        .assert_failed(" PROCESS_ID");
}

#[test]
fn what_is_no_process_id_stops_nothing() {
    let world = World::new();
    for text in [
        "abc",
        "0",
        "-1",
        "+1",
        "01",
        "99999999",
        "4294967297",
        " 1",
        "1 ",
    ] {
        stop(&world, text).assert_failed(&format!("{text} is not a systemtap server"));
    }
}

#[test]
fn a_process_with_another_name_is_left_alone() {
    let world = World::new();
    for name in ["sleep", "stap-serverd2", "stap-server", "x-stap-serverd"] {
        let mut other = Sleeper::named(&world, name);
        let pid = other.0.id().to_string();
        stop(&world, &pid).assert_failed("is not a systemtap server");
        assert_eq!(other.0.try_wait().unwrap(), None, "{name} was stopped");
    }
}

#[test]
fn a_server_gets_the_term_signal() {
    let world = World::new();
    let mut server = Sleeper::named(&world, "stap-serverd");
    let pid = server.0.id().to_string();

    let output = stop(&world, &pid);
    assert_eq!(
        (output.out() + &output.err(), output.code()),
        (String::new(), 0)
    );
    assert_eq!(server.0.wait().unwrap().signal(), Some(15));

    stop(&world, &pid).assert_failed("is not a systemtap server");
}

#[test]
fn a_server_that_has_ended_but_was_not_reaped_is_no_server() {
    let world = World::new();
    let mut server = Sleeper::named(&world, "stap-serverd");
    server.0.kill().unwrap();
    let pid = rustix::process::Pid::from_child(&server.0);
    // Waits for the end and leaves the zombie.
    let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();

    stop(&world, &pid.as_raw_nonzero().to_string()).assert_failed("is not a systemtap server");
}
