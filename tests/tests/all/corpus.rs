//! The hostile corpus, family by family, as root and as an ordinary user; and that it is complete.

use std::collections::BTreeSet;

use stap_tests::command::Invocation;
use stap_tests::corpus::{self, Family};
use stap_tests::lab;

/// Every case of a family is contained for its reason and works without what holds it; nothing is
/// left, and a good job is still served.
fn is_contained(family: Family) {
    let corpus = Invocation::new(env!("CARGO_BIN_EXE_hostile-corpus"))
        .args(["--only", family.name()])
        .env("PATH", stap_tests::world::PATH);
    corpus.deadline(lab::SLOW).run().exits(0);
}

#[test]
fn code_in_a_job_is_contained() {
    is_contained(Family::Code);
}

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
