//! The network as others see it: avahi's daemon and its tools, where a test needs a foreign party.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::command::{Invocation, Running};
use crate::finished::Finished;
use crate::process;
use crate::wait;
use crate::world;

/// Programs that a test with a foreign party starts, and that end with it.
const DAEMONS: [&str; 3] = ["avahi-daemon", "dbus-daemon", "avahi-publish"];

/// A running avahi-daemon with its own message bus.
#[derive(Debug)]
pub struct Avahi {
    _private: (),
}

impl Avahi {
    /// Starts both and waits until the daemon answers.
    ///
    /// # Panics
    /// When they are not installed.
    #[must_use]
    pub fn start() -> Self {
        fs::create_dir_all("/run/dbus").expect("/run is ours");
        let bus = ["--system", "--fork", "--nopidfile"];
        tool("dbus-daemon", &bus).run().exits(0);
        let avahi = Self { _private: () };
        avahi.start_daemon();
        avahi
    }

    /// Stops the daemon and starts another one.
    pub fn restart(&self) {
        for daemon in process::named("avahi-daemon") {
            process::signal(daemon.pid, Signal::TERM);
        }
        wait::until_true("avahi-daemon has ended", || {
            process::named("avahi-daemon").is_empty()
        });
        self.start_daemon();
    }

    fn start_daemon(&self) {
        let options = [
            "--daemonize",
            "--no-rlimits",
            "--no-drop-root",
            "--no-chroot",
        ];
        tool("avahi-daemon", &options).run().exits(0);
        wait::until_true("avahi-daemon answers", || {
            tool("avahi-browse", &["--all", "--terminate"]).run().code() == Some(0)
        });
    }

    /// Publishes a compile server that does not exist, and waits until it is on the network.
    #[must_use]
    pub fn publish(&self, name: &str, port: u16, text: &str) -> Running {
        let port = port.to_string();
        let mut publisher = tool("avahi-publish", &["-s", name, "_stap._tcp", &port, text]).start();
        publisher.wait_for_stderr("Established");
        publisher
    }

    /// Lists compile servers as `avahi-browse` does, with addresses and texts.
    #[must_use]
    pub fn browse(&self) -> Finished {
        tool("avahi-browse", &["-rtp", "_stap._tcp"]).run()
    }
}

/// Ends what [`Avahi`] started.
pub(crate) fn stop_foreign_daemons() {
    for daemon in DAEMONS.into_iter().flat_map(process::named) {
        process::signal(daemon.pid, Signal::TERM);
    }
}

fn tool(program: &str, arguments: &[&str]) -> Invocation {
    assert!(
        world::PATH
            .split(':')
            .any(|directory| Path::new(directory).join(program).exists()),
        "{program} is not installed: run tests/run"
    );
    Invocation::new(program)
        .args(arguments)
        .env("PATH", world::PATH)
        .env("LC_ALL", "C")
}
