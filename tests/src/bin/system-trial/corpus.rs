//! The hostile corpus, in each place where a server may find itself.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use stap_tests::command::Invocation;
use stap_tests::corpus::groups;
use stap_tests::wait;
use stap_tests::world::PATH;

use crate::machine;
use crate::remains::Remains;
use crate::unit::Group;
use crate::{HAND_OVER, Results};

/// One place.
struct Situation {
    name: &'static str,
    who: &'static str,
    /// Of the unit in which everything runs.
    properties: &'static [&'static str],
    /// Whether the unit's groups are given to the ordinary user, as systemd does for `User=`.
    is_handed_over: bool,
}

const SITUATIONS: &[Situation] = &[
    Situation {
        name: "the corpus against a server of root's in a delegated unit",
        who: "root",
        properties: &["-pDelegate=yes", "-pDelegateSubgroup=corpus"],
        is_handed_over: false,
    },
    Situation {
        name: "the corpus against a user's server in a delegated unit",
        who: "delegated",
        properties: &["-pDelegate=yes", "-pDelegateSubgroup=corpus"],
        is_handed_over: true,
    },
    Situation {
        name: "the corpus against a user's server without a group of its own",
        who: "user",
        properties: &[],
        is_handed_over: false,
    },
];

/// Each situation is one check.
pub(crate) fn try_out(results: &mut Results) -> anyhow::Result<()> {
    machine::install()?;
    for situation in SITUATIONS {
        results.check(situation.name, || situation.attempt());
    }
    Ok(())
}

impl Situation {
    /// The corpus compares the machine before and after by itself; that must hold from outside of its
    /// unit too.
    fn attempt(&self) -> anyhow::Result<String> {
        let before = Remains::now();
        let programs = machine::payload("programs");
        let own = std::env::current_exe()?;
        let mut run = Invocation::new("systemd-run")
            .args(["--wait", "--pipe", "--quiet", "--collect", "--unit=corpus"])
            .args(self.properties)
            .args(["--setenv", &format!("PATH={PATH}")])
            .args([
                "--setenv",
                &format!("{}={}", wait::SLOWNESS, wait::slowness()),
            ])
            .arg("--");
        if self.is_handed_over {
            run = run.arg(own).arg(HAND_OVER);
        }
        let run = run
            .arg(programs.join("hostile-corpus"))
            .args(["--here", "--as", self.who])
            .args(FAMILIES)
            .arg("--programs")
            .arg(&programs)
            .env("PATH", PATH)
            .deadline(DEADLINE);
        let finished = run.run();
        let said = finished.out();
        let bad = |line: &&str| line.starts_with("ESCAPED") || line.starts_with("BROKEN");
        let bad: Vec<_> = said.lines().filter(bad).collect();
        ensure!(bad.is_empty(), "{bad:#?}\n{}", finished.err());
        ensure!(finished.code() == Some(0), "{finished}");
        before.only()?;
        let score = said.lines().last().context("it says nothing")?;
        Ok(score.to_owned())
    }
}

/// Gives the group of this process and the one above it to the ordinary user that the corpus takes in
/// this process, and becomes it.
pub(crate) fn hand_over(command: &[String]) -> anyhow::Result<ExitCode> {
    let own = Group::of(i32::try_from(std::process::id())?)?;
    let unit = own.0.parent().context("it is in a unit")?;
    let user = Some(groups::ordinary_uid()?);
    for group in [unit, &own.0] {
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            let path = group.join(file);
            chown(&path, user, user).with_context(|| path.display().to_string())?;
        }
    }
    let (program, arguments) = command.split_first().context("which command?")?;
    let error = Command::new(program).args(arguments).exec();
    bail!("starting {program}: {error}")
}

/// Those that are about the kernel and systemd; the others are about our own code and are the same
/// on every host.
const FAMILIES: &[&str] = &["--only", "code", "--only", "limits", "--only", "leftovers"];
/// On a real machine.
const DEADLINE: Duration = Duration::from_secs(300);
