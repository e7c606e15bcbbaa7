//! What runs inside the lab, as `/proc` tells it.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command name, at most fifteen bytes.
    pub name: String,
    /// `R`, `S`, `Z`, ...
    pub state: char,
    /// The id of its parent.
    pub parent: i32,
}

impl Process {
    /// Reads one process; `None` when there is none of that id.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may itself contain any character.
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let mut fields = tail.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self {
            pid,
            name: name.to_owned(),
            state,
            parent,
        })
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.name == self.name && now.state != 'Z')
    }

    /// The real user id.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Ids of its threads.
    #[must_use]
    pub fn threads(&self) -> Vec<i32> {
        numbers(&PathBuf::from(format!("/proc/{}/task", self.pid)))
    }

    /// The arguments, joined by blanks.
    #[must_use]
    pub fn command_line(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }
}

/// Every process of the lab that runs.
#[must_use]
pub fn all() -> Vec<Process> {
    let running = numbers(&PathBuf::from("/proc"))
        .into_iter()
        .filter_map(Process::of);
    running.filter(|process| process.state != 'Z').collect()
}

/// Every process of a name that runs.
#[must_use]
pub fn named(name: &str) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|process| process.name == name)
        .collect()
}

/// Which network stack a process has, or this one; `None` when it has ended.
pub(crate) fn network(pid: Option<i32>) -> Option<PathBuf> {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

/// Every process that is neither the lab's first one nor this test.
#[must_use]
pub fn strangers() -> Vec<Process> {
    let own = i32::try_from(std::process::id()).expect("pids are positive integers");
    all()
        .into_iter()
        .filter(|process| process.pid != 1 && process.pid != own)
        .collect()
}

/// Sends a signal to a process of the lab; one that has ended is ignored.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid)
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        assert_eq!(
            error,
            rustix::io::Errno::SRCH,
            "sending {signal:?} to {pid:?}"
        );
    }
}

fn numbers(directory: &PathBuf) -> Vec<i32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
