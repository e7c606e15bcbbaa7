//! Ends all processes of a job where no pid namespace does it: the launcher is their reaper, so
//! every one of them descends from it, whatever sessions and parents they left behind.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, wait,
};

/// The host's `/proc`, opened before the launcher loses sight of it.
pub(crate) struct Descendants {
    proc: OwnedFd,
}

impl Descendants {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self {
            proc: rustix::fs::open("/proc", flags, Mode::empty())?,
        })
    }

    /// Kills and reaps until there is no descendant left. Those that fork while this looks are found
    /// in the next round; how many there can be is bounded by the limits they run under.
    pub(crate) fn end_all(&self) -> io::Result<()> {
        loop {
            self.kill_all()?;
            match wait(WaitOptions::empty()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(()),
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    fn kill_all(&self) -> io::Result<()> {
        let parents = self.parents()?;
        for pid in below(getpid(), &parents) {
            // Between the look and the kill the number may have become another process's: a
            // descriptor that was opened before the parent is read again cannot.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            if self.parent(pid) != parents.get(&pid).copied() {
                continue;
            }
            match pidfd_send_signal(&process, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Ok(())
    }

    /// The parent of every process that there is.
    fn parents(&self) -> io::Result<HashMap<Pid, Pid>> {
        let mut parents = HashMap::new();
        for entry in Dir::read_from(&self.proc)? {
            let entry = entry?;
            let number = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|name| name.parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else {
                continue;
            };
            parents.extend(self.parent(pid).map(|parent| (pid, parent)));
        }
        Ok(parents)
    }

    /// The parent of one process, unless it is gone.
    fn parent(&self, pid: Pid) -> Option<Pid> {
        let path = format!("{}/stat", pid.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.proc, path, flags, Mode::empty()).ok()?;
        let mut stat = Vec::new();
        File::from(file)
            .take(MAX_STAT)
            .read_to_end(&mut stat)
            .ok()?;
        parse_parent(&stat)
    }
}

/// Reads field 4 of `/proc/PID/stat`. The name before it may hold anything, `) R 1` included, but
/// the last parenthesis is the one that ends it.
fn parse_parent(stat: &[u8]) -> Option<Pid> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(&stat[end_of_name + 1..]).ok()?;
    Pid::from_raw(fields.split_ascii_whitespace().nth(1)?.parse().ok()?)
}

fn below(ancestor: Pid, parents: &HashMap<Pid, Pid>) -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut next = vec![ancestor];
    while let Some(parent) = next.pop() {
        let children = parents
            .iter()
            .filter(|(_, of)| **of == parent)
            .map(|(pid, _)| *pid);
        next.extend(children.filter(|child| found.insert(*child)));
    }
    found
}

/// A line of `/proc/PID/stat` is shorter.
const MAX_STAT: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    #[test]
    fn a_process_cannot_choose_its_parent_by_its_name() {
        let stat = b"42 (x) R 1 (y) S 7 42 42 0 -1";
        assert_eq!(parse_parent(stat), Some(pid(7)));
        assert_eq!(parse_parent(b"42 (x"), None);
        assert_eq!(parse_parent(b"42 (x) S 0 0 0"), None);
    }

    #[test]
    fn only_what_descends_from_the_launcher_is_ended() {
        let tree = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5)];
        let tree = tree.map(|(child, parent)| (pid(child), pid(parent)));
        let found = below(pid(2), &HashMap::from(tree));
        assert_eq!(found, HashSet::from([pid(3), pid(4)]));
    }
}
