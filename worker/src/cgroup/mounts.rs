//! Where the kernel shows control groups, and where this process is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{CgroupError, file};

/// The group of this process in every hierarchy that is mounted, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    /// In the unified hierarchy.
    pub(super) unified: Option<Unified>,
    /// By the name of a controller that has a hierarchy of its own.
    pub(super) controllers: BTreeMap<String, PathBuf>,
}

/// The unified hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unified {
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// The group of this process.
    pub(super) own: PathBuf,
}

impl Mounts {
    pub(super) fn of_this_process() -> Result<Self, CgroupError> {
        let mountinfo = file::read(Path::new("/proc/self/mountinfo"))?;
        let membership = file::read(Path::new("/proc/self/cgroup"))?;
        Ok(Self::parse(&mountinfo, &membership))
    }

    fn parse(mountinfo: &str, membership: &str) -> Self {
        let mut mounts = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            let options = mount.options.split(',');
            for line in membership.lines().filter_map(Membership::parse) {
                let Some(own) = mount.show(line.path) else {
                    continue;
                };
                if mount.kind == "cgroup2" && line.controllers.is_empty() {
                    mounts.unified = Some(Unified {
                        mount: mount.point.clone(),
                        own,
                    });
                } else if mount.kind == "cgroup" {
                    let held = options.clone().filter(|name| line.has(name));
                    mounts
                        .controllers
                        .extend(held.map(|name| (name.to_owned(), own.clone())));
                }
            }
        }
        mounts
    }

    /// The unified hierarchy, if it is the one that limits memory here.
    pub(super) fn unified_with_controllers(&self) -> Option<Unified> {
        let unified = self.unified.clone()?;
        let controllers = file::read(&unified.mount.join("cgroup.controllers")).ok()?;
        controllers
            .split_whitespace()
            .any(|name| name == "memory")
            .then_some(unified)
    }
}

/// A line of `/proc/self/mountinfo`; see proc_pid_mountinfo(5).
struct Mount<'a> {
    root: &'a Path,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, file_system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut file_system = file_system.split(' ');
        Some(Self {
            root: Path::new(place.next()?),
            point: PathBuf::from(place.next()?),
            kind: file_system.next()?,
            options: file_system.nth(1)?,
        })
    }

    /// Where a group is seen through this mount; `None` when it is outside of what is mounted.
    fn show(&self, group: &str) -> Option<PathBuf> {
        let inside = Path::new(group).strip_prefix(self.root).ok()?;
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        inside
            .components()
            .all(plain)
            .then(|| self.point.join(inside))
    }
}

/// A line of `/proc/self/cgroup`: `4:memory:/path`; the unified hierarchy names no controller.
struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some(Self { controllers, path })
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        26 22 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        27 26 0:24 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        28 26 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n\
        29 26 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn each_controller_of_a_hybrid_host_is_found_at_this_processes_group() {
        let mounts = Mounts::parse(
            HYBRID,
            "4:memory:/api/x\n3:cpu,cpuacct:/\n0::/user\n1:name=systemd:/\n",
        );
        let at = |name: &str| mounts.controllers[name].to_str().unwrap().to_owned();
        assert_eq!(at("memory"), "/sys/fs/cgroup/memory/api/x");
        assert_eq!(at("cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/");
        assert_eq!(mounts.controllers.len(), 3);
        let unified = mounts.unified.unwrap();
        assert_eq!(unified.own, Path::new("/sys/fs/cgroup/unified/user"));
    }

    #[test]
    fn a_group_outside_of_what_is_mounted_is_not_used() {
        let inside = "27 26 0:24 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert!(
            Mounts::parse(inside, "4:memory:/other\n")
                .controllers
                .is_empty()
        );
        assert!(
            Mounts::parse(inside, "4:memory:/docker/x/../y\n")
                .controllers
                .is_empty()
        );
        assert_eq!(
            Mounts::parse(inside, "4:memory:/docker/x/y\n")
                .controllers
                .len(),
            1
        );
    }
}
