//! Jobs that try to outlive their end, or to leave the worker with more than it can carry.

use std::fs;
use std::path::Path;

use stap_protocol::job::{FromWorker, Outcome};

use crate::support::processes_with;
use crate::{as_each_user, mark};

/// The bytes that all files below a directory say they have.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let sizes = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => bytes_below(&entry.path()),
        metadata => metadata.len(),
    });
    sizes.sum()
}

#[test]
fn a_workspace_that_is_kept_takes_no_more_room_than_it_may_hold() {
    as_each_user(|site| {
        let mut configuration = site.configuration(&[("workspace", "\"1 MiB\"")]);
        configuration.keep = true;
        let mut worker = site.start(configuration);
        // Holes and second names cost nothing where the job makes them, and all of it in a copy.
        let report = worker.run_shell(
            "head -c 300000 /dev/zero > first; for name in 1 2 3 4 5 6 7 8; do \
             truncate -s 1000000 sparse$name && ln first link$name; done",
        );
        assert_eq!(report.outcome, Outcome::Exited { code: 0 }, "{report:?}");
        worker.hang_up();
        let kept = bytes_below(&site.path("temporary"));
        assert!(kept <= 1 << 20, "{kept} bytes are kept");
    });
}

#[test]
fn a_directory_that_cannot_be_listed_or_has_no_end_is_removed_all_the_same() {
    as_each_user(|site| {
        let changes = [("mount", "\"off\""), ("proc", "\"off\"")];
        let mut worker = site.start(site.configuration(&changes));
        let closed = worker.run_shell("mkdir -p a/b; echo x > a/b/c; chmod 0 a/b a");
        assert_eq!(closed.outcome, Outcome::Exited { code: 0 }, "{closed:?}");
        // Every level of a recursion costs a descriptor and some stack.
        let deep = worker.run_shell(
            "down=$(printf 'd/%.0s' $(seq 1200)); for round in 1 2; do \
             mkdir -p $down && cd -P $down || exit 1; done; echo deep",
        );
        assert_eq!(deep.stdout, b"deep\n", "{deep:?}");
        worker.hang_up();
        let left = fs::read_dir(site.path("temporary")).unwrap().count();
        assert_eq!(left, 0, "a workspace is left on the disk");
    });
}

#[test]
fn a_host_that_cannot_end_a_job_for_certain_gets_none() {
    as_each_user(|site| {
        let off = |name| (name, "\"off\"");
        let changes = ["pid", "proc", "cgroup", "landlock"].map(off);
        // Landlock keeps the launcher alive, and the launcher finds whatever the job left.
        let mut worker = site.start(site.configuration(&changes[..3]));
        let mark = mark();
        worker.run_shell(&format!(
            "setsid sh -c 'trap \"\" TERM HUP; tail -f /dev/null {mark} & wait' & kill -KILL $PPID; wait"
        ));
        assert_eq!(processes_with(&mark), [""; 0], "a process outlived its job");
        worker.hang_up();
        let mut worker = site.spawn(site.configuration(&changes));
        match worker.hear() {
            FromWorker::NotReady { reason } => assert!(reason.contains("live on"), "{reason}"),
            other => panic!("it works: {other:?}"),
        }
    });
}
