//! What a worker must find true of its groups in one situation.

use std::fs;
use std::io::BufRead as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use stap_policy::{Limits, Policy};
use stap_tests::trial::result;
use stap_tests::wait;
use stap_worker::cgroup::{CgroupError, Group, Hierarchy, Hit};

use crate::{ABANDON, own_program, victim};

/// One promise of the driver.
type Check = fn(&Trial) -> anyhow::Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("limits are in force", limits_are_in_force),
    ("memory is bounded", memory_is_bounded),
    ("processes are bounded", processes_are_bounded),
    ("processor time is bounded", processor_time_is_bounded),
    ("a breeding tree is killed", a_breeding_tree_is_killed),
    ("stopped processes are killed", stopped_processes_are_killed),
];

/// The driver at work.
struct Trial {
    hierarchy: Hierarchy,
    /// Where its groups are.
    base: PathBuf,
}

/// Runs every check as the worker and prints the results. `expected` is the group in which the
/// driver has to work, or empty when there is none.
#[expect(clippy::print_stdout, reason = "whoever started this reads it")]
pub(crate) fn run(expected: &str) -> anyhow::Result<ExitCode> {
    let results = if expected.is_empty() {
        vec![result("the driver refuses", refusal)]
    } else {
        all(Path::new(expected))
    };
    println!("{}", Value::from(results));
    Ok(ExitCode::SUCCESS)
}

fn all(expected: &Path) -> Vec<Value> {
    // First, as the driver at work changes what a trial has to put back.
    let mut results = vec![result("a trial changes nothing", || {
        a_trial_changes_nothing(expected)
    })];
    let trial = match Trial::start(expected) {
        Ok(trial) => trial,
        Err(error) => {
            results.push(result::<()>("the driver finds its group", || Err(error)));
            return results;
        }
    };
    results.push(result("the driver finds its group", || Ok(())));
    results.extend(
        CHECKS
            .iter()
            .map(|(name, check)| result(name, || check(&trial))),
    );
    results.push(result("nothing is left behind", || trial.end()));
    results.push(result("a dead worker's jobs are removed", || {
        swept(expected)
    }));
    results
}

fn a_trial_changes_nothing(expected: &Path) -> anyhow::Result<()> {
    let state = || -> anyhow::Result<_> {
        let mut groups = Vec::new();
        for entry in fs::read_dir(expected)? {
            groups.push(entry?.file_name());
        }
        groups.sort();
        let controllers = fs::read_to_string(expected.join("cgroup.subtree_control"))?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        Ok((groups, controllers, own))
    };
    let before = state()?;
    let hierarchy = Hierarchy::trial()?;
    hierarchy.rehearse(&limits(&[])?)?;
    ensure!(hierarchy.bounds_swap(), "swap is not bounded");
    let base = hierarchy.describe();
    let base = base.rsplit(' ').next().unwrap_or_default();
    ensure!(
        Path::new(base).parent() == Some(expected),
        "it was tried in {base}"
    );
    drop(hierarchy);
    let after = state()?;
    ensure!(after == before, "{before:?} became {after:?}");
    Ok(())
}

fn refusal() -> anyhow::Result<()> {
    match Hierarchy::claim() {
        Err(CgroupError::Unavailable(why)) => {
            ensure!(why.contains("Delegate=yes"), "it does not help: {why}");
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(hierarchy) => bail!("it uses {}", hierarchy.describe()),
    }
}

impl Trial {
    fn start(expected: &Path) -> anyhow::Result<Self> {
        let hierarchy = Hierarchy::claim()?;
        let described = hierarchy.describe();
        let (driver, base) = described
            .rsplit_once(" below ")
            .context("no base is named")?;
        ensure!(driver.starts_with("v2 "), "the driver is {driver}");
        let base = PathBuf::from(base);
        ensure!(
            base.parent() == Some(expected),
            "the base is {}",
            base.display()
        );
        Ok(Self { hierarchy, base })
    }

    /// Makes a group; its check removes it.
    fn group(&self, name: &str, changes: &[(&str, &str)]) -> anyhow::Result<Group> {
        Ok(self.hierarchy.create(name, &limits(changes)?)?)
    }

    fn end(self) -> anyhow::Result<()> {
        drop(self.hierarchy);
        ensure!(!self.base.exists(), "{} is left", self.base.display());
        Ok(())
    }
}

/// The limits of the default policy with other values for some keys.
fn limits(changes: &[(&str, &str)]) -> anyhow::Result<Limits> {
    let changed = |line: &str| {
        let key = line.split_whitespace().next();
        let change = changes.iter().find(|(name, _)| Some(*name) == key);
        change.map_or_else(
            || line.to_owned(),
            |(name, value)| format!("{name} = {value}"),
        )
    };
    let text: Vec<_> = stap_policy::builtin::SHARED_HOST
        .lines()
        .map(changed)
        .collect();
    Ok(*Policy::parse(&text.join("\n"))?.limits())
}

/// Starts a victim that is in the group before its first own instruction.
fn start_in(group: &Group, role: &str) -> anyhow::Result<Child> {
    let mut child = own_program()?
        .arg(role)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    group.enter(Pid::from_child(&child))?;
    drop(child.stdin.take());
    Ok(child)
}

/// One that does not end must not keep the other checks from being made.
fn end_of(mut child: Child) -> anyhow::Result<ExitStatus> {
    Ok(wait::until("the process ends", || {
        child.try_wait().transpose()
    })?)
}

fn was_killed(child: Child) -> anyhow::Result<()> {
    let status = end_of(child)?;
    let killed = status.signal() == Some(Signal::KILL.as_raw());
    ensure!(killed, "it ended otherwise: {status}");
    Ok(())
}

/// Kills what is in a group, reaps our own child, and removes the group.
fn finish(group: &Group, child: Child) -> anyhow::Result<()> {
    group.kill()?;
    was_killed(child)?;
    wait::until_true("the group is empty", || {
        matches!(group.is_empty(), Ok(true))
    });
    Ok(group.remove()?)
}

fn limits_are_in_force(trial: &Trial) -> anyhow::Result<()> {
    let changes = [
        ("memory", "\"48 MiB\""),
        ("processes", "33"),
        ("cpu-percent", "50"),
    ];
    let group = trial.group("limits", &changes)?;
    for (file, wanted) in [
        ("memory.max", "50331648"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("pids.max", "33"),
        ("cpu.max", "50000 100000"),
    ] {
        let found = fs::read_to_string(trial.base.join("limits").join(file))?;
        ensure!(found.trim() == wanted, "{file} is {found}");
    }
    group.remove()?;
    ensure!(!trial.base.join("limits").exists(), "the group is left");
    Ok(())
}

fn memory_is_bounded(trial: &Trial) -> anyhow::Result<()> {
    let group = trial.group("memory", &[("memory", "\"16 MiB\"")])?;
    let bystander = start_in(&group, victim::HOLD)?;
    ensure!(group.hit().is_none(), "a limit was hit by doing nothing");
    was_killed(start_in(&group, victim::EAT)?)?;
    // The job is lost as a whole.
    was_killed(bystander)?;
    ensure!(
        group.hit() == Some(Hit::Memory),
        "the hit is {:?}",
        group.hit()
    );
    let usage = group.usage();
    ensure!(usage.cpu > Duration::ZERO, "no processor time was counted");
    let peak = usage.peak_memory.context("no peak of memory")?;
    ensure!((1 << 20..=16 << 20).contains(&peak), "the peak is {peak}");
    Ok(group.remove()?)
}

fn processes_are_bounded(trial: &Trial) -> anyhow::Result<()> {
    let group = trial.group("processes", &[("processes", "8")])?;
    let bystander = start_in(&group, victim::HOLD)?;
    let status = end_of(start_in(&group, victim::FORK)?)?;
    ensure!(
        status.code() == Some(victim::REFUSED.into()),
        "it ended so: {status}"
    );
    ensure!(
        group.hit() == Some(Hit::Processes),
        "the hit is {:?}",
        group.hit()
    );
    finish(&group, bystander)
}

fn processor_time_is_bounded(trial: &Trial) -> anyhow::Result<()> {
    let group = trial.group("processor", &[("cpu-percent", "5")])?;
    let child = start_in(&group, victim::SPIN)?;
    let statistics = trial.base.join("processor/cpu.stat");
    wait::until_true("the group has to wait for its next period", || {
        let text = fs::read_to_string(&statistics).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        line.is_some_and(|count| count != "0")
    });
    finish(&group, child)
}

fn a_breeding_tree_is_killed(trial: &Trial) -> anyhow::Result<()> {
    let group = trial.group("breed", &[("processes", "24")])?;
    let child = start_in(&group, victim::BREED)?;
    wait::until_true("the tree fills its group", || {
        group.hit() == Some(Hit::Processes)
    });
    finish(&group, child)
}

fn stopped_processes_are_killed(trial: &Trial) -> anyhow::Result<()> {
    let group = trial.group("stopped", &[])?;
    let child = start_in(&group, victim::STOP)?;
    let state = format!("/proc/{}/stat", child.id());
    wait::until_true("the process stops", || {
        fs::read_to_string(&state).is_ok_and(|line| line.contains(") T "))
    });
    finish(&group, child)
}

/// A worker that dies leaves a job, and the next one removes it.
fn swept(expected: &Path) -> anyhow::Result<()> {
    let mut worker = own_program()?.arg(ABANDON).stdout(Stdio::piped()).spawn()?;
    let output = worker.stdout.take().context("its output is piped")?;
    let mut left = String::new();
    std::io::BufReader::new(output).read_line(&mut left)?;
    worker.kill()?;
    worker.wait()?;
    let left = PathBuf::from(left.trim_end());
    let job = fs::read_to_string(left.join("job/cgroup.procs"))?;
    ensure!(
        !job.is_empty(),
        "the dead worker has no job in {}",
        left.display()
    );
    let trial = Trial::start(expected)?;
    ensure!(!left.exists(), "{} is left", left.display());
    trial.end()
}

/// Starts a job, says where, and waits for a violent death.
#[expect(clippy::print_stdout, reason = "whoever started this reads it")]
pub(crate) fn abandon() -> anyhow::Result<ExitCode> {
    let hierarchy = Hierarchy::claim()?;
    let group = hierarchy.create("job", &limits(&[])?)?;
    let job = start_in(&group, victim::HOLD)?;
    let described = hierarchy.describe();
    println!(
        "{}",
        described.rsplit(' ').next().context("no base is named")?
    );
    let status = job.wait_with_output()?.status;
    bail!("the job ended first: {status}")
}
