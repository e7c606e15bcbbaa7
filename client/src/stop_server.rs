//! `stap-stop-server PID`: makes sure that PID is a compile server and asks it to end.
//!
//! It neither waits nor checks that the server goes away.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::diagnostics::Diagnostics;

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let diagnostics = Diagnostics::named(arguments.next().as_deref(), "stap-stop-server");
    let Some(pid) = arguments.next().filter(|pid| !pid.is_empty()) else {
        diagnostics.plain(format_args!("Usage: {} PROCESS_ID", diagnostics.program()));
        return ExitCode::FAILURE;
    };
    match stop(&pid) {
        Stop::Signalled => ExitCode::SUCCESS,
        // The status tells whether PID is a server, not whether it was ours to stop.
        Stop::NotPermitted => {
            diagnostics.plain(format_args!("{}: Operation not permitted", pid.display()));
            ExitCode::SUCCESS
        }
        Stop::NotAServer => {
            diagnostics.plain(format_args!("{} is not a systemtap server", pid.display()));
            ExitCode::FAILURE
        }
    }
}

enum Stop {
    Signalled,
    NotPermitted,
    NotAServer,
}

fn stop(text: &OsStr) -> Stop {
    let Some(pid) = process_id(text.as_bytes()) else {
        return Stop::NotAServer;
    };
    // The descriptor is taken before the check: when the process ends and its number is given to
    // another one in between, the signal goes to the process that ended, which is to nobody.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Stop::NotAServer;
    };
    if !is_server(pid).unwrap_or(false) {
        return Stop::NotAServer;
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Ok(()) => Stop::Signalled,
        Err(Errno::PERM) => Stop::NotPermitted,
        Err(_) => Stop::NotAServer,
    }
}

/// Accepts `[1-9][0-9]*` only: no sign, no blank, no leading zero, and never 0, which `kill` would
/// take for the caller's own process group.
fn process_id(text: &[u8]) -> Option<Pid> {
    if text.first() == Some(&b'0') || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .and_then(Pid::from_raw)
}

fn is_server(pid: Pid) -> io::Result<bool> {
    let directory = format!("/proc/{}", pid.as_raw_nonzero());
    let name = read_bounded(&format!("{directory}/comm"))?;
    let status = read_bounded(&format!("{directory}/status"))?;
    Ok(name == format!("{SERVER_NAME}\n") && is_live_leader(&status, pid))
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
}
