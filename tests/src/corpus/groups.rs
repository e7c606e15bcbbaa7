//! Control groups of this run's own.
//!
//! The tree of groups is the whole machine's, whatever lab a server runs in. On hosts that have a
//! hierarchy for each controller this run moves into a group of its own in each, so that workers put
//! theirs below it, and nobody else's come and go there. Where there is only the unified hierarchy
//! somebody has given us a place already, and moving would take it from the worker.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The groups, removed with their remains when this goes.
#[derive(Debug, Default)]
pub struct OwnGroups {
    left: Vec<PathBuf>,
    own: Vec<PathBuf>,
}

impl OwnGroups {
    /// Moves this process into them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter() -> anyhow::Result<Self> {
        let mut groups = Self::default();
        let name = format!("hostile-corpus-{}", unique()?);
        for group in memberships()? {
            let own = group.join(&name);
            fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
            fs::write(own.join(MEMBERS), std::process::id().to_string())?;
            groups.own.push(own);
            groups.left.push(group);
        }
        Ok(groups)
    }

    /// Whether a user can have them. Where there is only the unified hierarchy that is for whoever
    /// made the group of this process to decide, and the user has it already or never will.
    ///
    /// # Errors
    /// When this process is in no group.
    pub fn can_be_given(&self, uid: u32) -> anyhow::Result<bool> {
        if !self.own.is_empty() {
            return Ok(true);
        }
        let members = unified()?.join(MEMBERS);
        let found = members
            .metadata()
            .with_context(|| members.display().to_string())?;
        Ok(found.uid() == uid)
    }

    /// Hands them to a user, as a service manager does with the group of a service; nothing is done
    /// where there is only the unified hierarchy.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn give(&self, uid: u32) -> anyhow::Result<()> {
        for group in &self.own {
            chown(group, Some(uid), Some(uid))?;
            for file in [MEMBERS, "tasks"] {
                let file = group.join(file);
                if file.exists() {
                    chown(file, Some(uid), Some(uid))?;
                }
            }
        }
        Ok(())
    }

    /// Every group that servers of this run could have made, for comparison.
    #[must_use]
    pub fn below(&self) -> Vec<PathBuf> {
        if !self.own.is_empty() {
            return all_below(self.own.clone());
        }
        // Where there is only the unified hierarchy, root's workers have a place at its top, among groups of the host
        // that come and go.
        let own = unified().unwrap_or_else(|_| PathBuf::from(MOUNTS));
        let is_a_workers = |name: &OsStr| name.to_string_lossy().starts_with(WORKERS);
        let mut found = all_below(vec![PathBuf::from(MOUNTS)]);
        found.retain(|group| group.starts_with(&own) || group.iter().any(is_a_workers));
        found
    }
}

impl Drop for OwnGroups {
    /// What resists is the machine's to keep: it is empty, and named after this run.
    fn drop(&mut self) {
        for (group, own) in self.left.iter().zip(&self.own) {
            let moved = fs::write(group.join(MEMBERS), std::process::id().to_string());
            drop(moved.and_then(|()| fs::remove_dir(own)));
        }
    }
}

/// All groups below these, in order.
fn all_below(mut waiting: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    while let Some(group) = waiting.pop() {
        for entry in fs::read_dir(group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
                waiting.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Tells this run from every other on this machine, where groups and keys of all labs lie side by
/// side: pids are not unique among labs, but their namespaces are.
///
/// # Errors
/// When there is no `/proc`.
pub fn unique() -> anyhow::Result<String> {
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    let name = namespace.to_string_lossy();
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    Ok(format!("{digits}-{}", std::process::id()))
}

/// An ordinary user of this run's own: what the kernel counts by uid is counted on the whole machine,
/// and several runs must not have one account.
///
/// # Errors
/// When there is no `/proc`.
pub fn ordinary_uid() -> anyhow::Result<u32> {
    let digits = unique()?;
    let number: u64 = digits.replace('-', "").parse()?;
    Ok(ORDINARY + u32::try_from(number % 10_000)?)
}

/// Whether a process can leave a group of the unified hierarchy only within its namespace, and there is
/// nothing but that hierarchy.
#[must_use]
pub fn are_bounded_by_namespaces() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        let is_unified = fields.next() == Some(MOUNTS) && fields.next() == Some("cgroup2");
        let options = fields.next().unwrap_or_default();
        is_unified && options.split(',').any(|option| option == "nsdelegate")
    })
}

/// The group of this process where there is only the unified hierarchy.
fn unified() -> anyhow::Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(Path::new(MOUNTS).join(path.context("this process is in no group")?))
}

/// The groups of this process in hierarchies of the first version, and beside them in the unified
/// one; none where there is only that.
fn memberships() -> anyhow::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let parsed = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?.trim_start_matches('/')))
    });
    for (controllers, path) in parsed {
        let mount = match controllers {
            "" => Path::new(MOUNTS).join("unified"),
            "memory" | "pids" | "cpu" | "cpuacct" | "cpu,cpuacct" => {
                Path::new(MOUNTS).join(controllers)
            }
            _ => continue,
        };
        if mount.join(MEMBERS).exists() {
            groups.push(mount.join(path));
        }
    }
    Ok(groups)
}

/// Nobody has these.
const ORDINARY: u32 = 80_000;
const MOUNTS: &str = "/sys/fs/cgroup";
const MEMBERS: &str = "cgroup.procs";
/// What the groups of workers are called.
const WORKERS: &str = "stap-worker-";
