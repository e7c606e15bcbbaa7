//! A jail that cannot be as planned is not a jail: nothing runs, and the worker learns why.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;
use stap_jail::layer::Layer;
use stap_jail::plan::Identity;

use crate::harness::{Trial, Who, everybody, is_root};

#[test]
fn root_without_a_slot_is_refused() {
    if !is_root() {
        println!("skipped: only root can try to be root");
        return;
    }
    let mut trial = Trial::new(Who::Root, &["effective-uid"]);
    trial.plan.identity = Identity::Keep;
    trial.plan.layers.remove(&Layer::SlotUid);
    let outcome = trial.run();
    assert_eq!(outcome.failed().0, "unprivileged");
}

#[test]
fn an_ordinary_user_cannot_take_a_slot() {
    let mut trial = Trial::new(Who::Ordinary, &["effective-uid"]);
    trial.plan.identity = Identity::Slot {
        uid: 64_000,
        gid: 64_000,
    };
    trial.plan.layers.insert(Layer::SlotUid);
    let outcome = trial.run();
    assert_eq!(outcome.failed().0, "slot-uid");
}

#[test]
fn a_job_whose_first_process_cannot_be_made_never_runs_and_the_reason_is_told() {
    // Without a user namespace the limit counts the launcher and the first process, too.
    let mut trial = Trial::new(Who::Ordinary, &["effective-uid"]).only(&[Layer::Rlimits]);
    trial.plan.limits.processes = 1;
    let outcome = trial.run();
    let (rung, reason) = outcome.failed();
    assert_eq!((rung, outcome.stdout.as_str()), ("start", ""));
    assert!(reason.contains("forking the job"), "{reason}");
}

#[test]
fn a_floor_above_the_kernels_landlock_ends_the_job_before_it_starts() {
    for who in everybody() {
        let mut trial = Trial::new(who, &["effective-uid"]);
        trial.plan.landlock_floor = 1000;
        let outcome = trial.run();
        let (rung, reason) = outcome.failed();
        assert_eq!((rung, outcome.stdout.as_str()), ("landlock", ""));
        assert!(reason.contains("the policy asks for 1000"), "{reason}");
    }
}

#[test]
fn a_file_that_would_replace_or_pass_through_another_is_refused() {
    for who in everybody() {
        for paths in [["request", "x"], ["a", "a"], ["a", "a/b"], ["a/b", "a"]] {
            let trial = Trial::new(who, &["effective-uid"]);
            let trial = paths
                .iter()
                .fold(trial, |trial, path| trial.file(path, b"x"));
            let outcome = trial.run();
            assert_eq!(
                (outcome.failed().0, outcome.stdout.as_str()),
                ("files", ""),
                "{paths:?}"
            );
        }
    }
}

#[test]
fn files_that_do_not_fit_the_workspace_are_refused_by_name() {
    for who in everybody() {
        let trial = Trial::new(who, &["effective-uid"]).file("request/big", &vec![0; 17 << 20]);
        let outcome = trial.run();
        let (rung, reason) = outcome.failed();
        assert_eq!(rung, "files");
        assert!(reason.contains("request/big"), "{reason}");
    }
}

#[test]
fn a_program_that_is_not_there_is_reported_and_is_no_end_of_a_job() {
    for who in everybody() {
        let outcome = Trial::new(who, &[])
            .command(&["/usr/bin/no-such-program"])
            .run();
        match outcome.events.as_slice() {
            [
                stap_jail::report::Event::Enforced { .. },
                stap_jail::report::Event::SetupFailed { rung, reason },
            ] => {
                assert_eq!(rung, "execute");
                assert!(reason.contains("/usr/bin/no-such-program"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_plan_that_cannot_be_read_is_refused() {
    for bytes in [&b"not a plan"[..], b""] {
        let outcome = Trial::new(Who::Ordinary, &["effective-uid"]).start_with(memory(bytes), b"g");
        assert_eq!(outcome.finish().failed().0, "plan");
    }
    let (reading, _writing) = rustix::pipe::pipe().unwrap();
    let outcome = Trial::new(Who::Ordinary, &["effective-uid"]).start_with(reading, b"g");
    assert_eq!(outcome.finish().failed().0, "plan");
}

#[test]
fn nothing_happens_before_the_worker_says_go() {
    let trial = Trial::new(Who::Ordinary, &["effective-uid"]);
    let plan = stap_jail::handover::plan_descriptor(&trial.plan).unwrap();
    let outcome = trial.start_with(plan, b"x").finish();
    assert_eq!(
        (outcome.failed().0, outcome.workspace.is_none()),
        ("go", true)
    );

    let trial = Trial::new(Who::Ordinary, &["effective-uid"]);
    let plan = stap_jail::handover::plan_descriptor(&trial.plan).unwrap();
    let mut running = trial.start_with(plan, b"");
    running.lifeline = None;
    let outcome = running.finish();
    assert!(
        outcome.events.is_empty() && outcome.workspace.is_none(),
        "{outcome:?}"
    );
}

fn memory(bytes: &[u8]) -> OwnedFd {
    let mut memory = File::from(rustix::fs::memfd_create(c"plan", MemfdFlags::CLOEXEC).unwrap());
    memory.write_all(bytes).unwrap();
    memory.into()
}
