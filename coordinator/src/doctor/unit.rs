//! systemd: what a unit takes away that jails are made of, or that targets are found by.
//!
//! A doctor that is called from a shell is not in the unit, so the unit's own files are read, too.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, State, read};

pub(super) fn findings() -> Vec<Finding> {
    if !Path::new("/run/systemd/system").is_dir() {
        return vec![Finding::note("systemd", "it does not run here")];
    }
    let text: String = files().iter().filter_map(read).collect();
    let mut findings = Vec::new();
    if !text.is_empty() {
        findings.push(of_unit(&text));
    }
    if std::env::var_os("INVOCATION_ID").is_none() {
        findings.push(Finding::note(
            "systemd",
            "this was not started by a unit, and was tried without what a unit grants and forbids; to try that: \
             systemd-run --pipe --wait -p User=stap-server -p Delegate=yes stap-serverd --doctor",
        ));
    }
    findings
}

fn of_unit(text: &str) -> Finding {
    let breaking = breaking(text);
    if breaking.is_empty() {
        return Finding::ok(UNIT, "it takes nothing away that the service needs");
    }
    Finding::new(
        UNIT,
        State::Bad,
        format!(
            "it takes away what the service needs: {}",
            breaking.join(" ")
        ),
        format!("remove that (systemctl edit {UNIT}), then systemctl daemon-reload and restart"),
    )
}

/// Settings that break the service, as they are written. A later setting of the same name replaces an
/// earlier one.
fn breaking(text: &str) -> Vec<String> {
    let settings = text.lines().filter_map(|line| line.trim().split_once('='));
    let last = |name: &str| {
        let mut values = settings.clone().filter(|(found, _)| found.trim() == name);
        values.next_back().map(|(_, value)| value.trim())
    };
    let mut breaking = Vec::new();
    for name in BREAKING {
        let value = last(name).filter(|value| !OFF.contains(&value.to_ascii_lowercase().as_str()));
        breaking.extend(value.map(|value| format!("{name}={value}")));
    }
    let filters = settings.filter(|(name, _)| name.trim() == "SystemCallFilter");
    let filters: Vec<_> = filters.map(|(_, value)| value.trim()).collect();
    let calls = breaking_calls(&filters);
    breaking.extend(calls.map(|value| format!("SystemCallFilter={value}")));
    breaking
}

/// The filter among these that takes away a system call of the jail's. An empty one takes back those before it; the
/// first of the rest says whether calls are named that are allowed or that are not.
fn breaking_calls<'a>(filters: &[&'a str]) -> Option<&'a str> {
    let filters = filters.rsplit(|filter| filter.is_empty()).next()?;
    let is_denying = |filter: &&&str| filter.starts_with('~');
    let first = filters.first()?;
    let allows = |call: &str| {
        let mut allowing = filters.iter().filter(|filter| !is_denying(filter));
        allowing.any(|filter| names(filter).any(|name| name == call))
    };
    if !is_denying(&first) {
        return (!allows("@mount")).then_some(first);
    }
    let breaks = |group: &str| {
        let needed = NEEDED_CALLS.iter().find(|(name, _)| *name == group);
        needed.is_some_and(|(_, call)| !allows(call))
    };
    let mut denying = filters.iter().filter(is_denying);
    denying.find(|filter| names(filter).any(breaks)).copied()
}

fn names(filter: &str) -> impl Iterator<Item = &str> {
    filter.trim_start_matches('~').split_whitespace()
}

/// The unit's file, the one that hides the others, and what is added to it.
fn files() -> Vec<PathBuf> {
    let unit = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(UNIT));
    let mut files: Vec<_> = unit.filter(|path| path.is_file()).take(1).collect();
    for directory in DIRECTORIES.iter().rev() {
        let additions = Path::new(directory).join(format!("{UNIT}.d"));
        let entries = fs::read_dir(additions).into_iter().flatten().flatten();
        let mut added: Vec<_> = entries.map(|entry| entry.path()).take(MOST_FILES).collect();
        added.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        });
        added.sort();
        files.extend(added);
    }
    files
}

const UNIT: &str = "stap-server.service";
/// The one that counts comes first.
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// All of them take something from the jail, but for the one of modules, which hides where kernels are found.
const BREAKING: [&str; 8] = [
    "RestrictNamespaces",
    "RestrictSUIDSGID",
    "ProtectHostname",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "PrivateUsers",
];
/// Groups of system calls that may not be denied, each with the call or group that would have to be allowed in spite of
/// it.
const NEEDED_CALLS: [(&str, &str); 4] = [
    ("@debug", "pidfd_getfd"),
    ("@mount", "@mount"),
    ("@privileged", "@privileged"),
    ("@sandbox", "@sandbox"),
];
const OFF: [&str; 5] = ["", "no", "false", "off", "0"];
const MOST_FILES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_the_jail_is_found_and_a_later_setting_counts() {
        let unit = "[Service]\n# RestrictNamespaces=yes\nProtectControlGroups=yes\nProtectKernelLogs=yes\n\
                    ProtectKernelLogs=no\nPrivateUsers = true\nSystemCallFilter=@system-service\nPrivateTmp=yes\n";
        assert_eq!(
            breaking(unit),
            [
                "ProtectControlGroups=yes",
                "PrivateUsers=true",
                "SystemCallFilter=@system-service"
            ]
        );
        assert_eq!(of_unit(unit).state, State::Bad);
    }

    #[test]
    fn filters_of_system_calls_are_judged_as_they_follow_one_another() {
        for (filters, found) in [
            (&["~@clock @swap"][..], None),
            (&["~@clock @debug"], Some("~@clock @debug")),
            (&["~@clock @debug", "pidfd_getfd"], None),
            (&["~@clock", "~@mount"], Some("~@mount")),
            (&["@system-service"], Some("@system-service")),
            (&["@system-service", "@mount"], None),
            (&["@system-service", "", "~@clock"], None),
            (&["~@clock", ""], None),
            (&[], None),
        ] {
            assert_eq!(breaking_calls(filters), found, "{filters:?}");
        }
    }

    #[test]
    fn the_unit_that_is_installed_breaks_nothing() {
        let unit = include_str!("../../../deploy/systemd/stap-server.service");
        assert_eq!(breaking(unit), [""; 0]);
    }
}
