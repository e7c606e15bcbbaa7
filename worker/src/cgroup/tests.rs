//! The drivers on the real kernel. Where this host has no groups for us, the tests say so and pass,
//! unless `STAP_TEST_REQUIRE` names `cgroup`.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use stap_policy::Policy;

use super::*;

fn hierarchy() -> Option<Hierarchy> {
    match Hierarchy::claim() {
        Ok(hierarchy) => Some(hierarchy),
        Err(error) => {
            let required = std::env::var("STAP_TEST_REQUIRE").unwrap_or_default();
            assert!(
                !required.contains("cgroup"),
                "cgroup is required here: {error}"
            );
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn limits(changes: &[(&str, &str)]) -> Limits {
    let changed = |line: &str| {
        let key = line.split_whitespace().next();
        let change = changes.iter().find(|(name, _)| Some(*name) == key);
        change.map_or_else(
            || line.to_owned(),
            |(name, value)| format!("{name} = {value}"),
        )
    };
    let text: Vec<_> = stap_policy::builtin::SHARED_HOST
        .lines()
        .map(changed)
        .collect();
    *Policy::parse(&text.join("\n")).unwrap().limits()
}

/// A shell that waits for a line before it does anything, so that it can be put into a group first.
fn waiting(script: &str) -> Child {
    let script = format!("read line; {script}");
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run_in(group: &Group, script: &str) -> std::process::ExitStatus {
    let mut child = waiting(script);
    group.enter(Pid::from_child(&child)).unwrap();
    drop(child.stdin.take());
    child.wait().unwrap()
}

fn wait_until_empty(group: &Group) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !group.is_empty().unwrap() {
        assert!(
            Instant::now() < deadline,
            "killed processes are still there"
        );
        std::thread::yield_now();
    }
}

/// One test for all, because a process has one base.
#[test]
fn a_group_limits_and_kills_whole_trees_and_leaves_nothing() {
    let Some(hierarchy) = hierarchy() else { return };
    memory_is_bounded(&hierarchy);
    processes_are_bounded(&hierarchy);
    a_tree_that_fights_back_is_killed(&hierarchy);
    let pid = std::process::id().to_string();
    let described = hierarchy.describe();
    assert!(described.contains(&pid), "{described}");
    drop(hierarchy);
    let base = described
        .split_whitespace()
        .find(|word| word.contains(&pid))
        .unwrap();
    assert!(
        !std::path::Path::new(base.trim_end_matches(';')).exists(),
        "the base is left"
    );
}

fn memory_is_bounded(hierarchy: &Hierarchy) {
    let limits = limits(&[("memory", "\"16 MiB\"")]);
    let group = hierarchy.create("memory", &limits).unwrap();
    assert!(run_in(&group, "head -c 1000 /dev/zero | tail -c 1000 >/dev/null").success());
    assert_eq!(group.hit(), None);
    let status = run_in(
        &group,
        "head -c 100000000 /dev/zero | tail -c 99999999 > /dev/null",
    );
    assert!(!status.success(), "100 MB fitted into 16 MiB");
    wait_until_empty(&group);
    assert_eq!(group.hit(), Some(Hit::Memory));
    assert!(group.usage().cpu > Duration::ZERO);
    group.remove().unwrap();
}

fn processes_are_bounded(hierarchy: &Hierarchy) {
    let limits = limits(&[("processes", "8")]);
    let group = hierarchy.create("processes", &limits).unwrap();
    let status = run_in(
        &group,
        "for i in 1 2 3 4 5 6 7 8 9; do tail -f /dev/null & done; wait",
    );
    assert!(!status.success(), "ten processes fitted into eight");
    assert_eq!(group.hit(), Some(Hit::Processes));
    group.kill().unwrap();
    wait_until_empty(&group);
    group.remove().unwrap();
}

fn a_tree_that_fights_back_is_killed(hierarchy: &Hierarchy) {
    let group = hierarchy.create("tree", &limits(&[])).unwrap();
    let fight = "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM; tail -f /dev/null' & \
                 tail -f /dev/null & kill -STOP $!; echo fights; wait";
    let mut child = waiting(fight);
    group.enter(Pid::from_child(&child)).unwrap();
    drop(child.stdin.take());
    let mut said = [0; 7];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"fights\n");
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(!group.is_empty().unwrap());
    group.kill().unwrap();
    child.wait().unwrap();
    wait_until_empty(&group);
    group.remove().unwrap();
}
