//! What must be the same before and after: processes, mounts, control groups, keys, IPC objects,
//! files, and the bytes of what servers keep warm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::groups::{self, OwnGroups};
use crate::process;

/// The state of the host, as far as a job could have touched it: what it consists of, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces(BTreeMap<&'static str, BTreeSet<String>>);

impl Traces {
    /// Looks at the host.
    #[must_use]
    pub fn of_host(groups: &OwnGroups, warm: &Path) -> Self {
        let lines = |path: &str| -> BTreeSet<String> {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        };
        let ipc = ["shm", "sem", "msg"].map(|kind| lines(&format!("/proc/sysvipc/{kind}")));
        let shown = |path: PathBuf| path.display().to_string();
        Self(BTreeMap::from([
            ("process", processes()),
            ("mount", lines("/proc/self/mountinfo")),
            ("cgroup", groups.below().into_iter().map(shown).collect()),
            ("key", keys()),
            ("IPC object", ipc.into_iter().flatten().collect()),
            ("message queue", queues()),
            ("file", files()),
            ("warm state", contents(warm)),
        ]))
    }

    /// What is there now and was not, and what was and is no more.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (kind, now) in &self.0 {
            let then = &before.0[kind];
            let added = now
                .difference(then)
                .map(|what| format!("{kind} left: {what}"));
            let gone = then
                .difference(now)
                .map(|what| format!("{kind} lost: {what}"));
            changes.extend(added.chain(gone));
        }
        changes
    }
}

/// Zombies of ours that nobody reaped count too. Threads of the kernel have no command line.
fn processes() -> BTreeSet<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.filter_map(process::Process::of);
    found
        .filter(|one| one.parent != KERNEL && one.pid != KERNEL)
        .map(|one| format!("{} {}", one.pid, one.name))
        .collect()
}

/// Keys with the mark of this run's attacks. The table is the whole machine's, and those of other runs come and go.
fn keys() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/keys").unwrap_or_default();
    let mark = format!("{MARK}-{}", groups::unique().unwrap_or_default());
    let ours = text.lines().filter(|line| line.contains(&mark));
    ours.map(str::to_owned).collect()
}

/// Names of POSIX message queues: their file system shows those of whoever mounts it.
fn queues() -> BTreeSet<String> {
    let mounted = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|context| {
        fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        fsmount(&context, flags, MountAttrFlags::empty())
    });
    let entries = mounted.and_then(Dir::new).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Names where everybody may make some.
fn files() -> BTreeSet<String> {
    let below = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path().display().to_string())
            .collect::<Vec<_>>()
    };
    ["/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/"]
        .into_iter()
        .flat_map(below)
        .collect()
}

/// Every file below a directory with its bytes; they are few and small.
fn contents(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path.clone());
            }
            let bytes = fs::read(&path).unwrap_or_default();
            found.insert(format!("{} {}", path.display(), bytes.escape_ascii()));
        }
    }
    found
}

/// Part of the name of every key and queue that an attack makes.
pub const MARK: &str = "corpus-mark";
/// The parent of the kernel's own threads, where they can be seen.
const KERNEL: i32 = 2;
