//! Which rule decides, and that it is found where it stands.

use super::*;

fn decided(class: &str, words: &[&str]) -> Decision {
    let inquiry = Inquiry {
        policy: PolicyChoice::Class(class.to_owned()),
        target: None,
        peer: None,
        words: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        json: false,
    };
    let policy = PolicyText::read(&inquiry.policy).unwrap();
    Decision::of(&inquiry, &policy).unwrap()
}

fn ruled<'a>(decision: &'a Decision, word: &str) -> &'a Ruled {
    let mut rulings = decision.rulings.iter();
    let found = rulings.find(|ruled| ruled.word == word);
    found.unwrap_or_else(|| panic!("nothing is said of {word}: {decision:?}"))
}

#[test]
fn each_refused_option_is_told_with_its_rule_and_with_who_allows_it() {
    let decision = decided("strict", &["stap", "-g", "-p4", "--sign-module", "x.stp"]);
    assert!(!decision.allowed && decision.limits.is_empty());
    let guru = ruled(&decision, "-g");
    assert_eq!(guru.rule.field, Some("options.allow"));
    let line = builtin::STRICT.lines().nth(guru.rule.line.unwrap() - 1);
    assert_eq!(line, Some("allow = ["));
    assert_eq!(guru.allowed_by, ["shared-host", "personal"]);
    let signing = ruled(&decision, "--sign-module");
    assert_eq!(signing.rule.field, None);
    assert_eq!(signing.rule.says, "no policy can allow it");
    assert!(signing.allowed_by.is_empty());
    let pass = ruled(&decision, "-p4");
    let line = builtin::STRICT
        .lines()
        .nth(pass.rule.line.unwrap() - 1)
        .unwrap();
    assert!(pass.allowed && line.contains("\"-p\""), "{line}");
}

#[test]
fn an_allowed_command_line_is_told_with_its_limits_and_their_lines() {
    let decision = decided(
        "shared-host",
        &[
            "stap",
            "-g",
            "-I",
            "/home/a/tapset",
            "/home/a/x.stp",
            "/etc/passwd",
        ],
    );
    assert!(decision.allowed, "{decision:?}");
    let memory = decision
        .limits
        .iter()
        .find(|limit| limit.name == "memory")
        .unwrap();
    let line = builtin::SHARED_HOST
        .lines()
        .nth(memory.line.unwrap() - 1)
        .unwrap();
    assert!(
        line.starts_with("memory ") && line.contains(&memory.value),
        "{line}"
    );
    assert_eq!(decision.limits.len(), LIMITS.len());
    assert!(decision.required_layers.contains(&"seccomp"));
}

#[test]
fn what_clients_keep_is_not_judged() {
    let words = [
        "stap-client",
        "--server=a:1",
        "--ssl=/db",
        "--use-server=b",
        "-k",
        "--rlimit-cpu=9",
        "-e",
        "probe begin {}",
    ];
    let decision = decided("strict", &words);
    assert!(decision.allowed, "{decision:?}");
    assert_eq!(decision.kept_by_client.len(), 5);
}

#[test]
fn the_target_is_what_the_command_line_asks_for() {
    let decision = decided(
        "strict",
        &[
            "stap",
            "-r",
            "6.1.0-9",
            "-a",
            "arm64",
            "-e",
            "probe begin {}",
        ],
    );
    assert_eq!(decision.target, "6.1.0-9 arm64");
    assert!(decision.allowed, "{decision:?}");
}

#[test]
fn what_is_wrong_with_the_whole_is_told_with_its_rule() {
    let many: Vec<_> = std::iter::once("stap").chain(["-v"; 2000]).collect();
    let decision = decided("personal", &many);
    let whole = ruled(&decision, "the command line");
    assert_eq!(whole.rule.field, Some("request.arguments"));
    let grammar = decided("personal", &["stap", "-p"]);
    assert!(!grammar.allowed);
    assert!(
        ruled(&grammar, "the command line")
            .rule
            .says
            .contains("grammar")
    );
    let unknown = decided("personal", &["stap", "--frobnicate", "x.stp"]);
    assert!(
        ruled(&unknown, "--frobnicate")
            .rule
            .says
            .contains("grammar")
    );
}

#[test]
fn a_decision_for_people_names_rule_and_line() {
    let text = text::of(&decided("strict", &["stap", "-g", "x.stp"]), false);
    assert!(text.starts_with("denied   stap -g x.stp\n"), "{text}");
    assert!(text.contains("rule: options.allow, line "), "{text}");
    assert!(
        text.contains("allowed by the class shared-host, personal"),
        "{text}"
    );
}
