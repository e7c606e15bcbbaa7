//! What a coordinator may rely on, with a real worker, real jails and a stand-in for stap, as root
//! and as an ordinary user.
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that needs it"
)]

mod confined;
mod hostile;
mod limits;
mod support;
mod view;

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use stap_protocol::job::{FromWorker, Layer, LayerState, Outcome, ReleaseChoice, Report, ToWorker};
use support::{Site, User, Worker, bases_of, processes_with, until};

/// Runs a test once for each kind of user that can be had here.
fn as_each_user(test: impl Fn(&Site)) {
    for user in User::all() {
        test(&Site::of(user));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn limit_of(report: &Report) -> (&str, &str) {
    match &report.outcome {
        Outcome::LimitReached {
            limit,
            value,
            class,
            ..
        } => {
            assert_eq!(class, "shared-host");
            (limit, value)
        }
        _ => panic!("no limit was reached: {report:?}"),
    }
}

/// A mark that no other process on this host has in its command line.
fn mark() -> String {
    let name = tempfile::tempdir().unwrap();
    name.path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .replace('.', "mark")
}

fn is_enforced(worker: &Worker, name: &str) -> bool {
    let layers = &worker.readiness().layers;
    let layer = layers.iter().find(|layer| layer.name == name).unwrap();
    layer.state == LayerState::Enforced
}

#[test]
fn results_and_words_come_back_and_hostile_results_do_not() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        let report = worker.run_shell(
            "echo module > $results/good.ko; ln -s /etc/passwd $results/bad.ko 2>/dev/null; \
             mkfifo $results/fifo.ko; mkdir $results/directory.ko; echo x > $results/x_src.c; \
             echo out; echo error >&2; exit 3",
        );
        assert_eq!(report.outcome, Outcome::Exited { code: 3 });
        assert_eq!(
            (text(&report.stdout), text(&report.stderr)),
            ("out\n".into(), "error\n".into())
        );
        let names: Vec<_> = report
            .files
            .iter()
            .map(|file| file.name.to_string())
            .collect();
        assert_eq!(names, ["good.ko"]);
        assert_eq!(report.files[0].content, b"module\n");
        assert!(report.usage.wall > std::time::Duration::ZERO);
        worker.hang_up();
    });
}

#[test]
fn as_root_jobs_that_run_at_once_have_different_uids_and_none_is_root() {
    if !User::all().contains(&User::Root) {
        return;
    }
    let site = Site::of(User::Root);
    let mut worker = site.start(site.configuration(&[]));
    let marks = [mark(), mark()];
    for mark in &marks {
        let job = worker.job(&format!("exec tail -f /dev/null {mark}"));
        worker.submit(job);
    }
    let uids = marks.map(|mark| {
        // Once it was found it stays; while it becomes another program it has no arguments for a moment.
        let mut found = Vec::new();
        until("the job runs", || {
            found = processes_with(&mark);
            found.len() == 1
        });
        std::fs::metadata(format!("/proc/{}", found[0]))
            .unwrap()
            .uid()
    });
    // Other servers of root may have the first ones.
    assert!(
        uids.iter().all(|uid| (64_000..65_024).contains(uid)),
        "{uids:?}"
    );
    assert_ne!(uids[0], uids[1]);
    worker.hang_up();
}

#[test]
fn time_is_limited() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[("wall", "\"1 s\"")]));
        let mark = mark();
        let report = worker.run_shell(&format!(
            "trap '' TERM INT HUP; setsid tail -f /dev/null {mark} & tail -f /dev/null {mark}"
        ));
        assert_eq!(limit_of(&report), ("wall", "1 s"));
        assert_eq!(
            processes_with(&mark),
            [""; 0],
            "the job outlived its report"
        );
        worker.hang_up();
    });
}

#[test]
fn processor_time_is_limited() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[("cpu", "\"1 s\"")]));
        let report = worker.run_shell("while :; do :; done");
        assert_eq!(limit_of(&report), ("cpu", "1 s"));
        worker.hang_up();
    });
}

#[test]
fn the_workspace_is_limited() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[("workspace", "\"1 MiB\"")]));
        let report = worker.run_shell("head -c 2000000 /dev/zero > big");
        assert_eq!(limit_of(&report), ("workspace", "1 MiB"));
        worker.hang_up();
    });
}

#[test]
fn memory_and_processes_are_limited_where_there_are_control_groups() {
    as_each_user(|site| {
        let changes = [("memory", "\"64 MiB\""), ("processes", "16")];
        let mut worker = site.start(site.configuration(&changes));
        if !is_enforced(&worker, "cgroup") {
            assert_ne!(site.user, User::Root, "root has no control groups");
            return;
        }
        // A compiler that runs out of memory looks like a compile error: its parent just fails.
        let report = worker.run_shell("head -c 200000000 /dev/zero | tail -c 199999999; exit 1");
        assert_eq!(limit_of(&report), ("memory", "64 MiB"));
        let report = worker.run_shell("sh -c 'while :; do tail -f /dev/null & done'; exit 1");
        assert_eq!(limit_of(&report), ("processes", "16"));
        assert!(report.usage.peak_memory.is_some_and(|peak| peak > 0));
        worker.hang_up();
    });
}

#[test]
fn output_is_cut_or_the_job_killed_as_the_policy_says() {
    as_each_user(|site| {
        let flood = "head -c 5000000 /dev/zero; echo the end >&2";
        let mut worker = site.start(site.configuration(&[("stdout", "\"64 KiB\"")]));
        let report = worker.run_shell(flood);
        assert_eq!(report.outcome, Outcome::Exited { code: 0 });
        assert_eq!(report.stdout.len(), 64 << 10);
        assert!(
            text(&report.stderr).contains("the end"),
            "the job was held up"
        );
        assert!(text(&report.stderr).contains("the rest of stdout"));
        worker.hang_up();
        let changes = [("stdout", "\"64 KiB\""), ("on-flood", "\"kill\"")];
        let mut worker = site.start(site.configuration(&changes));
        let report = worker.run_shell("while :; do echo flood; done");
        assert_eq!(limit_of(&report), ("stdout", "64 KiB"));
        worker.hang_up();
    });
}

#[test]
fn a_cancelled_job_is_gone_when_its_report_comes() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        let mark = mark();
        let job = worker.job(&format!(
            "setsid tail -f /dev/null {mark} & tail -f /dev/null {mark}"
        ));
        let id = worker.submit(job);
        assert_eq!(worker.started(), id);
        until("the job runs", || processes_with(&mark).len() >= 2);
        worker.say(&ToWorker::Cancel { id });
        assert_eq!(worker.done().1.outcome, Outcome::Cancelled);
        assert_eq!(processes_with(&mark), [""; 0]);
        assert!(worker.hang_up().success());
    });
}

#[test]
fn no_more_jobs_run_than_there_are_slots_and_waiting_ones_can_be_cancelled() {
    as_each_user(|site| {
        let mut configuration = site.configuration(&[]);
        configuration.slots = 1;
        let mut worker = site.start(configuration);
        let first = worker.submit(worker.job("tail -f /dev/null"));
        assert_eq!(worker.started(), first);
        let second = worker.submit(worker.job("echo second"));
        let third = worker.submit(worker.job("echo third"));
        worker.say(&ToWorker::Cancel { id: second });
        // The second never started, or this would be its `Started`.
        let (done, report) = worker.done();
        assert_eq!((done, report.outcome), (second, Outcome::Cancelled));
        worker.say(&ToWorker::Cancel { id: first });
        assert_eq!(worker.done().0, first);
        assert_eq!(worker.started(), third);
        assert_eq!(text(&worker.done().1.stdout), "third\n");
        worker.hang_up();
    });
}

#[test]
fn jobs_die_with_the_worker_and_the_next_one_clears_up() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        let mark = mark();
        let job = worker.job(&format!(
            "setsid tail -f /dev/null {mark} & tail -f /dev/null {mark}"
        ));
        worker.submit(job);
        worker.started();
        until("the job runs", || processes_with(&mark).len() >= 2);
        let pid = worker.child.id();
        worker.child.kill().unwrap();
        worker.child.wait().unwrap();
        until("the job dies with its worker", || {
            processes_with(&mark).is_empty()
        });
        let next = site.start(site.configuration(&[]));
        // A worker of another test may be about to remove them.
        until("the control groups of the dead worker are gone", || {
            bases_of(pid).is_empty()
        });
        next.hang_up();
    });
}

#[test]
fn a_coordinator_that_hangs_up_takes_all_jobs_along() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        let mark = mark();
        for _ in 0..3 {
            let job = worker.job(&format!("tail -f /dev/null {mark}"));
            worker.submit(job);
        }
        until("two jobs run", || processes_with(&mark).len() >= 2);
        assert!(worker.hang_up().success());
        assert_eq!(processes_with(&mark), [""; 0]);
        let left = std::fs::read_dir(site.path("temporary")).unwrap().count();
        assert_eq!(left, 0, "temporary directories are left");
    });
}

#[test]
fn a_workspace_is_kept_for_who_asks() {
    as_each_user(|site| {
        let mut configuration = site.configuration(&[]);
        configuration.keep = true;
        let mut worker = site.start(configuration);
        worker.run_shell("echo kept > $results/x_src.c; mkfifo $results/link");
        worker.hang_up();
        let kept = std::fs::read_dir(site.path("temporary"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let results = kept.path().join("response/stap000000");
        assert_eq!(
            std::fs::read_to_string(results.join("x_src.c")).unwrap(),
            "kept\n"
        );
        assert!(!results.join("link").exists());
    });
}

#[test]
fn without_a_file_system_of_its_own_a_job_works_in_a_directory_that_goes_with_it() {
    as_each_user(|site| {
        let changes = [("mount", "\"off\""), ("proc", "\"off\"")];
        let mut worker = site.start(site.configuration(&changes));
        let report = worker.run_shell("pwd; echo module > $results/good.ko; cat /etc/shadow");
        assert_eq!(report.files.len(), 1, "{report:?}");
        let seen = text(&report.stdout);
        let temporary = site.path("temporary");
        assert!(seen.starts_with(temporary.to_str().unwrap()), "{seen}");
        assert!(
            report
                .private_directories
                .iter()
                .any(|path| seen.trim() == path.to_str().unwrap())
        );
        assert!(
            text(&report.stderr).contains("Permission denied"),
            "it read /etc/shadow"
        );
        assert_eq!(
            std::fs::read_dir(temporary).unwrap().count(),
            0,
            "the directory is left"
        );
        worker.hang_up();
    });
}

#[test]
fn strict_works_with_every_layer_and_not_without() {
    as_each_user(|site| {
        let mut configuration = site.configuration(&[]);
        configuration.policy = stap_policy::builtin::STRICT.to_owned();
        let mut worker = site.spawn(configuration);
        match worker.hear() {
            FromWorker::Ready(readiness) => {
                let absent = |layer: &&Layer| layer.state == LayerState::Absent;
                let names = readiness
                    .layers
                    .iter()
                    .filter(absent)
                    .map(|layer| &layer.name);
                assert!(names.eq(match site.user {
                    User::Root => [].as_slice(),
                    User::Ordinary => &["slot-uid"],
                }));
            }
            FromWorker::NotReady { reason } => {
                assert_eq!(site.user, User::Ordinary, "{reason}");
                assert!(reason.contains("strict requires"), "{reason}");
                assert!(reason.contains("Delegate=yes"), "no remedy: {reason}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_cannot_work_is_refused_with_the_remedy() {
    as_each_user(|site| {
        let refusal = |change: &dyn Fn(&mut stap_protocol::job::Configuration)| {
            let mut configuration = site.configuration(&[]);
            change(&mut configuration);
            let mut worker = site.spawn(configuration);
            match worker.hear() {
                FromWorker::NotReady { reason } => reason,
                other => panic!("it works: {other:?}"),
            }
        };
        let unknown = refusal(&|configuration| configuration.policy.push_str("\nmoat = 1\n"));
        assert!(unknown.contains("unknown field `moat`"), "{unknown}");
        let missing = refusal(&|configuration| {
            configuration.stap = None;
            configuration.roots = Vec::new();
            configuration.releases = vec![ReleaseChoice::Release("9.9.9".to_owned())];
        });
        assert!(
            missing.contains("kernel release 9.9.9 was asked for"),
            "{missing}"
        );
        let open = refusal(&|configuration| configuration.cache = "/".into());
        assert!(open.contains("chmod 700"), "{open}");
        let no_root = refusal(&|configuration| configuration.roots = vec!["/no/such".into()]);
        assert!(no_root.contains("/no/such cannot be opened"), "{no_root}");
    });
}

#[test]
fn started_by_hand_it_says_who_starts_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stap-worker"));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("start `stap-serverd` instead"));
}

#[test]
fn a_job_whose_module_is_to_be_signed_meets_the_strict_limits_first() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        let flood = "head -c 2000000 /dev/zero; exit 0";
        let usual = worker.job(flood);
        assert_eq!(worker.run(usual).outcome, Outcome::Exited { code: 0 });
        let mut signed = worker.job(flood);
        signed.to_be_signed = true;
        let report = worker.run(signed);
        let Outcome::LimitReached { limit, class, .. } = &report.outcome else {
            panic!("strict kills what writes too much: {report:?}");
        };
        assert_eq!(limit, "stdout");
        assert!(class.starts_with("strict"), "{class}");
    });
}
