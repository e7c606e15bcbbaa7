//! The network as others see it: avahi's daemon and its tools, where a test needs a foreign party.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::command::{Invocation, Running};
use crate::finished::Finished;
use crate::host::Host;
use crate::lab::Lab;
use crate::process;
use crate::wait;
use crate::world;

/// Programs that a test with a foreign party starts, and that end with it.
const DAEMONS: [&str; 3] = ["avahi-daemon", "dbus-daemon", "avahi-publish"];

/// A running avahi-daemon with its own message bus.
#[derive(Debug)]
pub struct Avahi {
    host: Host,
}

impl Avahi {
    /// Starts both and waits until the daemon answers.
    ///
    /// # Panics
    /// When they are not installed.
    #[must_use]
    pub fn start(lab: &Lab) -> Self {
        Self::start_on(lab.first_host())
    }

    /// The same on a host of the lab.
    ///
    /// # Panics
    /// When they are not installed.
    #[must_use]
    pub fn start_on(host: Host) -> Self {
        fs::create_dir_all("/run/dbus").expect("/run is ours");
        let avahi = Self { host };
        avahi.start_bus();
        avahi.start_daemon();
        avahi
    }

    /// Stops the daemon and starts another one.
    pub fn restart(&self) {
        self.stop("avahi-daemon");
        self.start_daemon();
    }

    /// Stops the message bus, with which the daemon ends, and starts both anew.
    pub fn restart_bus(&self) {
        self.stop("dbus-daemon");
        self.stop("avahi-daemon");
        self.start_bus();
        self.start_daemon();
    }

    fn stop(&self, daemon: &str) {
        for running in self.host.processes(daemon) {
            process::signal(running.pid, Signal::TERM);
        }
        wait::until_true(&format!("{daemon} has ended"), || {
            self.host.processes(daemon).is_empty()
        });
    }

    fn start_bus(&self) {
        let bus = ["--system", "--fork", "--nopidfile"];
        self.tool("dbus-daemon", &bus).run().exits(0);
    }

    fn start_daemon(&self) {
        let options = [
            "--daemonize",
            "--no-rlimits",
            "--no-drop-root",
            "--no-chroot",
        ];
        self.tool("avahi-daemon", &options).run().exits(0);
        wait::until_true("avahi-daemon answers", || {
            let browse = self.tool("avahi-browse", &["--all", "--terminate"]);
            browse.run().code() == Some(0)
        });
    }

    /// Publishes a compile server that does not exist, and waits until it is on the network.
    #[must_use]
    pub fn publish(&self, name: &str, port: u16, text: &[&str]) -> Running {
        let port = port.to_string();
        let service = ["-s", name, "_stap._tcp", &port];
        let mut publisher = self.tool("avahi-publish", &service).args(text).start();
        publisher.wait_for_stderr("Established");
        publisher
    }

    /// Lists compile servers as `avahi-browse` does, with addresses and texts.
    #[must_use]
    pub fn browse(&self) -> Finished {
        self.tool("avahi-browse", &["-rtp", "_stap._tcp"]).run()
    }

    /// What [`Self::browse`] resolved and did not hear a goodbye of, sorted.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let seen = self.browse().out();
        let gone: Vec<&str> = seen
            .lines()
            .filter_map(|line| line.strip_prefix('-'))
            .collect();
        let is_there = |line: &&str| !gone.iter().any(|gone| line.starts_with(gone));
        let resolved = seen.lines().filter_map(|line| line.strip_prefix('='));
        let mut entries: Vec<_> = resolved.filter(is_there).map(Entry::parse).collect();
        entries.sort();
        entries
    }

    /// Whether it comes to know an address of one protocol of an instance's host by asking over another.
    #[must_use]
    pub fn resolves(&self, name: &str, over: Protocol, address: Protocol) -> bool {
        let everywhere = "int32:-1";
        let [over, address] = [over, address].map(|protocol| format!("int32:{}", protocol as i32));
        let call = [
            "--system",
            "--print-reply",
            "--dest=org.freedesktop.Avahi",
            "/",
        ];
        let resolve = self.tool("dbus-send", &call).args([
            "org.freedesktop.Avahi.Server.ResolveService",
            everywhere,
            &over,
            &format!("string:{name}"),
            "string:_stap._tcp",
            "string:local",
            &address,
            "uint32:0",
        ]);
        let resolved = resolve.run();
        let in_vain = resolved.err().contains("Timeout");
        assert!(in_vain || resolved.code() == Some(0), "{resolved}");
        !in_vain
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> Invocation {
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
            .on(self.host)
    }
}

/// By avahi's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IPv4.
    V4 = 0,
    /// IPv6.
    V6 = 1,
}

/// An instance as one host's avahi resolved it on one interface by one protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `lab0`, `lo`, ...
    pub interface: String,
    /// `IPv4` or `IPv6`.
    pub protocol: String,
    /// The instance's name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// One address of the host.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its strings in avahi's order, which is the reverse of the announced one.
    pub texts: Vec<String>,
}

impl Entry {
    /// Parses a line without the sign in front of it.
    ///
    /// # Panics
    /// When avahi-browse does not print such lines.
    fn parse(line: &str) -> Self {
        let mut fields = line
            .trim_start_matches(';')
            .splitn(9, ';')
            .map(str::to_owned);
        let mut next = || {
            fields
                .next()
                .unwrap_or_else(|| panic!("{line:?} has nine fields"))
        };
        let [interface, protocol, name] = [next(), next(), next().replace("\\032", " ")];
        let [kind, domain, host, address, port, texts] =
            [next(), next(), next(), next(), next(), next()];
        assert_eq!([&*kind, &*domain], ["_stap._tcp", "local"], "{line}");
        let texts = texts.trim_matches('"').split("\" \"").map(str::to_owned);
        Self {
            interface,
            protocol,
            name,
            host,
            address,
            port: port.parse().expect("a port is a number"),
            texts: texts.collect(),
        }
    }
}

/// Ends what [`Avahi`] started.
pub(crate) fn stop_foreign_daemons() {
    for daemon in DAEMONS.into_iter().flat_map(process::named) {
        process::signal(daemon.pid, Signal::TERM);
    }
}
