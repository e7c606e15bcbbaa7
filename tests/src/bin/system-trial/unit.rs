//! A unit of systemd, as its operator sees it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use stap_tests::wait;

use crate::machine::run;

/// A unit of the system's manager.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit(pub(crate) &'static str);

impl Unit {
    pub(crate) fn control(self, verb: &str) -> anyhow::Result<()> {
        run("systemctl", &[verb, self.0])?;
        Ok(())
    }

    pub(crate) fn property(self, name: &str) -> anyhow::Result<String> {
        let shown = run("systemctl", &["show", "--value", "-p", name, self.0])?;
        Ok(shown.trim().to_owned())
    }

    pub(crate) fn main_pid(self) -> anyhow::Result<i32> {
        self.property("MainPID")?.parse().context("no pid")
    }

    /// What it has logged since its last start.
    pub(crate) fn log(self) -> anyhow::Result<String> {
        let invocation = self.property("InvocationID")?;
        let this_start = format!("_SYSTEMD_INVOCATION_ID={invocation}");
        run("journalctl", &["--no-pager", "-o", "cat", &this_start])
    }

    /// Waits until it has logged a text since its last start, and returns the line.
    ///
    /// # Panics
    /// When it does not, with what it has logged instead.
    pub(crate) fn logs(self, text: &str) -> String {
        let mut found = None;
        let mut log = String::new();
        let says = || {
            log = self.log().unwrap_or_default();
            found = log
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            found.is_some()
        };
        if !wait::within_patience(says) {
            panic!("{} never logs {text:?} but:\n{log}", self.0);
        }
        found.expect("it was just found")
    }

    /// Its part of the tree.
    pub(crate) fn group(self) -> Group {
        Group(Path::new(MOUNT).join(format!("system.slice/{}", self.0)))
    }
}

/// A control group that is looked at from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group(pub(crate) PathBuf);

impl Group {
    /// That of a process.
    pub(crate) fn of(pid: i32) -> anyhow::Result<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path = line.trim_end().strip_prefix("0::/");
        let path = path.with_context(|| format!("{line:?} is not of the unified hierarchy"))?;
        Ok(Self(Path::new(MOUNT).join(path)))
    }

    /// Whether somebody made it and did not remove it.
    pub(crate) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// A value of one of its files.
    pub(crate) fn value(&self, file: &str) -> anyhow::Result<String> {
        let path = self.0.join(file);
        let value = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(value.trim().to_owned())
    }

    /// Processes of it and of all groups below.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut waiting = vec![self.clone()];
        while let Some(group) = waiting.pop() {
            let listed = group.value("cgroup.procs").unwrap_or_default();
            found.extend(listed.lines().filter_map(|pid| pid.parse::<i32>().ok()));
            waiting.extend(group.children());
        }
        found
    }

    /// Groups directly below it.
    pub(crate) fn children(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.path().is_dir());
        directories.map(|entry| Self(entry.path())).collect()
    }

    /// The bases of workers directly below it: one for each that lives.
    pub(crate) fn bases(&self) -> Vec<Self> {
        let is_base = |group: &Self| {
            let name = group.0.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("stap-worker-")
        };
        self.children().into_iter().filter(is_base).collect()
    }

    /// The groups of jobs below these bases.
    pub(crate) fn jobs(&self) -> Vec<Self> {
        self.bases().iter().flat_map(Self::children).collect()
    }
}

/// Where this host, like every one with systemd, has the tree.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";
