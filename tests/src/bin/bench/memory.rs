//! How much memory a server holds with everything that it has started, at most.
//!
//! Sums of proportional shares (`Pss` of `smaps_rollup`, proc_pid_smaps(5)), so that pages which many processes map are counted
//! once. They are read by turns as fast as the kernel tells, and what ends between two readings is not seen; the
//! true peak is a little higher for all servers alike. Files in memory, such as a job's workspace, belong to no process; they are the
//! growth of `Shmem` of `/proc/meminfo`, which is the whole machine's.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use stap_tests::process;

/// In bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Peak {
    pub(crate) processes: u64,
    pub(crate) files: u64,
}

/// Watches a process and its descendants while something is done.
pub(crate) fn during<T>(server: i32, work: impl FnOnce() -> T) -> (T, Peak) {
    let done = AtomicBool::new(false);
    let before = files_in_memory();
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = Peak::default();
            loop {
                // What is there when the work is done is read, too.
                let is_last = done.load(Ordering::Relaxed);
                peak.processes = peak.processes.max(held_by(server));
                peak.files = peak.files.max(files_in_memory().saturating_sub(before));
                if is_last {
                    return peak;
                }
                thread::park_timeout(BETWEEN);
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        (result, watcher.join().expect("reading does not panic"))
    })
}

impl Peak {
    pub(crate) fn total(self) -> u64 {
        self.processes + self.files
    }
}

/// Those whose parents are gone have ended or belong to nobody here.
fn held_by(root: i32) -> u64 {
    let all = process::all();
    let mut tree = HashSet::from([root]);
    loop {
        let known = tree.len();
        let children = all.iter().filter(|one| tree.contains(&one.parent));
        let children: Vec<_> = children.map(|child| child.pid).collect();
        tree.extend(children);
        if tree.len() == known {
            break;
        }
    }
    tree.iter().map(|pid| share(*pid)).sum()
}

fn share(pid: i32) -> u64 {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:") << 10
}

fn files_in_memory() -> u64 {
    kibibytes("/proc/meminfo", "Shmem:") << 10
}

/// Nothing for a process that has just ended.
fn kibibytes(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    number_in(&text, field)
}

fn number_in(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// Reading costs milliseconds of its own.
const BETWEEN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let text = "Rss:    900 kB\nPss:    512 kB\nPss_Dirty:   7 kB\nShmem:  3 kB\n";
        assert_eq!(number_in(text, "Pss:"), 512);
        assert_eq!(number_in(text, "Shmem:"), 3);
        assert_eq!(number_in("", "Pss:"), 0, "it has ended");
    }

    #[test]
    fn what_is_watched_is_seen_with_its_descendants() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (held, peak) = during(own, || vec![1_u8; 64 << 20]);
        assert!(peak.processes >= held.len() as u64, "{}", peak.processes);
    }
}
