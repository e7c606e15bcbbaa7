//! Jobs that try to outlive their end, or to leave the worker with more than it can carry.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use stap_jail::report::{Event, JobEnd, TreeUsage};
use stap_protocol::job::{FromWorker, Outcome};

use crate::support::{processes_with, until};
use crate::{as_each_user, is_enforced, mark};

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
fn a_workspace_on_disk_whose_worker_was_killed_is_removed_by_the_next_and_no_other_is() {
    as_each_user(|site| {
        let changes = [("mount", "\"off\""), ("proc", "\"off\"")];
        let count = || fs::read_dir(site.path("temporary")).unwrap().count();
        let mut dead = site.start(site.configuration(&changes));
        let mark = mark();
        let job = dead.job(&format!("chmod 0 .; tail -f /dev/null {mark}"));
        dead.submit(job);
        until("the job runs", || !processes_with(&mark).is_empty());
        dead.child.kill().unwrap();
        dead.child.wait().unwrap();
        until("the job dies", || processes_with(&mark).is_empty());
        assert_eq!(count(), 1, "there is nothing to remove");
        let mut living = site.start(site.configuration(&changes));
        assert_eq!(count(), 0, "the dead worker's workspace is left");
        living.submit(living.job("tail -f /dev/null"));
        until("there is a workspace", || count() == 1);
        let next = site.start(site.configuration(&changes));
        assert_eq!(count(), 1, "the living worker's workspace is gone");
        next.hang_up();
        living.hang_up();
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

/// The processes that a process started and that are not reaped yet.
fn children_of(parent: u32) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let is_child = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let stat = stat.unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
        fields.and_then(|fields| fields.split_whitespace().nth(1)) == Some(&parent.to_string())
    };
    pids.filter(is_child).collect()
}

#[test]
fn a_slot_in_which_something_may_be_left_is_not_used_again() {
    as_each_user(|site| {
        let mut configuration = site.configuration(&[]);
        configuration.slots = 1;
        let mut worker = site.start(configuration);
        let has_groups = is_enforced(&worker, "cgroup");
        let mark = mark();
        let job = worker.job(&format!("setsid tail -f /dev/null {mark} & wait"));
        worker.submit(job);
        worker.started();
        until("the job runs", || !processes_with(&mark).is_empty());
        for launcher in children_of(worker.child.id()) {
            kill_process(launcher, Signal::KILL).unwrap();
        }
        let (_, report) = worker.done();
        if has_groups {
            // The kernel says that the group is empty, whoever was killed.
            assert_eq!(report.outcome, Outcome::Signalled { signal: 9 });
            assert_eq!(processes_with(&mark), [""; 0]);
            assert_eq!(worker.run_shell("echo next").stdout, b"next\n");
            return;
        }
        let Outcome::WorkerFault { reason } = report.outcome else {
            panic!("nobody looked for survivors: {report:?}");
        };
        assert!(reason.contains("a job cannot be removed"), "{reason}");
        until("a worker without slots ends", || {
            worker.child.try_wait().unwrap().is_some()
        });
        until("the job dies with its launcher", || {
            processes_with(&mark).is_empty()
        });
    });
}

#[test]
fn a_jail_that_does_not_say_which_layers_hold_is_not_believed() {
    as_each_user(|site| {
        let end = Event::Ended {
            end: JobEnd::Exited(0),
            usage: TreeUsage::default(),
        };
        fs::write(site.path("end"), end.encode()).unwrap();
        let real = site.path("real");
        fs::rename(site.path("stap-jail"), &real).unwrap();
        let (real, end) = (real.display(), site.path("end"));
        site.program(
            "stap-jail",
            &format!(
                "#!/bin/sh\n[ $# -gt 0 ] && exec {real} \"$@\"\nhead -c 1 <&4\ncat {} >&5\n",
                end.display()
            ),
        );
        let mut worker = site.start(site.configuration(&[]));
        let outcome = worker.run_shell("true").outcome;
        let Outcome::WorkerFault { reason } = outcome else {
            panic!("a job without a jail is fine: {outcome:?}");
        };
        assert!(reason.contains("which layers hold"), "{reason}");
        worker.hang_up();
    });
}
