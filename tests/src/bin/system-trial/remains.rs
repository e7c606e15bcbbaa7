//! What must be the same before a server starts and after it has gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::ensure;
use stap_tests::process;
use stap_tests::wait;

use crate::unit::{Group, MOUNT};

/// Processes, mounts, control groups, and files where everybody may make some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remains(BTreeSet<String>);

impl Remains {
    /// Looks at the machine.
    pub(crate) fn now() -> Self {
        let mut found = BTreeSet::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        found.extend(mounts.lines().map(|line| format!("mount {line}")));
        let mut waiting = vec![Group(MOUNT.into())];
        while let Some(group) = waiting.pop() {
            found.insert(format!("cgroup {}", group.0.display()));
            waiting.extend(group.children());
        }
        for directory in ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run"] {
            let mut names = stap_tests::lab::list(Path::new(directory));
            names.retain(|name| name != LOCKS);
            found.extend(names.iter().map(|name| format!("file {directory}/{name}")));
        }
        for kind in ["shm", "sem", "msg"] {
            let objects = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
            found.extend(objects.lines().map(|line| format!("{kind} {line}")));
        }
        found.extend(ours());
        Self(found)
    }

    /// Makes sure that nothing has been added once everything has settled.
    pub(crate) fn only(&self) -> anyhow::Result<()> {
        let mut added = Vec::new();
        let settles = || {
            let now = Self::now();
            added = now.0.difference(&self.0).cloned().collect();
            added.is_empty()
        };
        let settled = wait::within_patience(settles);
        ensure!(settled, "left behind: {added:#?}");
        Ok(())
    }
}

/// Root's servers keep the files that they lock here, so that no two ever hold two files of one name.
const LOCKS: &str = "stap-server-uids";

/// Processes of the server and of jobs. Others come and go: systemd starts helpers when it likes.
fn ours() -> impl Iterator<Item = String> {
    let is_ours = |process: &process::Process| {
        process.name.starts_with("stap-") || ["sleep", "tail"].contains(&process.name.as_str())
    };
    let found = process::all().into_iter().filter(is_ours);
    found.map(|process| format!("process {} {}", process.pid, process.name))
}
