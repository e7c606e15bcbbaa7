//! The promises of the command line.

use super::*;

fn parse(arguments: &[&str]) -> Result<Invocation, OptionError> {
    Invocation::parse(arguments.iter().map(OsString::from))
}

fn serve(arguments: &[&str]) -> Options {
    match parse(arguments) {
        Ok(Invocation::Serve(options)) => options,
        other => panic!("{arguments:?} should serve, not {other:?}"),
    }
}

#[test]
fn attached_and_separate_values_mean_the_same() {
    let separate = serve(&[
        "--port", "7", "--log", "l", "-r", "6.1.0", "-D", "X=1", "-k", "-P",
    ]);
    let attached = serve(&["--port=7", "--log=l", "-r6.1.0", "-DX=1", "-kP"]);
    assert_eq!(separate, attached);
    assert_eq!(separate.stap_options, ["-DX=1"]);
    assert!(separate.keep && separate.password);
}

#[test]
fn the_form_of_2009_names_port_and_database() {
    let options = serve(&["65000", "/srv/db", "-k"]);
    assert_eq!(
        (options.port, options.database),
        (65000, Some("/srv/db".into()))
    );
    assert_eq!(serve(&["65000", "-k"]).database, None);
}

#[test]
fn an_unknown_option_is_named_once_and_ignored() {
    let options = serve(&["--frobnicate=1", "-z", "stray", "--port=9"]);
    assert_eq!(options.port, 9);
    assert_eq!(options.unknown.len(), 3);
    assert!(options.unknown[0].contains("--frobnicate=1"));
}

#[test]
fn values_that_cannot_be_meant_are_errors() {
    for arguments in [
        &["--port=65536"][..],
        &["--port", "http"],
        &["70000"],
        &["--port"],
        &["--port="],
        &["--max-request-size=0"],
        &["--max-compressed-request=NaN"],
        &["--max-request-size=-1"],
        &["--max-threads=many"],
        &["-r", "../../etc"],
        &["-a", "/x"],
        &["-B"],
        &["--no-advertise=yes"],
        &["--ready-fd=x"],
    ] {
        assert!(parse(arguments).is_err(), "{arguments:?} was accepted");
    }
}

#[test]
fn a_path_after_r_is_a_build_tree() {
    let options = serve(&["-r", "/usr/src/linux", "-r", "6.1.0-1-amd64"]);
    assert_eq!(
        options.releases,
        [
            ReleaseChoice::BuildTree("/usr/src/linux".into()),
            ReleaseChoice::Release("6.1.0-1-amd64".into())
        ]
    );
}

#[test]
fn a_policy_is_a_class_unless_it_looks_like_a_file() {
    assert_eq!(
        serve(&["--policy=strict"]).policy,
        PolicyChoice::Class("strict".to_owned())
    );
    assert_eq!(
        serve(&["--policy=./strict"]).policy,
        PolicyChoice::File("./strict".into())
    );
    assert_eq!(
        serve(&["--policy=mine.toml"]).policy,
        PolicyChoice::File("mine.toml".into())
    );
}

#[test]
fn what_stands_behind_two_dashes_is_the_command_line_in_question() {
    let words = [
        "--may",
        "--target",
        "6.1.0:aarch64",
        "--peer=192.0.2.1",
        "--",
        "stap",
        "-p4",
        "--json",
    ];
    let Ok(Invocation::May(inquiry)) = parse(&words) else {
        panic!("it is a question");
    };
    assert_eq!(inquiry.words, [&b"stap"[..], b"-p4", b"--json"]);
    assert_eq!(inquiry.target.unwrap().to_string(), "6.1.0 arm64");
    assert!(inquiry.peer.is_some() && !inquiry.json);
    assert_eq!(parse(&["--may"]), Err(OptionError::NoCommandLine));
}

fn assert_nothing_is_done(words: &[&str]) {
    let refusal = parse(words).expect_err("it is a slip");
    assert!(matches!(refusal, OptionError::Unknown(_)), "{words:?}");
    let said = refusal.to_string();
    assert!(
        said.ends_with("nothing was done") && !said.contains("ignor"),
        "{said}"
    );
}

#[test]
fn a_question_with_a_slip_is_not_another_question() {
    assert_nothing_is_done(&["--list-targets", "--rot=/srv/root"]);
    assert_nothing_is_done(&["--make-signing-key", "--sl", "/srv/keys"]);
    for words in [
        &["--doctor", "--polcy=strict"][..],
        &["--may", "-x", "--", "stap"],
        &["--check-policy", "strict", "stray"],
        &["--warm", "--bogus"],
    ] {
        assert_nothing_is_done(words);
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        assert!(Invocation::is_question(&words));
    }
    let serving = ["--port", "1", "--", "--doctor"].map(OsString::from);
    assert!(!Invocation::is_question(&serving));
}

#[test]
fn whoever_waits_for_a_server_is_told_that_a_question_starts_none() {
    for question in [
        "--list-targets",
        "--check-policy=strict",
        "--doctor",
        "--warm",
        "--make-signing-key",
        "--help",
        "-h",
        "--version",
        "-V",
    ] {
        assert!(parse(&[question]).is_ok(), "{question} is one");
        let told = parse(&["--ready-fd=3", question]);
        assert!(
            matches!(told, Err(OptionError::NotServing(_))),
            "{question} is {told:?}"
        );
    }
}
