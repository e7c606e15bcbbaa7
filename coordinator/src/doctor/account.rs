//! Whose server it would be, and what of his a job could reach if a layer failed.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{geteuid, getpid, getppid};
use stap_policy::Policy;

use super::{Finding, State, read};
use crate::confine::Account;
use crate::options::Options;
use crate::settings::slots;

pub(super) fn findings(policy: &Policy, options: &Options, roots: &[PathBuf]) -> Vec<Finding> {
    let accounts = read("/etc/passwd").unwrap_or_default();
    let owners = owners_of_processes();
    let mut findings = Vec::new();
    if geteuid().is_root() {
        findings.push(Finding::new(
            "user",
            State::Warn,
            "root; the server gives its rights up after it has started",
            "start it as an ordinary user, who gets the same isolation and has less to lose",
        ));
        findings.push(service_account());
        findings.push(slot_uids(policy, options, &owners));
    } else {
        let uid = geteuid().as_raw();
        findings.push(Finding::ok("user", name_of(uid, &accounts)));
        let others = owners.iter().filter(|owner| **owner == uid).count();
        findings.push(company(others));
    }
    findings.extend(roots.iter().filter_map(|root| loose_root(root)));
    findings
}

/// Jobs have the server's own uid where it is no root's, so the user namespace and the others stand
/// between them and the user's other processes.
fn company(others: usize) -> Finding {
    if others == 0 {
        return Finding::ok("other processes", "none of this user run");
    }
    Finding::note(
        "other processes",
        format!(
            "{others} of this user run besides this one, and his files are here; if a layer failed, jobs could reach \
             them: an account of its own has neither"
        ),
    )
}

fn service_account() -> Finding {
    match Account::of_service() {
        Ok(Some(account)) => Finding::ok(
            "service account",
            format!("{} (uid {})", account.name, account.uid.as_raw()),
        ),
        Ok(None) => Finding::new(
            "service account",
            State::Warn,
            "there is none, so the part that faces the network stays uid 0, without capabilities",
            "useradd --system stap-server, or deploy/install",
        ),
        Err(error) => Finding::new(
            "service account",
            State::Bad,
            error.to_string(),
            "correct /etc/passwd",
        ),
    }
}

/// What a server of root says at its start when its jobs get uids of people; jobs of other servers, which
/// run now, count their uids from the same base and share none.
pub(crate) fn uids_of_people(policy: &Policy, options: &Options) -> Option<String> {
    let found = slot_uids(policy, options, &[]);
    let remedy = &found.remedy;
    (found.state == State::Bad).then(|| format!("jobs run as uids {}; {remedy}", found.detail))
}

/// Who besides jobs has their uids.
fn slot_uids(policy: &Policy, options: &Options, owners: &[u32]) -> Finding {
    let accounts = read("/etc/passwd").unwrap_or_default();
    let subordinate = read("/etc/subuid").unwrap_or_default();
    others_with(&range(policy, options), &accounts, &subordinate, owners)
}

/// The uids that jobs would have.
fn range(policy: &Policy, options: &Options) -> Range<u64> {
    let first = policy.slots().uid_base.get();
    let slots = u64::try_from(slots(options).get()).unwrap_or(u64::MAX);
    first..first.saturating_add(slots)
}

fn others_with(range: &Range<u64>, accounts: &str, subordinate: &str, owners: &[u32]) -> Finding {
    let (first, last) = (range.start, range.end - 1);
    let shown = format!("{first} to {last}");
    let number = |text: &str| text.parse::<u64>().ok();
    let named: Vec<_> = accounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = number(fields.nth(1)?)?;
            range.contains(&uid).then(|| format!("account {name}"))
        })
        .collect();
    let lent = subordinate.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let start = number(fields.next()?)?;
        let end = start.saturating_add(number(fields.next()?)?);
        (start < range.end && range.start < end).then(|| format!("subordinate uids of {name}"))
    });
    let running = owners
        .iter()
        .any(|owner| range.contains(&u64::from(*owner)));
    let running = running.then(|| "processes that run now".to_owned());
    let taken: Vec<_> = named
        .into_iter()
        .chain(lent)
        .chain(running)
        .take(MOST_NAMED)
        .collect();
    if taken.is_empty() {
        return Finding::ok("slot uids", format!("{shown}, which nobody else has"));
    }
    Finding::new(
        "slot uids",
        State::Bad,
        format!("{shown}, which {} have, too", taken.join(", ")),
        "give the policy another uid-base under [slots]; if another server of root runs, one of its own to each",
    )
}

/// What of a root a job sees should be nobody's who runs jobs, and nobody's who may be anybody.
fn loose_root(root: &Path) -> Option<Finding> {
    let user = geteuid();
    let loose = VISIBLE.iter().map(|name| root.join(name)).find_map(|path| {
        let metadata = path.metadata().ok()?;
        if metadata.mode() & 0o002 != 0 && metadata.mode() & 0o1000 == 0 {
            return Some((path, "everybody can write to it"));
        }
        let own = !user.is_root() && metadata.uid() == user.as_raw();
        own.then_some((path, "it belongs to the server's user"))
    });
    let (path, why) = loose?;
    Some(Finding::note(
        "target root",
        format!(
            "{}: {why}; jobs see it read-only, and only the layers mount and landlock keep it so",
            path.display()
        ),
    ))
}

/// The owners of all processes but this one, the one that started it, and those of the kernel.
fn owners_of_processes() -> Vec<u32> {
    let own = [Some(getpid()), getppid()].map(|pid| pid.map(rustix::process::Pid::as_raw_pid));
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let is_own = own.contains(&Some(pid));
            (!is_own).then(|| entry.metadata().ok().map(|metadata| metadata.uid()))?
        })
        .take(MOST_PROCESSES)
        .collect()
}

fn name_of(uid: u32, accounts: &str) -> String {
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    match name {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}, which has no name"),
    }
}

/// What jobs see of a root.
const VISIBLE: [&str; 5] = ["usr", "lib", "bin", "boot", "etc/alternatives"];
const MOST_NAMED: usize = 4;
const MOST_PROCESSES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_uid_that_somebody_has_is_told_with_who_has_it() {
        let slots = 64_000..64_004;
        let accounts =
            "root:x:0:0::/:/bin/sh\neve:x:64003:1::/:/bin/sh\nbob:x:64004:1::/:/bin/sh\nbroken\n";
        let taken = others_with(
            &slots,
            accounts,
            "alice:63000:1001\nzoe:64004:65536\n",
            &[0, 64_001],
        );
        assert_eq!(taken.state, State::Bad);
        assert_eq!(
            taken.detail,
            "64000 to 64003, which account eve, subordinate uids of alice, processes that run now have, too"
        );
        let free = others_with(
            &slots,
            "root:x:0:0::/:/bin/sh\n",
            "alice:100000:65536\n",
            &[0],
        );
        assert_eq!(free.state, State::Ok);
    }
}
