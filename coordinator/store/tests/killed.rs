//! A server may be killed at any moment: what it was keeping is there whole, or not at all.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::env;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::process::{Signal, getpid, kill_process};
use stap_protocol::job::{Job, Outcome, OutputFile, Report, Usage};
use stap_protocol::target::{TargetIdentity, TargetName};
use stap_store::{Bounds, Key, Shelf, Step, Tenant};

const DIRECTORY: &str = "STAP_TEST_KILLED_DIRECTORY";
const STEP: &str = "STAP_TEST_KILLED_STEP";
const BOUNDS: Bounds = Bounds {
    bytes: 1 << 20,
    entries: 8,
};

fn key() -> Key {
    let job = Job {
        request: String::new(),
        target: TargetName {
            release: "6.1.0".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        },
        arguments: vec![b"-p4".to_vec()],
        files: Vec::new(),
        locale: Vec::new(),
        to_be_signed: false,
    };
    Key::of(&job, &TargetIdentity([1; 32]), Tenant::Everybody)
}

fn report(module: &[u8]) -> Report {
    Report {
        outcome: Outcome::Exited { code: 0 },
        stdout: Vec::new(),
        stderr: Vec::new(),
        files: vec![OutputFile {
            name: "x.ko".try_into().unwrap(),
            content: module.repeat(10_000),
        }],
        private_directories: Vec::new(),
        usage: Usage::default(),
        is_whole: true,
    }
}

/// Not a test by itself: the process that is killed.
#[test]
fn keeps_a_result_and_dies() {
    let (Some(directory), Ok(step)) = (env::var_os(DIRECTORY), env::var(STEP)) else {
        return;
    };
    let shelf = Shelf::open(Path::new(&directory), BOUNDS, None).unwrap();
    let kept = shelf.put_in_steps(&key(), &report(b"new"), |taken| {
        if format!("{taken:?}") == step {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    });
    kept.unwrap();
}

fn killed_at(step: Step, directory: &Path) -> ExitStatus {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "keeps_a_result_and_dies"])
        .env(DIRECTORY, directory)
        .env(STEP, format!("{step:?}"))
        .output()
        .unwrap()
        .status
}

#[test]
fn a_kill_at_any_step_leaves_the_old_entry_or_the_new_one() {
    for step in Step::ALL {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("results");
        let shelf = Shelf::open(&directory, BOUNDS, None).unwrap();
        shelf.put(&key(), &report(b"old")).unwrap();
        let status = killed_at(step, &directory);
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9),
            "{step:?}: {status}"
        );
        let expected: &[u8] = if step > Step::Rename { b"new" } else { b"old" };
        let found = shelf.get(&key()).unwrap();
        assert_eq!(found, Some(report(expected)), "{step:?}");
        // Neither its lock nor what it left half done is in the way.
        shelf.put(&key(), &report(b"newer")).unwrap();
        assert_eq!(shelf.get(&key()), Ok(Some(report(b"newer"))), "{step:?}");
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            1,
            "{step:?}"
        );
    }
}
