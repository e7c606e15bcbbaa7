//! The kernel and the machine.

use stap_policy::Policy;
use stap_protocol::examination::Examination;

use super::{Finding, State, read};
use crate::options::Options;
use crate::settings::slots;

pub(super) fn findings(
    policy: &Policy,
    options: &Options,
    examination: Option<&Examination>,
) -> Vec<Finding> {
    let host = rustix::system::uname();
    let kernel = host.release().to_string_lossy();
    let machine = host.machine().to_string_lossy();
    let status = read("/proc/self/status").unwrap_or_default();
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let available = |name: &str| {
        let mut tried = examination
            .map(|found| found.tried.iter())
            .into_iter()
            .flatten();
        tried.any(|layer| layer.name == name && layer.available)
    };
    vec![
        Finding::ok("kernel", format!("Linux {kernel} on {machine}")),
        security_modules(read("/sys/kernel/security/lsm").as_deref()),
        uids(read("/proc/self/uid_map").as_deref()),
        namespaces(|name| read(format!("/proc/sys/{name}"))),
        proc(&mounts, available("proc")),
        filter(&status),
        capabilities(&status, rustix::process::geteuid().is_root()),
        core_pattern(read("/proc/sys/kernel/core_pattern").as_deref()),
        memory(policy, options, memory_of_host()),
        workspaces(policy, available("mount")),
    ]
}

/// The memory of this host in bytes.
pub(crate) fn memory_of_host() -> Option<u64> {
    kibibytes(&read("/proc/meminfo")?, "MemTotal:").map(|kibibytes| kibibytes << 10)
}

/// A line of `/proc/meminfo`.
pub(super) fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn security_modules(list: Option<&str>) -> Finding {
    let Some(list) = list else {
        return Finding::note(
            "security modules",
            "unknown: /sys/kernel/security is not mounted or not readable",
        );
    };
    let list = list.trim();
    if list.split(',').any(|module| module == "landlock") {
        return Finding::ok("security modules", list);
    }
    Finding::new(
        "security modules",
        State::Warn,
        format!("{list}; landlock is not among them"),
        "add landlock to lsm= on the kernel's command line",
    )
}

/// Whether this is the host's own user namespace, or one in which few uids mean anything.
fn uids(map: Option<&str>) -> Finding {
    let name = "user namespace";
    let Some(map) = map else {
        return Finding::note(name, "/proc/self/uid_map is not readable");
    };
    let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    let uids: u64 = map.lines().filter_map(count).fold(0, u64::saturating_add);
    if uids >= u64::from(u32::MAX) {
        return Finding::ok(name, "the host's own");
    }
    Finding::note(
        name,
        format!(
            "not the host's own (a container, unshare, or PrivateUsers= of a unit); it has {uids} uids"
        ),
    )
}

/// Sysctls that keep ordinary users from making namespaces.
fn namespaces(sysctl: impl Fn(&str) -> Option<String>) -> Finding {
    let mut closed = Vec::new();
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let name = format!("user/max_{kind}_namespaces");
        if sysctl(&name).is_some_and(|value| value.trim() == "0") {
            closed.push(format!("user.max_{kind}_namespaces=0"));
        }
    }
    for (name, closing, shown) in [
        (
            "kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone=0",
        ),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=1",
        ),
    ] {
        if sysctl(name).is_some_and(|value| value.trim() == closing) {
            closed.push(shown.to_owned());
        }
    }
    if closed.is_empty() {
        return Finding::ok("namespaces", "no sysctl forbids them");
    }
    Finding::new(
        "namespaces",
        State::Bad,
        closed.join(", "),
        "set the first kind above 0 (sysctl -w user.max_user_namespaces=10000), unprivileged_userns_clone to 1, \
         apparmor_restrict_unprivileged_userns to 0, where they are named here; in /etc/sysctl.d to keep it",
    )
}

/// A `/proc` of which something is covered cannot be mounted anew.
fn proc(mountinfo: &str, available: bool) -> Finding {
    let covered: Vec<_> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| {
            point.starts_with("/proc/") && !point.starts_with("/proc/sys/fs/binfmt_misc")
        })
        .take(MOST_NAMED)
        .collect();
    let named = covered.join(" ");
    match (available, covered.is_empty()) {
        (true, true) => Finding::ok("/proc", "nothing covers it, and jobs can have their own"),
        (true, false) => Finding::note(
            "/proc",
            format!("covered in part ({named}); jobs can have their own all the same"),
        ),
        (false, true) => Finding::note(
            "/proc",
            "nothing covers it; the layer proc says why jobs cannot have their own",
        ),
        (false, false) => Finding::new(
            "/proc",
            State::Warn,
            format!("covered in part: {named}"),
            "in a systemd unit no ProtectKernelTunables=, ProtectKernelLogs= or ProtectControlGroups=; in a container an \
             unmasked /proc",
        ),
    }
}

fn filter(status: &str) -> Finding {
    let field = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    match field.map(str::trim) {
        Some("0") => Finding::ok("system calls", "no filter is around this process"),
        Some("2") => Finding::note(
            "system calls",
            "a filter is around this process, from a container or from SystemCallFilter=, RestrictNamespaces= or the like \
             of a unit; the layers above were tried inside it",
        ),
        _ => Finding::note(
            "system calls",
            "this kernel does not say whether a filter is around this process",
        ),
    }
}

/// A server of root needs some powers for what it does before it gives them up.
fn capabilities(status: &str, is_root: bool) -> Finding {
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let effective = set("CapEff:").unwrap_or_default();
    if !is_root {
        return match effective {
            0 => Finding::ok("capabilities", "none, and none are needed"),
            _ => Finding::new(
                "capabilities",
                State::Warn,
                "an ordinary user with capabilities; they are given up, and should not be there",
                "start the server without ambient or file capabilities",
            ),
        };
    }
    let lacking: Vec<_> = NEEDED_BY_ROOT
        .iter()
        .filter(|(_, number)| effective & (1 << number) == 0)
        .map(|(name, _)| *name)
        .collect();
    if lacking.is_empty() {
        return Finding::ok("capabilities", "root has what it gives up later");
    }
    Finding::new(
        "capabilities",
        State::Warn,
        format!("root without {}", lacking.join(" ")),
        "give them to the container or the unit, or start the server as an ordinary user",
    )
}

/// The kernel starts a core pattern that is a pipe as root, outside of every jail, and asks no limit
/// for leave: what it is given is a job's to choose.
fn core_pattern(pattern: Option<&str>) -> Finding {
    match pattern.map(str::trim) {
        Some(pattern) if pattern.starts_with('|') => Finding::new(
            "core dumps",
            State::Warn,
            format!("a crash of a job starts {pattern:?} as root, outside of the jail"),
            "sysctl -w kernel.core_pattern=core; a handler that has to stay must be trusted with hostile input",
        ),
        Some(_) => Finding::ok(
            "core dumps",
            "no program is started for crashes, and jobs may not write any",
        ),
        None => Finding::note(
            "core dumps",
            "/proc/sys/kernel/core_pattern is not readable",
        ),
    }
}

fn memory(policy: &Policy, options: &Options, memory: Option<u64>) -> Finding {
    let slots = slots(options);
    let each = policy.limits().memory;
    let jobs = format!("{slots} jobs at a time, of {each} at most each");
    let Some(memory) = memory else {
        return Finding::note("memory", format!("unknown; {jobs}"));
    };
    let slots = u64::try_from(slots.get()).unwrap_or(u64::MAX);
    let all = each.bytes().saturating_mul(slots);
    let detail = format!("{} MiB; {jobs}", memory >> 20);
    if all <= memory {
        return Finding::ok("memory", detail);
    }
    Finding::new(
        "memory",
        State::Warn,
        format!("{detail}, which is more than there is"),
        "fewer jobs at a time (--max-threads), or a policy with less memory",
    )
}

fn workspaces(policy: &Policy, in_memory: bool) -> Finding {
    let limits = policy.limits();
    let (bytes, files) = (limits.workspace, limits.workspace_files);
    if in_memory {
        return Finding::ok(
            "workspaces",
            format!("in memory, of {bytes} and {files} files at most, counted as the job's memory"),
        );
    }
    Finding::new(
        "workspaces",
        State::Warn,
        "on the disk below TMPDIR, without a limit on how much a job writes",
        "make the layer mount available",
    )
}

/// What a server of root needs before it becomes an ordinary user.
const NEEDED_BY_ROOT: [(&str, u32); 4] = [
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_SYS_ADMIN", 21),
];
/// Mount points that one line names.
const MOST_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_that_forbids_namespaces_is_named_with_its_value() {
        let closed = namespaces(|name| match name {
            "user/max_user_namespaces" => Some("0\n".to_owned()),
            "kernel/apparmor_restrict_unprivileged_userns" => Some("1\n".to_owned()),
            "user/max_pid_namespaces" => Some("31000\n".to_owned()),
            _ => None,
        });
        assert_eq!(closed.state, State::Bad);
        assert_eq!(
            closed.detail,
            "user.max_user_namespaces=0, kernel.apparmor_restrict_unprivileged_userns=1"
        );
        assert!(closed.remedy.contains("sysctl -w user.max_user_namespaces"));
        assert_eq!(namespaces(|_| None).state, State::Ok);
    }

    #[test]
    fn a_namespace_of_a_container_is_told_from_the_hosts() {
        assert_eq!(
            uids(Some("         0          0 4294967295\n")).state,
            State::Ok
        );
        let container = uids(Some("0 100000 65536\n65536 7 1\n"));
        assert!(
            container.detail.ends_with("it has 65537 uids"),
            "{container:?}"
        );
    }

    #[test]
    fn a_core_pattern_that_is_a_pipe_is_doubtful() {
        let piped = core_pattern(Some("|/usr/share/apport/apport %p\n"));
        assert_eq!(piped.state, State::Warn);
        assert!(piped.detail.contains("apport"), "{piped:?}");
        assert_eq!(core_pattern(Some("core\n")).state, State::Ok);
    }

    #[test]
    fn a_masked_proc_is_told_with_what_covers_it() {
        let masked = "30 20 0:5 / /proc rw - proc proc rw\n31 30 0:6 / /proc/kcore rw - tmpfs tmpfs rw\n\
                      32 30 0:7 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n";
        let found = proc(masked, false);
        assert_eq!(
            (found.state, found.detail.as_str()),
            (State::Warn, "covered in part: /proc/kcore")
        );
        assert_eq!(proc("", true).state, State::Ok);
    }

    #[test]
    fn landlock_is_missed_where_it_is_not_active() {
        assert_eq!(
            security_modules(Some("capability,landlock,yama")).state,
            State::Ok
        );
        assert_eq!(
            security_modules(Some("capability,landlocked\n")).state,
            State::Warn
        );
        assert_eq!(security_modules(None).state, State::Note);
    }

    #[test]
    fn root_without_its_powers_is_told_which_are_missing() {
        let status = "CapEff:\t00000000000000c0\n";
        assert_eq!(
            capabilities(status, true).detail,
            "root without CAP_SETPCAP CAP_SYS_ADMIN"
        );
        assert_eq!(capabilities(status, false).state, State::Warn);
        assert_eq!(capabilities("CapEff:\t0\n", false).state, State::Ok);
    }
}
