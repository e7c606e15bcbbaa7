//! Processor time, as the kernel counted it.
//!
//! What we start ourselves is read from getrusage(2), which adds up every descendant that was waited
//! for, in microseconds. A server goes on running, so it is read from `/proc/PID/stat` of its
//! processes: their own time, and that of the descendants that they have waited for. Those are in
//! hundredths of a second, rounded down, so that one reading may be off by one and a mean over
//! many is what counts. Nothing is read before the last job is gone.

use std::fs;
use std::ops::{Add, Sub};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use stap_tests::process;
use stap_tests::server::Server;
use stap_tests::wait;

use crate::ways::Way;

/// User and system time together of everybody who takes part.
#[derive(Clone, Copy, Default)]
pub(crate) struct Account {
    /// What this program has started and waited for: bare stap, or the client.
    pub(crate) ours: Duration,
    /// `stap-serverd`, stock or ours.
    pub(crate) coordinator: Duration,
    /// `stap-worker`.
    pub(crate) worker: Duration,
    /// What ran in jails, `stap-jail` included; all that a stock server has started.
    pub(crate) jailed: Duration,
}

impl Account {
    /// Reads the accounts of this program's children.
    pub(crate) fn of_children() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel always tells");
        let both = usage.user_time() + usage.system_time();
        let micros = u64::try_from(both.num_microseconds()).expect("time is never negative");
        Self {
            ours: Duration::from_micros(micros),
            ..Self::default()
        }
    }

    /// Reads them and those of the server of a way.
    pub(crate) fn of(way: Way, server: Option<&Server>) -> Self {
        match (way, server) {
            (_, None) => Self::of_children(),
            (Way::Stock, Some(server)) => Self::with_stock(server),
            (_, Some(server)) => Self::with(server),
        }
    }

    /// Reads them and those of a server of ours that has nothing left to do.
    pub(crate) fn with(server: &Server) -> Self {
        let worker = worker_of(server);
        wait_for_children_of(worker);
        let (coordinator, _) = times(server.pid);
        let (worker, jailed) = times(worker);
        Self {
            coordinator,
            worker,
            jailed,
            ..Self::of_children()
        }
    }

    fn with_stock(server: &Server) -> Self {
        wait_for_children_of(server.pid);
        let (coordinator, jailed) = times(server.pid);
        Self {
            coordinator,
            jailed,
            ..Self::of_children()
        }
    }

    /// Everybody's.
    pub(crate) fn total(self) -> Duration {
        self.ours + self.server()
    }

    /// Everybody's but the client's.
    pub(crate) fn server(self) -> Duration {
        self.coordinator + self.worker + self.jailed
    }
}

impl Sub for Account {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            ours: self.ours - earlier.ours,
            coordinator: self.coordinator - earlier.coordinator,
            worker: self.worker - earlier.worker,
            jailed: self.jailed - earlier.jailed,
        }
    }
}

impl Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            ours: self.ours + other.ours,
            coordinator: self.coordinator + other.coordinator,
            worker: self.worker + other.worker,
            jailed: self.jailed + other.jailed,
        }
    }
}

fn wait_for_children_of(parent: i32) {
    wait::until_true("the last job is gone", || {
        process::all().iter().all(|other| other.parent != parent)
    });
}

fn worker_of(server: &Server) -> i32 {
    let workers = process::named("stap-worker");
    let mut own = workers.iter().filter(|worker| worker.parent == server.pid);
    own.next().expect("a server keeps its worker").pid
}

/// The time of a process and of what it has waited for; see proc_pid_stat(5).
fn times(pid: i32) -> (Duration, Duration) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    times_in(&stat, rustix::param::clock_ticks_per_second())
}

fn times_in(stat: &str, ticks_per_second: u64) -> (Duration, Duration) {
    let (_, behind_name) = stat.rsplit_once(')').expect("a name is in parentheses");
    let ticks: Vec<u64> = behind_name
        .split_whitespace()
        .skip(BEFORE_TIMES)
        .take(4)
        .map(|word| word.parse().expect("times are whole numbers"))
        .collect();
    let tick =
        Duration::from_secs(1) / u32::try_from(ticks_per_second).expect("a tick is not that short");
    let time = |ticks: u64| tick * u32::try_from(ticks).expect("a server is not that old");
    (time(ticks[0] + ticks[1]), time(ticks[2] + ticks[3]))
}

/// The fields from the state up to the times.
const BEFORE_TIMES: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_s_own_time_and_that_of_its_children_are_told_apart() {
        // proc_pid_stat(5): 14 to 17 are utime, stime, cutime and cstime.
        let stat =
            "77 (a) S 1 (b) S 1 77 77 0 -1 4194560 900 800 7 6 100 20 3000 400 20 0 1 0 5 6 7\n";
        let (own, children) = times_in(stat, 100);
        assert_eq!(own, Duration::from_millis(1200));
        assert_eq!(children, Duration::from_secs(34));
    }

    #[test]
    fn the_server_is_everybody_but_the_client() {
        let account = |unit: u64| Account {
            ours: Duration::from_secs(unit),
            coordinator: Duration::from_secs(unit * 10),
            worker: Duration::from_secs(unit * 100),
            jailed: Duration::from_secs(unit * 1000),
        };
        let spent = account(3) - account(1);
        assert_eq!(spent.total(), Duration::from_secs(2222));
        assert_eq!(spent.server(), Duration::from_secs(2220));
        assert_eq!((spent + account(1)).total(), Duration::from_secs(3333));
    }
}
