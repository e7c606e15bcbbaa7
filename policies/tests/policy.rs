//! What an operator may rely on when he writes a policy.

use std::time::Duration;

use proptest::prelude::*;
use stap_policy::{Demand, Isolation, OnFlood, Pass4, Policy, PolicyError, Privilege, builtin};

fn with(old: &str, new: &str) -> Result<Policy, PolicyError> {
    assert!(
        builtin::SHARED_HOST.contains(old),
        "the built-in file no longer holds {old:?}"
    );
    Policy::parse(&builtin::SHARED_HOST.replacen(old, new, 1))
}

fn fault(old: &str, new: &str) -> PolicyError {
    with(old, new).expect_err("a bad policy was accepted")
}

#[test]
fn every_builtin_class_can_be_read_and_bears_its_name() {
    for (name, _) in builtin::ALL {
        assert_eq!(Policy::builtin(name).unwrap().class(), name);
    }
    assert!(Policy::builtin(builtin::DEFAULT).is_ok_and(|policy| policy.class() == "shared-host"));
}

#[test]
fn values_are_read_with_their_units() {
    let policy = Policy::builtin("shared-host").unwrap();
    assert_eq!(policy.limits().wall.duration(), Duration::from_secs(300));
    assert_eq!(policy.limits().memory.bytes(), 1 << 30);
    assert_eq!(policy.limits().memory.to_string(), "1 GiB");
    assert_eq!(policy.limits().on_flood, OnFlood::Truncate);
    assert_eq!(policy.layers().demand("seccomp"), Some(Demand::Require));
    assert_eq!(policy.layers().demand("moat"), None);
}

#[test]
fn strict_requires_every_layer_that_needs_no_root_and_refuses_guru_mode() {
    let strict = Policy::builtin("strict").unwrap();
    for (layer, demand) in strict.layers().demands() {
        // A server that nobody gave root to has no uids to give away, and needs none.
        let expected = if layer == "slot-uid" {
            Demand::Try
        } else {
            Demand::Require
        };
        assert_eq!(demand, expected, "{layer}");
    }
    assert!(!strict.options().allows_guru());
    for letter in ['g', 'I', 'D', 'm', 'B', 'R', 'd'] {
        assert!(
            !strict.options().allows_short(letter),
            "-{letter} is allowed"
        );
    }
}

#[test]
fn no_class_lets_a_request_choose_programs_keys_or_limits() {
    for (name, _) in builtin::ALL {
        let policy = Policy::builtin(name).unwrap();
        for letter in ['B', 'R', 'k', 'q', 'i'] {
            assert!(
                !policy.options().allows_short(letter),
                "{name} allows -{letter}"
            );
        }
        for long in [
            "sign-module",
            "rlimit-cpu",
            "tmpdir",
            "sysroot",
            "download-debuginfo",
        ] {
            assert!(
                !policy.options().allows_long(long),
                "{name} allows --{long}"
            );
        }
        assert!(
            policy.options().allows_short('e'),
            "{name} allows no script"
        );
        assert!(
            policy.options().allows_privilege(Privilege::Stapusr),
            "{name}"
        );
    }
}

#[test]
fn every_class_signs_below_stapdev_and_strict_only_that() {
    for (name, _) in builtin::ALL {
        let policy = Policy::builtin(name).unwrap();
        let signing = policy.signing();
        assert!(signing.signs_for(Privilege::Stapusr) && signing.signs_for(Privilege::Stapsys));
        assert!(!signing.signs_for(Privilege::Stapdev), "{name}");
        assert_eq!(signing.machine_owner_keys, name != "strict");
        let strict = signing.isolation == Isolation::Strict;
        assert_eq!(strict, name != "personal", "{name}");
    }
}

#[test]
fn every_class_but_strict_replays_what_was_proven_and_keeps_more_than_it_shows() {
    for (name, _) in builtin::ALL {
        let policy = Policy::builtin(name).unwrap();
        let compile = policy.compile();
        let replays = compile.pass_4 == Pass4::Replay;
        assert_eq!(replays, name != "strict", "{name}");
        assert!(compile.kept.bytes() > compile.shown.bytes(), "{name}");
    }
}

#[test]
fn of_two_sets_of_limits_the_tighter_holds_one_by_one() {
    let limits = |name| *Policy::builtin(name).unwrap().limits();
    let (strict, personal) = (limits("strict"), limits("personal"));
    let both = personal.tightened_by(&strict);
    assert_eq!(both, strict.tightened_by(&personal));
    assert_eq!(both.wall, strict.wall);
    assert_eq!(both.on_flood, OnFlood::Kill);
    let short = with("\"300 s\"", "\"7 s\"").unwrap();
    let both = short.limits().tightened_by(&strict);
    assert_eq!((both.wall.duration().as_secs(), both.cpu), (7, strict.cpu));
}

#[test]
fn the_layers_that_are_missing_are_named() {
    let strict = Policy::builtin("strict").unwrap();
    let without = |absent: &'static str| strict.layers().missing(move |name| name != absent);
    assert_eq!(without("cgroup").collect::<Vec<_>>(), ["cgroup"]);
    assert_eq!(without("slot-uid").count(), 0, "strict only tries it");
}

#[test]
fn an_unknown_key_is_refused_at_its_place() {
    let fault = fault("wall            =", "wal             =");
    assert!(fault.reason().starts_with("unknown field `wal`"), "{fault}");
    assert_eq!(fault.column(), Some(1));
    let line = builtin::SHARED_HOST
        .lines()
        .position(|line| line.starts_with("wall"))
        .unwrap()
        + 1;
    assert_eq!(fault.line(), Some(line));
}

#[test]
fn a_fault_is_shown_under_the_offending_word() {
    let fault = fault("\"300 s\"", "\"300\"");
    let line = fault.line().unwrap();
    let gutter = " ".repeat(line.to_string().len());
    let written = builtin::SHARED_HOST.lines().nth(line - 1).unwrap();
    let written = written.replace("\"300 s\"", "\"300\"");
    assert!(written.starts_with("wall            = \"300\""));
    let expected = format!(
        "line {line}, column 19: invalid value: string \"300\", expected a time such as \"300 s\", \
         \"5 min\" or \"1 h\"\n\
         {line} | {written}\n\
         {gutter} |                   ^^^^^"
    );
    assert_eq!(fault.to_string(), expected);
}

#[test]
fn a_policy_that_leaves_something_open_or_makes_no_sense_is_refused() {
    for (old, new, reason) in [
        (
            "seccomp          = \"require\"\n",
            "",
            "missing field `seccomp`",
        ),
        (
            "seccomp          = \"require\"",
            "seccomp = \"yes\"",
            "unknown variant `yes`",
        ),
        (
            "memory          = \"1 GiB\"",
            "memory = \"1 KiB\"",
            "1 KiB is out of range",
        ),
        (
            "processes       = 128",
            "processes = 0",
            "0 is out of range",
        ),
        ("processes       = 128", "processes = -1", "invalid value"),
        (
            "\"300 s\"",
            "\"25 h\"",
            "90000 s is out of range; it must be between 1 s and 86400 s",
        ),
        ("uid-base = 64000", "uid-base = 0", "0 is out of range"),
        ("\"-e\"", "\"-ef\"", "\"-ef\" is no option"),
        ("\"-e\"", "\"e\"", "\"e\" is no option"),
        (
            "class = \"shared-host\"",
            "class = \"../etc\"",
            "a class name is",
        ),
        (
            "machine-owner-keys = true",
            "machine-owner-keys = \"yes\"",
            "invalid type: string",
        ),
        (
            "isolation          = \"strict\"",
            "isolation = \"some\"",
            "unknown variant `some`",
        ),
        (
            "privileges         = [\"stapusr\"",
            "privileges = [\"stapdev\"",
            "unknown variant `stapdev`",
        ),
        (
            "pass-4 = \"replay\"",
            "pass-4 = \"none\"",
            "unknown variant `none`",
        ),
        (
            "[compile]",
            "[compile]\nccache = true",
            "unknown field `ccache`",
        ),
        ("[signing]", "[signing]\nkeys = 1", "unknown field `keys`"),
        ("[slots]", "[slots", "unclosed table"),
        ("[slots]", "[slots]\nslots = 1", "unknown field `slots`"),
    ] {
        let fault = fault(old, new);
        assert!(fault.reason().starts_with(reason), "{new:?} gives {fault}");
        assert!(fault.line().is_some(), "{new:?} gives no place");
    }
}

#[test]
fn an_unknown_class_is_refused_with_those_that_exist() {
    let fault = Policy::builtin("lax").expect_err("there is no such class");
    assert_eq!(
        fault.to_string(),
        "there is no policy \"lax\"; there are strict, shared-host, personal"
    );
}

#[test]
fn a_text_far_too_long_for_a_policy_is_not_even_read() {
    let text = "#".repeat(1 << 20);
    let fault = Policy::parse(&text).expect_err("a megabyte of comment");
    assert!(fault.reason().contains("1048576 bytes"), "{fault}");
}

proptest! {
    /// The fault's picture indexes into the text by byte offsets that the parser gave.
    #[test]
    fn any_damage_to_a_policy_gives_a_policy_or_a_fault(at in 0..4000usize, text in "\\PC{0,6}|\t|\n") {
        let mut damaged = builtin::SHARED_HOST.to_owned();
        let at = (0..=at.min(damaged.len())).rev().find(|at| damaged.is_char_boundary(*at));
        damaged.insert_str(at.unwrap_or(0), &text);
        if let Err(fault) = Policy::parse(&damaged) {
            prop_assert!(!fault.to_string().is_empty());
        }
    }
}
