//! The hosts of a lab's network.
//!
//! The second one has a network stack, a name, a message bus and an mDNS daemon of its own. Its users,
//! their homes and everything else in the file system are those of the first, as at a site whose homes
//! are on a file server.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::command::Invocation;
use crate::interop::site::SITE;
use crate::lab::{Lab, User};
use crate::process::{self, Process};
use crate::wait;
use crate::world;

/// One host of the lab's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// What `uname -n` prints there.
    pub name: &'static str,
    /// Its address on the network.
    pub address: &'static str,
    /// Its interface on the network.
    pub interface: &'static str,
    /// A process that holds its namespaces, unless they are those of the lab itself.
    holder: Option<i32>,
}

/// Where the second host's own files are.
const SECOND: &str = "/run/lab/second";
/// Its namespaces, as options of both unshare and nsenter.
const NAMESPACES: [&str; 3] = ["--mount", "--net", "--uts"];
/// What holds them, in a word of its own among the lab's processes.
const HOLDER: &str = "sleep";
/// What its daemons must not share with those of the first.
const DAEMONS: [&str; 2] = ["/run/dbus", "/run/avahi-daemon"];

impl Lab {
    /// The host that everything is on unless a test says otherwise.
    #[must_use]
    pub fn first_host(&self) -> Host {
        Host {
            name: "labhost",
            address: world::ADDRESS,
            interface: "lab0",
            holder: None,
        }
    }

    /// Puts another host on the network. What is mounted later is not there.
    ///
    /// # Panics
    /// When the kernel refuses, or there is one already.
    #[must_use]
    pub fn second_host(&self) -> Host {
        let host = Host {
            name: "neighbour",
            address: "10.77.0.2",
            interface: "lab1",
            holder: Some(hold_namespaces()),
        };
        host.separate_daemons();
        host.join_network();
        host
    }
}

impl Host {
    /// A command of `user` on this host.
    #[must_use]
    pub fn command(&self, user: User, program: &str) -> Invocation {
        user.command(program).on(*self)
    }

    /// Runs `ip` there with words that hold no blanks.
    pub fn ip(&self, words: &str) {
        self.administer("ip", &words.split(' ').collect::<Vec<_>>());
    }

    /// Gives it another name, from the next program on.
    pub fn rename(&self, name: &str) {
        self.administer("hostname", &[name]);
    }

    /// Its processes of a name.
    #[must_use]
    pub fn processes(&self, name: &str) -> Vec<Process> {
        let own = process::network(self.holder);
        let is_here = |one: &Process| process::network(Some(one.pid)) == own;
        let all = process::named(name).into_iter();
        all.filter(is_here).collect()
    }

    /// What starts a program there as `user` in a directory: a program and arguments in front of it;
    /// `None` for the host that everything is on.
    pub(crate) fn entrance(&self, user: Option<u32>, directory: &Path) -> Option<Vec<OsString>> {
        let mut words: Vec<OsString> = vec!["nsenter".into()];
        words.push(format!("--target={}", self.holder?).into());
        words.extend(NAMESPACES.map(OsString::from));
        if let Some(id) = user {
            words.extend(["setgid", "setuid"].map(|name| format!("--{name}={id}").into()));
        }
        let mut directed = OsString::from("--wdns=");
        directed.push(directory);
        words.extend([directed, "--".into()]);
        Some(words)
    }

    /// Gives it a name, and daemons that can be found where programs look for them, stock ones included.
    fn separate_daemons(&self) {
        self.rename(self.name);
        for directory in DAEMONS {
            let own = format!("{SECOND}{directory}");
            for made in [&own, directory] {
                fs::create_dir_all(made).expect("/run is ours");
            }
            self.administer("mount", &["--bind", &own, directory]);
            let inside = format!("{SITE}{directory}");
            if Path::new(&inside).exists() {
                self.administer("mount", &["--bind", &own, &inside]);
            }
        }
        let hosts = format!("{SECOND}/hosts");
        let names = format!("127.0.0.1 localhost\n{} {}\n", self.address, self.name);
        fs::write(&hosts, names).expect("/run is ours");
        self.administer("mount", &["--bind", &hosts, "/etc/hosts"]);
    }

    fn join_network(&self) {
        let holder = self
            .holder
            .expect("the first host is on the network already");
        world::ip(&format!("link set {} netns {holder}", self.interface)).expect("root may");
        self.ip("link set lo up");
        self.ip(&format!(
            "addr add {}/24 dev {}",
            self.address, self.interface
        ));
        self.ip(&format!("link set {} up", self.interface));
    }

    fn administer(&self, program: &str, words: &[&str]) {
        let command = Invocation::new(program).args(words).on(*self);
        command.env("PATH", world::PATH).run().exits(0);
    }
}

/// Starts what holds the second host's namespaces, until [`remove_second`].
fn hold_namespaces() -> i32 {
    fs::create_dir(SECOND).expect("there are two hosts at most");
    let unshare = Invocation::new("unshare").args(NAMESPACES);
    let holder = unshare.args([HOLDER, "infinity"]);
    let pid = holder.env("PATH", world::PATH).start().pid();
    wait::until_true("the second host is there", || {
        Process::of(pid).is_some_and(|holder| holder.name == HOLDER)
    });
    fs::write(format!("{SECOND}/holder"), pid.to_string()).expect("/run is ours");
    pid
}

/// Takes the second host away, if there is one; what still runs there keeps its namespaces.
pub(crate) fn remove_second() {
    let holder = fs::read_to_string(format!("{SECOND}/holder")).ok();
    if let Some(pid) = holder.and_then(|pid| pid.parse().ok()) {
        process::signal(pid, Signal::TERM);
    }
}
