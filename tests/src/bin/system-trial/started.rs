//! Servers that somebody starts by hand: an ordinary user with and without a delegated group, and
//! root.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use stap_tests::command::Invocation;
use stap_tests::lab::{HELLO, User};
use stap_tests::process::{self, Process};
use stap_tests::server::{Server, fresh_log, log_option};
use stap_tests::wait;
use stap_tests::world::{STANDINS, TOOLS};

use crate::Results;
use crate::machine::{self, ALICE, ROOT};
use crate::remains::Remains;
use crate::unit::{Group, MOUNT};

/// A way to start a server.
struct Situation {
    name: &'static str,
    user: User,
    /// What comes before the command line; nothing for a shell after a login.
    by: &'static [&'static str],
    /// Ours, on that command line.
    program: &'static str,
    expected: Expected,
}

/// Where its jobs have their groups.
enum Expected {
    /// Directly below a group with a name that ends so.
    Below(&'static str),
    /// Nowhere; what stands in for the group is named.
    Substitutes,
}

const SITUATIONS: &[Situation] = &[
    Situation {
        name: "a user, in a delegated scope",
        user: ALICE,
        by: &[
            "systemd-run",
            "--user",
            "--scope",
            "--quiet",
            "--unit=own",
            "-pDelegate=yes",
        ],
        program: "stap-serverd",
        expected: Expected::Below("/app.slice/own.scope"),
    },
    Situation {
        name: "a user, by stap-start-server in a delegated scope",
        user: ALICE,
        by: &[
            "systemd-run",
            "--user",
            "--scope",
            "--quiet",
            "--unit=begun",
            "-pDelegate=yes",
        ],
        program: "stap-start-server",
        expected: Expected::Below("/app.slice/begun.scope"),
    },
    Situation {
        name: "a user, in a delegated service of his own manager",
        user: ALICE,
        by: &[
            "systemd-run",
            "--user",
            "--pipe",
            "--wait",
            "--quiet",
            "--unit=own",
            "--collect",
            "-pDelegate=yes",
            "-pDelegateSubgroup=coordinator",
        ],
        program: "stap-serverd",
        expected: Expected::Below("/app.slice/own.service"),
    },
    Situation {
        name: "a user, who has logged in",
        user: ALICE,
        by: &[],
        program: "stap-serverd",
        expected: Expected::Substitutes,
    },
    Situation {
        name: "root, in a delegated unit",
        user: ROOT,
        by: &[
            "systemd-run",
            "--pipe",
            "--wait",
            "--quiet",
            "--unit=rooted",
            "--collect",
            "-pDelegate=yes",
        ],
        program: "stap-serverd",
        expected: Expected::Below("/system.slice/rooted.service"),
    },
    Situation {
        name: "root, in a unit that is not delegated",
        user: ROOT,
        by: &[
            "systemd-run",
            "--pipe",
            "--wait",
            "--quiet",
            "--unit=rooted",
            "--collect",
        ],
        program: "stap-serverd",
        expected: Expected::Below(""),
    },
];

/// Each situation is one check.
pub(crate) fn try_out(results: &mut Results) -> anyhow::Result<()> {
    machine::install()?;
    machine::configure()?;
    machine::run("loginctl", &["enable-linger", ALICE.name])?;
    let bus = PathBuf::from(RUNTIME).join("bus");
    wait::until_true("the manager of alice runs", || bus.exists());
    // Else the first who talks to the manager starts it, and its group looks like a remainder.
    let bus = ["--user", "start", "dbus.service"];
    let started = ALICE.command("systemctl").args(bus);
    let started = started.env("XDG_RUNTIME_DIR", RUNTIME).run();
    ensure!(started.code() == Some(0), "{started}");
    for situation in SITUATIONS {
        results.check(situation.name, || situation.attempt());
        end_all();
    }
    Ok(())
}

/// After a check that failed half-way the next one would find the wrong server.
fn end_all() {
    for server in process::named("stap-serverd") {
        process::signal(server.pid, Signal::KILL);
    }
    wait::until_true("no server runs", || {
        process::named("stap-serverd").is_empty()
    });
}

impl Situation {
    fn attempt(&self) -> anyhow::Result<String> {
        let before = Remains::now();
        let log = fresh_log(self.user);
        let runner = self.command(&log_option(&log))?.start();
        let server = Server::logging(0, log);
        let pid = wait::until("the server runs", || {
            let servers = process::named("stap-serverd");
            servers.first().map(|process| process.pid)
        });
        let server = Server { pid, ..server };
        let layer = server.logs("isolation: cgroup is");
        let base = self.expected.judge(&layer)?;
        if self.user.id == 0 {
            server.logs("isolation: slot-uid is enforced");
        }
        self.serves(&server)?;
        if base.is_some() {
            self.survives_a_hungry_job(&server)?;
        }
        self.lets_jobs_end(&server, base.as_ref())?;
        process::signal(server.pid, Signal::TERM);
        runner.finish();
        before.only()?;
        let (_, layer) = layer.split_once("isolation: ").context("a line of it")?;
        Ok(layer.to_owned())
    }

    /// A user who has logged in has a shell in a session; the others talk to a manager.
    fn command(&self, log: &str) -> anyhow::Result<Invocation> {
        let program = Path::new(TOOLS).join(self.program);
        let program = program.to_str().context("our own path")?;
        let setting = format!("SYSTEMTAP_STAP={STANDINS}/fakestap");
        let Some((first, more)) = self.by.split_first() else {
            let line = format!("exec env {setting} {program} {log}");
            let arguments = ["--login", self.user.name, "--command", &line];
            return Ok(ROOT.command("runuser").args(arguments));
        };
        let home = format!("HOME={}", self.user.home().display());
        let policy = format!("--policy={}", machine::POLICY);
        let manager = self.user.command(first).env("XDG_RUNTIME_DIR", RUNTIME);
        Ok(manager
            .args(more)
            .args(["--", "env", &home, &setting, program, log, &policy]))
    }

    fn serves(&self, server: &Server) -> anyhow::Result<()> {
        let at = format!("--server=localhost:{}", server.port);
        let client = self.user.client([&at, "-p4", "-e", HELLO]);
        ensure!(client.code() == Some(0), "{client}\n{}", server.said());
        std::fs::remove_file(self.user.home().join(client.out().trim_end()))?;
        Ok(())
    }

    /// systemd may end a unit in which the kernel had to end a process; a server's must not be one.
    fn survives_a_hungry_job(&self, server: &Server) -> anyhow::Result<()> {
        let at = format!("--server=localhost:{}", server.port);
        let hungry = [&at, "-p4", "-e", "probe begin { /* eat_memory */ }"];
        let client = self.user.client(hungry);
        let limit = format!("{} MiB", machine::MEMORY);
        ensure!(client.err().contains(&limit), "{client}\n{}", server.said());
        self.serves(server)
    }

    /// A job whose client goes away ends with all that it has.
    fn lets_jobs_end(&self, server: &Server, below: Option<&Group>) -> anyhow::Result<()> {
        let at = format!("--server=localhost:{}", server.port);
        let endless = [&at, "-p4", "-e", "probe begin { /* sleep_forever */ }"];
        let client = self.user.command("stap-client").args(endless).start();
        let job = wait::until("the job sleeps", || {
            process::named("sleep").first().cloned()
        });
        let group = Group::of(job.pid)?;
        if let Some(below) = below {
            ensure!(below.jobs().contains(&group), "the job is in {group:?}");
            ensure!(group.value("memory.max")? != "max", "memory has no limit");
        }
        let owner = job.user();
        let expected = if self.user.id == 0 {
            UID_BASE
        } else {
            self.user.id
        };
        ensure!(owner == Some(expected), "the job runs as {owner:?}");
        client.signal(Signal::TERM);
        client.finish();
        let ended = || !Process::of(job.pid).is_some_and(|process| process.is_alive());
        ensure!(wait::within_patience(ended), "the job lives on");
        if below.is_some() {
            ensure!(
                wait::within_patience(|| !group.exists()),
                "the group is left"
            );
        }
        Ok(())
    }
}

impl Expected {
    fn judge(&self, layer: &str) -> anyhow::Result<Option<Group>> {
        match self {
            Self::Below(name) => {
                let (_, base) = layer.rsplit_once(" below ").context(layer.to_owned())?;
                let base = PathBuf::from(base.trim());
                let parent = base.parent().context("a base is below something")?;
                let wanted = parent.to_string_lossy();
                let is_there = wanted.ends_with(name) && (!name.is_empty() || *wanted == *MOUNT);
                ensure!(is_there, "{layer}");
                Ok(Some(Group(parent.to_owned())))
            }
            Self::Substitutes => {
                for word in ["is absent", "Instead, each process", "-p Delegate=yes"] {
                    ensure!(layer.contains(word), "{word:?} is missing: {layer}");
                }
                Ok(None)
            }
        }
    }
}

/// Of alice's manager.
const RUNTIME: &str = "/run/user/12345";
/// Of the default policy.
const UID_BASE: u32 = 64000;
