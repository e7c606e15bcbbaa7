//! A compile server's process, told for certain from everything else that could have its number.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A live compile server.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    descriptor: OwnedFd,
    started: u64,
}

impl ServerProcess {
    /// Looks at a process; `None` when it is not a live compile server.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        // The descriptor is taken before the check: when the process ends and its number is given to
        // another one in between, a signal goes to the process that ended, which is to nobody.
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let directory = format!("/proc/{}", pid.as_raw_nonzero());
        let name = read_bounded(&format!("{directory}/comm")).ok()?;
        let status = read_bounded(&format!("{directory}/status")).ok()?;
        let stat = read_bounded(&format!("{directory}/stat")).ok()?;
        if name != format!("{SERVER_NAME}\n") || !is_live_leader(&status, pid) {
            return None;
        }
        let started = start_time(&stat)?;
        Some(Self {
            descriptor,
            started,
        })
    }

    /// When it was started, in the kernel's clock ticks since the host was; with the process id it names a
    /// process for good.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When it is somebody else's, or has ended.
    pub(crate) fn ask_to_end(&self) -> Result<(), Errno> {
        pidfd_send_signal(&self.descriptor, Signal::TERM)
    }

    /// Waits for its end, and returns whether that came in time.
    pub(crate) fn has_ended_within(&self, patience: Duration) -> bool {
        let Ok(patience) = Timespec::try_from(patience) else {
            return false;
        };
        let mut ended = [PollFd::new(&self.descriptor, PollFlags::IN)];
        matches!(poll(&mut ended, Some(&patience)), Ok(1..))
    }
}

/// Accepts `[1-9][0-9]*` only: no sign, no blank, no leading zero, and never 0, which `kill` would
/// take for the caller's own process group.
pub(crate) fn process_id(text: &[u8]) -> Option<Pid> {
    if text.first() == Some(&b'0') || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .and_then(Pid::from_raw)
}

/// A thread has an entry below `/proc` too, and a zombie keeps its name; neither can be stopped.
fn is_live_leader(status: &str, pid: Pid) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':')?.split_ascii_whitespace().next()
    };
    let leader = field("Tgid").and_then(|group| group.parse().ok()) == Some(pid.as_raw_nonzero());
    let alive = field("State").is_some_and(|state| !matches!(state, "Z" | "X" | "x"));
    leader && alive
}

/// The 22nd field of proc_pid_stat(5). The second may hold blanks and parentheses, so it is counted
/// from behind it.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn read_bounded(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_PROC_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The name that the kernel shows for a compile server, whoever started it.
const SERVER_NAME: &str = "stap-serverd";

/// Far above what these files of `/proc` hold.
const MAX_PROC_FILE: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_positive_number_is_a_process_id() {
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "01",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "abc",
            "99999999999999",
        ] {
            assert_eq!(process_id(text.as_bytes()), None, "{text:?} was accepted");
        }
        assert_eq!(process_id(b"3124"), Pid::from_raw(3124));
    }

    #[test]
    fn a_thread_or_a_zombie_is_not_a_server() {
        let pid = Pid::from_raw(7).unwrap();
        let status = |state, group| format!("Name:\tx\nState:\t{state}\nTgid:\t{group}\nPid:\t7\n");
        assert!(is_live_leader(&status("S (sleeping)", 7), pid));
        assert!(is_live_leader(&status("T (stopped)", 7), pid));
        assert!(!is_live_leader(&status("Z (zombie)", 7), pid));
        assert!(!is_live_leader(&status("S (sleeping)", 6), pid));
        assert!(!is_live_leader("", pid));
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_start_time() {
        let fields = (3..=22).map(|number| number.to_string());
        let fields = fields.collect::<Vec<_>>().join(" ");
        assert_eq!(start_time(&format!("7 (a) b (c)) {fields}")), Some(22));
        assert_eq!(start_time("7 (short) S 1"), None);
    }
}
