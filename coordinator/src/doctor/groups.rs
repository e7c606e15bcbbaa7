//! Control groups: which kind, what is delegated, and whether swap counts.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use stap_protocol::examination::Examination;

use super::host::kibibytes;
use super::{Finding, State, read};

pub(super) fn findings(examination: Option<&Examination>) -> Vec<Finding> {
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let membership = read("/proc/self/cgroup").unwrap_or_default();
    let meminfo = read("/proc/meminfo").unwrap_or_default();
    let layout = Layout::of(&mounts);
    let swap = kibibytes(&meminfo, "SwapTotal:");
    let is_bounded = examination.and_then(|found| found.swap_is_bounded);
    vec![
        layout.finding(),
        delegation(&layout, &membership),
        self::swap(swap, is_bounded),
    ]
}

/// How the kernel shows groups here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Layout {
    /// Controllers with a hierarchy of their own.
    v1: Vec<String>,
    /// Where the unified hierarchy is.
    unified: Option<PathBuf>,
}

impl Layout {
    fn of(mountinfo: &str) -> Self {
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            let Some((place, file_system)) = line.split_once(" - ") else {
                continue;
            };
            let mut file_system = file_system.split(' ');
            match file_system.next() {
                Some("cgroup2") => layout.unified = place.split(' ').nth(4).map(PathBuf::from),
                Some("cgroup") => {
                    let options = file_system.nth(1).unwrap_or_default().split(',');
                    let controllers = options.filter(|name| WANTED_V1.contains(name));
                    layout.v1.extend(controllers.map(str::to_owned));
                }
                _ => {}
            }
        }
        layout.v1.sort();
        layout
    }

    /// Controllers that the unified hierarchy offers at its top.
    fn unified_controllers(&self) -> String {
        let unified = self.unified.as_ref();
        let controllers = unified.and_then(|mount| read(mount.join("cgroup.controllers")));
        controllers.unwrap_or_default().trim().to_owned()
    }

    fn finding(&self) -> Finding {
        let controllers = self.unified_controllers();
        let has = |name: &str| controllers.split(' ').any(|controller| controller == name);
        let missing: Vec<_> = WANTED_V2.into_iter().filter(|name| !has(name)).collect();
        let v1 = self.v1.join(" ");
        let name = "control groups";
        match (&self.unified, self.v1.is_empty()) {
            (Some(_), true) if missing.is_empty() => Finding::ok(
                name,
                format!("version 2, with the controllers {controllers}"),
            ),
            (Some(_), true) => Finding::new(
                name,
                State::Warn,
                format!("version 2, without the controllers {}", missing.join(" ")),
                "boot without cgroup_disable=; in a container have them delegated",
            ),
            (None, false) => Finding::ok(name, format!("version 1, with the controllers {v1}")),
            (Some(_), false) => Finding::ok(
                name,
                format!(
                    "hybrid: version 1 with the controllers {v1}, and a unified hierarchy that kills trees"
                ),
            ),
            (None, true) => Finding::new(
                name,
                State::Warn,
                "none are mounted",
                "mount the unified hierarchy: mount -t cgroup2 none /sys/fs/cgroup",
            ),
        }
    }
}

/// Whether this process is in a group that its user may divide.
fn delegation(layout: &Layout, membership: &str) -> Finding {
    let name = "delegation";
    let own = membership.lines().find_map(|line| line.strip_prefix("0::"));
    let (Some(mount), Some(own), true) = (&layout.unified, own, layout.v1.is_empty()) else {
        return Finding::note(
            name,
            "there is none with version 1 or hybrid; root can use groups, and ordinary users cannot",
        );
    };
    let own = mount.join(own.trim_start_matches('/'));
    let user = rustix::process::geteuid().as_raw();
    let belongs = |group: &Path| {
        group
            .metadata()
            .is_ok_and(|metadata| metadata.uid() == user)
    };
    let parents = own.ancestors().take_while(|group| group.starts_with(mount));
    let delegated = parents.take(2).find(|group| belongs(group));
    match delegated {
        Some(group) => Finding::ok(name, format!("{} belongs to this user", group.display())),
        None if user == 0 => Finding::note(name, "root needs none"),
        None => Finding::new(
            name,
            State::Warn,
            format!("{} belongs to somebody else", own.display()),
            "start the server from a unit with Delegate=yes, or under `systemd-run --user --scope -p Delegate=yes`",
        ),
    }
}

fn swap(kibibytes: Option<u64>, is_bounded: Option<bool>) -> Finding {
    match (kibibytes.unwrap_or_default(), is_bounded) {
        (0, Some(false)) => Finding::note(
            "swap",
            "there is none; if some is added, it is not counted against a job's memory (boot with swapaccount=1)",
        ),
        (0, _) => Finding::ok("swap", "there is none"),
        (some, Some(true)) => Finding::ok(
            "swap",
            format!("{} MiB, of which jobs get none", some >> 10),
        ),
        (some, Some(false)) => Finding::new(
            "swap",
            State::Warn,
            format!("{} MiB, not counted against a job's memory", some >> 10),
            "boot with swapaccount=1, or switch swap off",
        ),
        (some, None) => Finding::note(
            "swap",
            format!(
                "{} MiB; without control groups nothing counts what jobs use of it",
                some >> 10
            ),
        ),
    }
}

const WANTED_V1: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];
const WANTED_V2: [&str; 3] = ["memory", "pids", "cpu"];

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "28 26 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          29 26 0:25 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                          30 26 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_kind_of_groups_is_told() {
        let hybrid = Layout::of(HYBRID);
        assert_eq!(hybrid.v1, ["memory"]);
        assert!(hybrid.finding().detail.starts_with("hybrid"));
        assert_eq!(Layout::of("").finding().state, State::Warn);
        assert!(
            delegation(&hybrid, "0::/\n")
                .detail
                .contains("ordinary users cannot")
        );
    }

    #[test]
    fn swap_that_is_not_counted_is_doubtful_where_there_is_some() {
        assert_eq!(swap(Some(1 << 20), Some(false)).state, State::Warn);
        assert_eq!(swap(Some(1 << 20), Some(true)).state, State::Ok);
        assert_eq!(swap(Some(0), Some(false)).state, State::Note);
        assert_eq!(swap(Some(1 << 20), None).state, State::Note);
    }
}
