//! The hostile corpus, family by family, as root and as an ordinary user; and that it is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use stap_jail::layer::Layer;
use stap_tests::command::Invocation;
use stap_tests::corpus::{self, Case, Family, Guard};
use stap_tests::lab;
use stap_tests::requirement;

/// Every case of a family is contained for its reason and works without what holds it; nothing is
/// left, and a good job is still served.
fn is_contained(family: Family) {
    is_contained_as("all", family, lab::SLOW);
}

/// The same where `who` starts the server. Returns what was said of each case.
fn is_contained_as(who: &str, family: Family, deadline: Duration) -> String {
    let mut corpus = Invocation::new(env!("CARGO_BIN_EXE_hostile-corpus"))
        .args(["--as", who, "--only", family.name()])
        .env("PATH", stap_tests::world::PATH);
    for (name, value) in requirement::handed_on() {
        corpus = corpus.env(name, value);
    }
    let finished = corpus.deadline(deadline).run();
    let said = finished.out();
    let mut other: Vec<_> = said
        .lines()
        .filter(|line| !line.starts_with("contained"))
        .collect();
    // What is wrong before what is only not here.
    other.sort_by_key(|line| line.starts_with("not here"));
    let (code, complaint) = (finished.code(), finished.err());
    assert!(
        code == Some(0),
        "{}\n{code:?}\n{complaint}",
        other.join("\n")
    );
    said
}

#[test]
fn code_in_a_job_is_contained() {
    is_contained(Family::Code);
}

#[test]
fn limits_of_a_job_hold_and_are_named() {
    is_contained(Family::Limits);
}

#[test]
fn nothing_of_a_job_is_left() {
    is_contained(Family::Leftovers);
}

#[test]
fn packages_are_refused_for_what_is_wrong_with_them() {
    is_contained(Family::Packages);
}

#[test]
fn abuse_at_the_door_ends_for_its_reason() {
    requirement::look_for_stock();
    is_contained(Family::Door);
}

#[test]
fn results_of_a_job_are_taken_safely() {
    requirement::look_for_stock();
    is_contained(Family::Results);
}

#[test]
fn scripts_through_the_real_stap_are_contained_by_a_server_of_roots() {
    scripts_are_contained("root");
}

/// Here they are also shown to work: against a stock server, and with stap itself.
#[test]
fn scripts_through_the_real_stap_are_contained_by_a_users_server() {
    scripts_are_contained("user");
}

/// A user who was given control groups has nothing that one of these two lacks.
fn scripts_are_contained(who: &str) {
    if !requirement::has_target_root() {
        return;
    }
    requirement::look_for_stock();
    let said = is_contained_as(who, Family::Scripts, COMPILES);
    let untried: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("not here"))
        .collect();
    assert!(untried.is_empty(), "there is a root for {untried:#?}");
}

/// For some fifty compiles, where nothing is warm and others keep the processors busy.
const COMPILES: Duration = Duration::from_secs(1200);

#[test]
fn every_rung_limit_and_promise_has_a_case() {
    let cases = corpus::all();
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
    let mut missing = Vec::new();
    let covered = |item: &str| cases.iter().any(|case| covers(case, item));
    let rungs = stap_jail::rungs().map(|name| format!("rung:{name}"));
    let limits = limits_of_a_policy().map(|name| format!("limit:{name}"));
    let items = ITEMS.iter().map(|item| format!("item:{item}"));
    missing.extend(
        rungs
            .chain(limits)
            .chain(items)
            .filter(|item| !covered(item)),
    );
    assert!(missing.is_empty(), "no case for {missing:#?}");
}

/// Whether a case names an item, or is held by the rung that it is.
fn covers(case: &Case, item: &str) -> bool {
    let rung = |guard: Guard| match (guard, guard.layer()) {
        (_, Some(Layer::CgroupNamespace)) => Some("cgroup"),
        (_, Some(layer)) => Some(layer.name()),
        (Guard::Rung(name), None) => Some(name),
        _ => None,
    };
    let mut rungs = case.guards.iter().filter_map(|held| rung(held.by));
    case.covers.contains(&item) || rungs.any(|rung| item == format!("rung:{rung}"))
}

/// The names of what a policy limits for one job.
fn limits_of_a_policy() -> impl Iterator<Item = &'static str> {
    let text = stap_policy::builtin::STRICT;
    let section = text.split("[limits]").nth(1).unwrap();
    let lines = section.split("\n[").next().unwrap().lines();
    lines.filter_map(|line| Some(line.split_once('=')?.0.trim()))
}

/// How many cases there are at least, all families together.
const LEAST: usize = 150;

/// What is promised: of jobs, that their whole tree ends, and that their world is clean; of packages, that
/// none of them is what it is not; of connections, that they end, and of users, that they have a share.
const ITEMS: &[&str] = &[
    "whole-tree kill",
    "lifeline",
    "swap",
    "IPC object, keyring entry, file",
    "files",
    "environment",
    "/dev",
    "/proc",
    "other processes",
    "no /sys",
    "read-only target root",
    "private /tmp",
    "setuid",
    "inherited descriptors",
    "abstract sockets",
    "path sockets",
    "network",
    "netlink",
    "vsock",
    "keyrings",
    "ptrace",
    "process_vm_readv",
    "io_uring",
    "userfaultfd",
    "bpf",
    "perf",
    "new namespaces",
    "setns",
    "mount API",
    "32-bit system calls",
    "x32 system calls",
    "seccomp itself",
    "SysV IPC",
    "POSIX IPC",
    "server keys",
    "cache",
    "cgroup writes",
    "another slot's workspace",
    "another target of the request",
    "pid 1",
    "oversize packages",
    "zip bombs",
    "lying headers",
    "nested packages",
    "many entries",
    "names that leave",
    "absolute names",
    "names with NUL",
    "long names",
    "duplicate names",
    "case tricks",
    "links",
    "targets of a request",
    "idle connections",
    "slow senders",
    "half-open handshakes",
    "slow readers",
    "cancelled with its client",
    "one user beside another",
    "when to come back",
    "a bounded log",
    "results: symbolic links",
    "results: hard links",
    "results: FIFOs",
    "results: devices",
    "results: directories that lead elsewhere",
    "results: sparse files",
    "results: files that change",
    "results: names",
];

#[test]
fn names_are_unique_and_every_case_has_what_holds_it() {
    let cases = corpus::all();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    for case in &cases {
        assert!(!case.guards.is_empty(), "{case:?} is held by nothing");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(case.name.bytes().all(plain), "{case:?}");
    }
}

#[test]
fn the_documentation_lists_every_case() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/isolation.md");
    let text = fs::read_to_string(&file).unwrap();
    let written = corpus::table::put_into(&text, &corpus::all()).unwrap();
    assert!(
        text == written,
        "run `target/debug/hostile-corpus --table docs/isolation.md`"
    );
}
