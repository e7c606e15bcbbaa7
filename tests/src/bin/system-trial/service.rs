//! The unit that `deploy/install` installs, under a real systemd.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use stap_tests::command::Running;
use stap_tests::lab::HELLO;
use stap_tests::process::{self, Process};
use stap_tests::wait;

use crate::Results;
use crate::machine::{self, ACCOUNT, ALICE, BOB, CERTIFICATE, MEMORY};
use crate::remains::Remains;
use crate::unit::{Group, Unit};

/// What takes about a minute: that the unit works at all.
pub(crate) fn short(results: &mut Results) -> anyhow::Result<()> {
    let before = start(results)?;
    results.check("nothing is left after a stop", || stops_cleanly(&before));
    Ok(())
}

/// Everything.
pub(crate) fn full(results: &mut Results) -> anyhow::Result<()> {
    let before = start(results)?;
    results.check("a limit of memory ends the job and not the service", memory);
    results.check("a restart ends jobs and serves again", restart);
    results.check("a killed server is started anew and leaves nothing", || {
        killed("stap-serverd")
    });
    results.check("a killed worker is started anew and leaves nothing", || {
        killed("stap-worker")
    });
    results.check("systemd's own judgement", exposure);
    results.check("nothing is left after a stop", || stops_cleanly(&before));
    results.check("nothing but what it says is left by --uninstall", uninstall);
    Ok(())
}

fn start(results: &mut Results) -> anyhow::Result<Remains> {
    machine::install()?;
    machine::configure()?;
    let before = Remains::now();
    results.check("the unit is enabled and active", enable);
    results.check(
        "it runs as its account, in the subgroup, without any privilege",
        identity,
    );
    results.check("it sees the kernels of this host", kernels);
    results.check("every layer is in force", layers);
    results.check("another user finds it", found);
    results.check("another user's request is served", served);
    results.check("a job has a limited group below the unit", limited);
    Ok(before)
}

const UNIT: Unit = Unit("stap-server.service");

fn enable() -> anyhow::Result<()> {
    UNIT.control("enable")?;
    UNIT.control("start")?;
    UNIT.logs("Using network address");
    for (property, wanted) in [
        ("ActiveState", "active"),
        ("UnitFileState", "enabled"),
        ("Delegate", "yes"),
        ("NRestarts", "0"),
    ] {
        let found = UNIT.property(property)?;
        ensure!(found == wanted, "{property} is {found}");
    }
    Ok(())
}

fn identity() -> anyhow::Result<()> {
    let main = Process::of(UNIT.main_pid()?).context("it has ended")?;
    ensure!(main.name == "stap-serverd", "it is {}", main.name);
    let status = fs::read_to_string(format!("/proc/{}/status", main.pid))?;
    for wanted in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"] {
        ensure!(status.contains(wanted), "{wanted} is not in: {status}");
    }
    let id = machine::run("id", &["-u", ACCOUNT])?;
    let workers = process::named("stap-worker");
    ensure!(workers.len() == 1, "{workers:?}");
    for process in [&main, &workers[0]] {
        ensure!(
            process.user().map(|user| user.to_string()).as_deref() == Some(id.trim()),
            "{} runs as {:?}",
            process.name,
            process.user()
        );
        let group = Group::of(process.pid)?;
        ensure!(
            group == Group(UNIT.group().0.join("coordinator")),
            "{} is in {group:?}",
            process.name
        );
    }
    Ok(())
}

/// Targets are found there, and systemd has options that hide them.
fn kernels() -> anyhow::Result<()> {
    let own = stap_tests::lab::list(Path::new(MODULES));
    ensure!(!own.is_empty(), "this host has no kernel");
    let seen = format!("/proc/{}/root{MODULES}", UNIT.main_pid()?);
    let seen = stap_tests::lab::list(Path::new(&seen));
    ensure!(seen == own, "it sees {seen:?} of {own:?}");
    Ok(())
}

/// The layer that an ordinary user's server has no use for is the only exception.
fn layers() -> anyhow::Result<String> {
    UNIT.logs("isolation: seccomp is");
    let log = UNIT.log()?;
    let lines = || {
        log.lines()
            .filter_map(|line| line.split_once("isolation: "))
    };
    let absent: Vec<_> = lines()
        .filter(|(_, line)| !line.contains(" is enforced"))
        .filter(|(_, line)| !line.starts_with("slot-uid "))
        .collect();
    ensure!(absent.is_empty(), "{absent:#?}");
    let names = lines().filter_map(|(_, line)| line.split(' ').next());
    let names: Vec<_> = names.collect();
    ensure!(names.len() == LAYERS, "these are told: {names:?}");
    let (_, cgroup) = UNIT
        .logs("isolation: cgroup is enforced")
        .split_once(" is ")
        .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        .context("a line has a verb")?;
    ensure!(
        cgroup.contains(&UNIT.group().0.display().to_string()),
        "{cgroup}"
    );
    Ok(cgroup)
}

pub(crate) fn found() -> anyhow::Result<()> {
    let release = rustix::system::uname();
    let release = release.release().to_str()?.to_owned();
    let found = || BOB.run("stap-find-servers", ["--all"]).out();
    ensure!(
        wait::within_patience(|| found().contains(&release)),
        "found is: {}",
        found()
    );
    Ok(())
}

pub(crate) fn served() -> anyhow::Result<()> {
    ALICE
        .run("stap-authorize-server-cert", [CERTIFICATE])
        .exits(0);
    serves()
}

/// Has a module made for alice, who names no server.
pub(crate) fn serves() -> anyhow::Result<()> {
    let client = ALICE.client(["-p4", "-e", HELLO]);
    let module = client.out();
    ensure!(client.code() == Some(0), "{client}");
    let module = ALICE.home().join(module.trim_end());
    let bytes = fs::read(&module).with_context(|| format!("{client}"))?;
    ensure!(bytes.starts_with(b"\x7fELF"), "{client}");
    Ok(fs::remove_file(module)?)
}

/// A job that does not end, once it is in its group.
fn job() -> anyhow::Result<(Running, Group)> {
    let arguments = ["-p4", "-e", "probe begin { /* sleep_forever */ }"];
    let client = ALICE.command("stap-client").args(arguments).start();
    let group = wait::until("the job is in its group", || {
        let sleeps = |group: &Group| {
            let names = group.processes().into_iter().filter_map(Process::of);
            names.into_iter().any(|process| process.name == "sleep")
        };
        UNIT.group().jobs().into_iter().find(sleeps)
    });
    Ok((client, group))
}

fn limited() -> anyhow::Result<()> {
    let (client, group) = job()?;
    for (file, wanted) in [
        ("memory.max", (MEMORY << 20).to_string()),
        ("memory.swap.max", "0".to_owned()),
        ("memory.oom.group", "1".to_owned()),
        ("pids.max", "128".to_owned()),
        ("cpu.max", "200000 100000".to_owned()),
    ] {
        // A kernel without swap has no such file.
        let found = group.value(file);
        if file == "memory.swap.max" && found.is_err() {
            continue;
        }
        let found = found?;
        ensure!(found == wanted, "{file} is {found}");
    }
    client.signal(Signal::TERM);
    client.finish();
    ensure!(
        wait::within_patience(|| !group.exists()),
        "the group of a client that has gone is left"
    );
    Ok(())
}

fn memory() -> anyhow::Result<String> {
    let arguments = ["-p4", "-e", "probe begin { /* eat_memory */ }"];
    let client = ALICE.client(arguments);
    let said = client.err();
    let line = said.lines().find(|line| line.contains("memory"));
    let line = line.with_context(|| format!("nobody names the limit: {client}"))?;
    ensure!(client.code() == Some(1), "{client}");
    ensure!(line.contains(&format!("{MEMORY} MiB")), "{line}");
    ensure!(UNIT.property("NRestarts")? == "0", "the service was hit");
    serves()?;
    Ok(line.to_owned())
}

fn restart() -> anyhow::Result<()> {
    let old = UNIT.main_pid()?;
    let (client, group) = job()?;
    let members = group.processes();
    UNIT.control("restart")?;
    client.finish().exits(1);
    gone(&members)?;
    ensure!(Process::of(old).is_none(), "the old server runs");
    alone()?;
    found()?;
    serves()
}

/// One of its processes dies while a job runs.
fn killed(name: &str) -> anyhow::Result<()> {
    let restarts = || UNIT.property("NRestarts").unwrap_or_default();
    let before = restarts();
    let (client, group) = job()?;
    let members = group.processes();
    let victims = process::named(name);
    ensure!(victims.len() == 1, "{victims:?}");
    process::signal(victims[0].pid, Signal::KILL);
    client.finish().exits(1);
    gone(&members)?;
    ensure!(
        wait::within_patience(|| restarts() != before),
        "systemd has not started it anew: {}",
        UNIT.log()?
    );
    UNIT.logs("Using network address");
    alone()?;
    found()?;
    serves()
}

fn gone(members: &[i32]) -> anyhow::Result<()> {
    let alive = |pid: &&i32| Process::of(**pid).is_some_and(|process| process.is_alive());
    let end = wait::within_patience(|| !members.iter().any(|pid| alive(&pid)));
    ensure!(end, "of {members:?} some are alive");
    Ok(())
}

/// The unit has one worker with one base, and no job.
fn alone() -> anyhow::Result<()> {
    UNIT.logs("isolation: cgroup is enforced");
    let one = || UNIT.group().bases().len() == 1 && UNIT.group().jobs().is_empty();
    ensure!(
        wait::within_patience(one),
        "these are left: {:?} {:?}",
        UNIT.group().bases(),
        UNIT.group().jobs()
    );
    Ok(())
}

/// Not a promise to anybody, but a figure that must not become worse unseen.
fn exposure() -> anyhow::Result<String> {
    let judged = machine::run("systemd-analyze", &["security", "--no-pager", UNIT.0])?;
    let line = judged.lines().find(|line| line.contains("exposure level"));
    let line = line.context("there is no figure")?;
    let figure = line
        .rsplit(": ")
        .next()
        .and_then(|text| text.split(' ').next());
    let figure: f32 = figure
        .unwrap_or_default()
        .parse()
        .context(line.to_owned())?;
    ensure!(figure <= EXPOSURE, "{line}");
    Ok(line
        .trim_start_matches(|c: char| !c.is_alphabetic())
        .to_owned())
}

fn stops_cleanly(before: &Remains) -> anyhow::Result<()> {
    let (client, _) = job()?;
    UNIT.control("stop")?;
    client.finish().exits(1);
    for (property, wanted) in [("ActiveState", "inactive"), ("Result", "success")] {
        let found = UNIT.property(property)?;
        ensure!(found == wanted, "{property} is {found}");
    }
    let listed = BOB.run("stap-find-servers", ["--all"]).out();
    ensure!(listed.is_empty(), "it is still announced: {listed}");
    before.only()
}

fn uninstall() -> anyhow::Result<()> {
    UNIT.control("disable")?;
    let installer = machine::payload("deploy/install");
    let installer = installer.to_str().context("our own path")?;
    machine::run(installer, &["--uninstall"])?;
    for directory in [
        "bin",
        "lib/stap-server",
        "share/stap-server",
        "lib/systemd/system",
    ] {
        let left = stap_tests::lab::list(&Path::new("/usr/local").join(directory));
        let left: Vec<_> = left
            .iter()
            .filter(|name| name.starts_with("stap-"))
            .collect();
        ensure!(left.is_empty(), "{directory} still has {left:?}");
    }
    ensure!(Path::new(CERTIFICATE).exists(), "the certificate is lost");
    machine::run("id", &["-u", ACCOUNT])?;
    Ok(())
}

/// Where the kernels of a host are.
const MODULES: &str = "/usr/lib/modules";
/// All layers of the jail and the control group.
const LAYERS: usize = 15;
/// What systemd says of the unit; see the operator's manual.
const EXPOSURE: f32 = 3.5;
