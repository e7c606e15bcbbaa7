//! What an operator hears who has his policy checked.

use stap_policy::{Fault, Host, Places, Policy, PolicyError, builtin};

const HOST: Host = Host {
    memory: Some(8 << 30),
    processors: 4,
    slots: 4,
};

fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = builtin::SHARED_HOST.to_owned();
    for (old, new) in changes {
        assert!(
            text.contains(old),
            "the built-in file no longer holds {old:?}"
        );
        text = text.replacen(old, new, 1);
    }
    text
}

fn error(changes: &[(&str, &str)]) -> PolicyError {
    Policy::parse(&changed(changes)).expect_err("a bad policy was accepted")
}

fn reasons(error: &PolicyError) -> Vec<&str> {
    error.faults().map(Fault::reason).collect()
}

fn doubts(changes: &[(&str, &str)], host: &Host) -> Vec<Fault> {
    let text = changed(changes);
    let policy = Policy::parse(&text).expect("the change makes no fault");
    policy.doubts(&text, host)
}

#[test]
fn every_fault_is_told_in_the_order_of_the_file() {
    let error = error(&[
        ("\"-e\"", "\"-ef\""),
        ("wall            = \"300 s\"", "wall = \"25 h\""),
        ("open-files      = 1024\n", ""),
        ("seccomp          = \"require\"", "seccomp = \"always\""),
        ("arguments  = 1024", "argument  = 1024"),
    ]);
    let reasons = reasons(&error);
    let beginnings = [
        "unknown variant `always`",
        "missing field `open-files` in [limits]; the default class has `open-files = 1024`",
        "90000 s is out of range",
        "unknown field `argument`; did you mean `arguments`?",
        "\"-ef\" is no option",
    ];
    assert_eq!(reasons.len(), beginnings.len(), "{reasons:#?}");
    for (reason, beginning) in reasons.iter().zip(beginnings) {
        assert!(reason.starts_with(beginning), "{reason}");
    }
    let shown = error.to_string();
    assert_eq!(
        shown.matches(" | ").count(),
        2 * beginnings.len(),
        "{shown}"
    );
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    for (old, new, reason) in [
        (
            "memory          =",
            "memroy =",
            "unknown field `memroy`; did you mean `memory`?",
        ),
        (
            "[slots]",
            "[slot]",
            "unknown field `slot`; did you mean `slots`?",
        ),
        (
            "uid-base = 64000",
            "uid-base = 64000\nwall = \"1 s\"",
            "unknown field `wall`; it belongs into [limits]",
        ),
        (
            "uid-base = 64000",
            "uid-base = 64000\nmoat = 1",
            "unknown field `moat`",
        ),
    ] {
        assert_eq!(reasons(&error(&[(old, new)])), [reason]);
    }
}

#[test]
fn several_faults_of_grammar_are_told_together() {
    let error = error(&[("\"-e\"", "\"-e"), ("[slots]", "[slots")]);
    assert!(error.faults().count() >= 2, "{error}");
}

#[test]
fn a_text_with_endless_faults_is_answered_with_the_first() {
    let many: String = (0..5000)
        .map(|number| format!("key{number} = 1\n"))
        .collect();
    let text = format!("{many}{}", builtin::SHARED_HOST);
    let error = Policy::parse(&text).expect_err("it has five thousand unknown keys");
    assert_eq!(error.faults().count(), 21);
    assert_eq!(
        error.faults().last().unwrap().reason(),
        "and 4980 more faults"
    );
}

#[test]
fn values_that_make_no_sense_together_are_doubted_at_their_place() {
    for (old, new, field, words) in [
        (
            "workspace       = \"256 MiB\"",
            "workspace = \"2 GiB\"",
            "workspace =",
            "more than `memory`, 1 GiB",
        ),
        (
            "cpu             = \"300 s\"",
            "cpu = \"1201 s\"",
            "cpu =",
            "it gets 1200 s",
        ),
        (
            "connections-per-peer = 64",
            "connections-per-peer = 300",
            "connections-per-peer",
            "one peer can take all",
        ),
        (
            "memory          = \"1 GiB\"",
            "memory = \"3 GiB\"",
            "memory =",
            "4 jobs at a time may use 3 GiB each",
        ),
        (
            "no-new-privs     = \"require\"",
            "no-new-privs = \"off\"",
            "seccomp ",
            "rests on `no-new-privs`, which is off",
        ),
    ] {
        let changes = [(old, new)];
        let doubts = doubts(&changes, &HOST);
        assert_eq!(doubts.len(), 1, "{new}: {doubts:?}");
        assert!(doubts[0].reason().contains(words), "{}", doubts[0]);
        let text = changed(&changes);
        let line = text.lines().nth(doubts[0].line().unwrap() - 1).unwrap();
        assert!(line.starts_with(field), "{new} is doubted at {line:?}");
    }
}

#[test]
fn what_does_not_fit_into_a_workspace_is_doubted() {
    let small = doubts(
        &[("workspace       = \"256 MiB\"", "workspace = \"16 MiB\"")],
        &HOST,
    );
    let reasons: Vec<_> = small.iter().map(Fault::reason).collect();
    let beginnings = ["files are in", "results are taken", "a request is unpacked"];
    assert_eq!(reasons.len(), beginnings.len(), "{reasons:#?}");
    for (reason, beginning) in reasons.iter().zip(beginnings) {
        assert!(reason.starts_with(beginning), "{reason}");
    }
}

#[test]
fn the_classes_of_the_program_leave_no_doubt_on_an_ordinary_host() {
    for (name, text) in builtin::ALL {
        let doubts = Policy::builtin(name).unwrap().doubts(text, &HOST);
        assert!(doubts.is_empty(), "{name}: {doubts:?}");
    }
}

#[test]
fn a_rule_is_found_by_its_line() {
    let places = Places::of(builtin::SHARED_HOST).unwrap();
    let line_at = |number: Option<usize>| {
        builtin::SHARED_HOST
            .lines()
            .nth(number.unwrap() - 1)
            .unwrap()
    };
    assert!(line_at(places.line("limits.memory")).starts_with("memory "));
    assert!(line_at(places.line_in("options.allow", "-g")).contains("\"-g\""));
    assert_eq!(places.line("limits.moat"), None);
    assert_eq!(places.line_in("options.allow", "-B"), None);
}
