//! stap's command line grammar: what `getopt_long` makes of words, and what we make of them again.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use proptest::prelude::*;
use stap_protocol::options::{
    Arity, CommandLine, Item, LONG, OptionError, Order, SHORT, parse, parse_ordered,
};

fn words(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn line(texts: &[&str]) -> CommandLine {
    parse(&words(texts)).unwrap()
}

fn spelled(texts: &[&str]) -> Vec<String> {
    let arguments = line(texts).to_arguments();
    arguments
        .into_iter()
        .map(|word| String::from_utf8(word).unwrap())
        .collect()
}

fn short(letter: char, value: Option<&str>) -> Item {
    Item::Short {
        letter,
        value: value.map(|value| value.as_bytes().to_vec()),
    }
}

fn long(name: &'static str, value: Option<&str>) -> Item {
    Item::Long {
        name,
        value: value.map(|value| value.as_bytes().to_vec()),
    }
}

fn operand(text: &str) -> Item {
    Item::Operand(text.as_bytes().to_vec())
}

#[test]
fn bundled_letters_end_at_the_first_that_takes_a_value() {
    let items = [short('v', None), short('v', None), short('p', Some("4v"))];
    assert_eq!(line(&["-vvp4v"]).items, items);
}

#[test]
fn a_value_is_attached_or_the_next_word_whatever_it_looks_like() {
    for value in ["4", "-v", "--", "-", ""] {
        assert_eq!(line(&["-e", value]).items, [short('e', Some(value))]);
        assert_eq!(line(&["--vp", value]).items, [long("vp", Some(value))]);
        assert_eq!(
            line(&[&format!("--vp={value}")]).items,
            [long("vp", Some(value))]
        );
    }
}

#[test]
fn an_optional_value_is_only_ever_attached() {
    assert_eq!(
        line(&["--color", "always"]).items,
        [long("color", None), operand("always")]
    );
    assert_eq!(
        line(&["--color=always"]).items,
        [long("color", Some("always"))]
    );
    assert_eq!(line(&["--color="]).items, [long("color", Some(""))]);
}

#[test]
fn options_may_follow_operands_unless_posix_forbids_it() {
    let texts = words(&["script.stp", "-v", "--", "-p4"]);
    let permuted = parse_ordered(&texts, Order::Permute).unwrap();
    assert_eq!(permuted.items, [operand("script.stp"), short('v', None)]);
    assert_eq!(permuted.after_separator, words(&["-p4"]));

    let posix = parse_ordered(&texts, Order::Posix).unwrap();
    assert!(posix.options().next().is_none());
    assert_eq!(posix.operands().collect::<Vec<_>>(), texts);
}

#[test]
fn a_lone_dash_is_an_operand() {
    assert_eq!(line(&["-", "-v"]).items, [operand("-"), short('v', None)]);
}

#[test]
fn abbreviations_become_the_option_that_they_mean() {
    assert_eq!(
        line(&["--priv=stapusr"]).items,
        [long("privilege", Some("stapusr"))]
    );
    assert_eq!(line(&["--sign"]).items, [long("sign-module", None)]);
    assert_eq!(
        line(&["--use-server"]).items,
        [long("use-server", None)],
        "exact names win"
    );
    assert_eq!(
        line(&["--colo=auto"]).items,
        [long("color", Some("auto"))],
        "synonyms agree"
    );
}

#[test]
fn ambiguous_abbreviations_are_refused_with_the_choices() {
    let error = parse(&words(&["--rlimit-n=1", "--dump-p"])).unwrap_err();
    let candidates = vec![
        "--dump-probe-aliases".to_owned(),
        "--dump-probe-types".to_owned(),
    ];
    assert_eq!(
        error,
        OptionError::Ambiguous {
            given: "--dump-p".to_owned(),
            candidates
        }
    );
    assert_eq!(
        error.to_string(),
        "--dump-p could be --dump-probe-aliases or --dump-probe-types; write the option in full"
    );
}

#[test]
fn a_missing_value_is_named() {
    for (texts, option) in [
        (&["x.stp", "-p"][..], "-p"),
        (&["-vp"], "-p"),
        (&["--vp"], "--vp"),
    ] {
        let error = parse(&words(texts)).unwrap_err();
        assert_eq!(error, OptionError::MissingValue(option.to_owned()));
        assert_eq!(error.to_string(), format!("Missing argument to {option}"));
    }
}

#[test]
fn a_value_that_nobody_takes_is_refused() {
    let error = parse(&words(&["--skip-bad=1"])).unwrap_err();
    assert_eq!(
        error,
        OptionError::UnexpectedValue("--skip-badvars".to_owned())
    );
}

#[test]
fn unknown_options_are_kept_as_they_were_written() {
    let unknown = |word: &str| Item::Unknown(word.as_bytes().to_vec());
    assert_eq!(
        line(&["-vZp4"]).items,
        [short('v', None), unknown("-Z"), short('p', Some("4"))]
    );
    assert_eq!(
        line(&["--no-such=1", "x"]).items,
        [unknown("--no-such=1"), operand("x")]
    );
    assert_eq!(
        line(&["-:"]).items,
        [unknown("-:")],
        "the notation's colon is no letter"
    );
}

#[test]
fn a_dash_among_letters_is_not_spelled_as_a_separator() {
    let error = parse(&words(&["-v-p4"])).unwrap_err();
    assert_eq!(error, OptionError::StrayDash("-v-p4".to_owned()));
    assert_eq!(
        line(&["-e-"]).items,
        [short('e', Some("-"))],
        "in a value it is fine"
    );
}

#[test]
fn the_full_spelling_is_what_clients_forward() {
    assert_eq!(
        spelled(&[
            "-p",
            "4",
            "-e",
            "probe begin {}",
            "--vp",
            "00010",
            "--priv",
            "stapusr"
        ]),
        [
            "-p4",
            "-eprobe begin {}",
            "--vp=00010",
            "--privilege=stapusr"
        ]
    );
    assert_eq!(
        spelled(&["-e", "", "x", "--", "-v"]),
        ["-e", "", "x", "--", "-v"]
    );
}

#[test]
fn values_can_be_asked_for() {
    let line = line(&["-p2", "-v", "-p", "4", "--color", "--privilege=stapsys"]);
    assert_eq!(line.short_values('p').collect::<Vec<_>>(), [b"2", b"4"]);
    assert!(line.has_short('v') && !line.has_short('g'));
    assert_eq!(line.long_values("color").collect::<Vec<_>>(), [None]);
    assert_eq!(
        line.long_values("privilege").collect::<Vec<_>>(),
        [Some(&b"stapsys"[..])]
    );
    assert!(line.has_long("color") && !line.has_long("vp"));
}

#[test]
fn the_table_has_every_name_once_and_in_order() {
    assert!(LONG.windows(2).all(|pair| pair[0].name < pair[1].name));
    let letters: Vec<_> = SHORT.chars().filter(|letter| *letter != ':').collect();
    assert!(
        letters
            .iter()
            .all(|letter| SHORT.matches(*letter).count() == 1)
    );
}

#[test]
fn every_long_option_is_read_as_the_table_says() {
    for option in LONG {
        let bare = parse(&words(&[&format!("--{}", option.name)]));
        let valued = parse(&words(&[&format!("--{}=1", option.name)]));
        assert_eq!(
            bare.is_ok(),
            option.arity != Arity::Required,
            "{}",
            option.name
        );
        assert_eq!(
            valued.is_ok(),
            option.arity != Arity::None,
            "{}",
            option.name
        );
    }
}

/// Words that are likely to mean something, rather than any bytes.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(LONG);
    prop_oneof![
        3 => "-[a-zA-Z:-]{1,4}[0-9]{0,2}".prop_map(String::into_bytes),
        3 => (name, 1..30_usize, prop::option::of("[a-z=-]{0,4}")).prop_map(|(option, cut, value)| {
            let name = &option.name[..cut.min(option.name.len())];
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            format!("--{name}{value}").into_bytes()
        }),
        1 => Just(b"--".to_vec()),
        1 => Just(b"-".to_vec()),
        1 => Just(Vec::new()),
        2 => "[a-z./ ]{1,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn command_lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(word(), 0..8)
}

proptest! {
    #[test]
    fn the_full_spelling_means_the_same(words in command_lines()) {
        if let Ok(line) = parse(&words) {
            prop_assert_eq!(parse(&line.to_arguments()).unwrap(), line);
        }
    }

    #[test]
    fn the_full_spelling_means_the_same_under_posix(words in command_lines()) {
        if let Ok(line) = parse_ordered(&words, Order::Posix) {
            let again = parse(&line.to_arguments()).unwrap();
            prop_assert!(again.options().eq(line.options()));
            prop_assert!(again.operands().eq(line.operands()));
        }
    }

    #[test]
    fn spelling_in_full_is_done_once(words in command_lines()) {
        if let Ok(line) = parse(&words) {
            let once = line.to_arguments();
            prop_assert_eq!(parse(&once).unwrap().to_arguments(), once);
        }
    }

    #[test]
    fn no_word_behind_the_separator_is_an_option(before in command_lines(), after in command_lines()) {
        // A value-taking option at the end of `before` would take the separator for its value.
        let complete = parse(&before).is_ok_and(|line| line.after_separator.is_empty());
        if complete && !before.contains(&b"--".to_vec()) {
            let words = [&before[..], &[b"--".to_vec()], &after[..]].concat();
            let line = parse(&words).unwrap();
            prop_assert_eq!(&line.after_separator, &after);
            let alone = parse(&before).unwrap();
            prop_assert!(line.options().eq(alone.options()));
        }
    }
}
