use proptest::prelude::*;

use super::*;
use crate::compile::staprun::Color;

fn asked(words: &[&str]) -> Result<Question, CommandLineError> {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    Question::parse(&words, Order::Permute)
}

fn plan(words: &[&str]) -> Plan {
    match asked(words) {
        Ok(Question::Compile(plan)) => *plan,
        other => panic!("{words:?} was read as {other:?}"),
    }
}

fn error(words: &[&str]) -> String {
    match asked(words) {
        Err(error) => error.to_string(),
        other => panic!("{words:?} was read as {other:?}"),
    }
}

fn texts(words: &[Vec<u8>]) -> Vec<&str> {
    words
        .iter()
        .map(|word| std::str::from_utf8(word).unwrap())
        .collect()
}

#[test]
fn own_options_are_not_sent() {
    let plan = plan(&[
        "--server=a:1",
        "-v",
        "--ssl=/x",
        "-e",
        "probe begin {}",
        "--server=b",
    ]);
    assert_eq!(plan.servers.len(), 2);
    assert_eq!(plan.databases, [PathBuf::from("/x")]);
    assert_eq!(texts(&plan.forwarded), ["-v", "-eprobe begin {}"]);
    assert!(plan.script_arguments.is_empty());
}

#[test]
fn what_no_server_takes_is_not_sent_and_said_where_it_matters() {
    let plan = plan(&[
        "--ldd",
        "--rlimit-cpu",
        "9",
        "--disable-cache",
        "--all-modules",
        "-e",
        "probe begin {}",
    ]);
    assert_eq!(texts(&plan.forwarded), ["-eprobe begin {}"]);
    assert!(plan.script_arguments.is_empty(), "9 belongs to the limit");
    assert_eq!(plan.left_out, ["--ldd", "--all-modules"]);
}

#[test]
fn behind_the_separator_nothing_is_an_option() {
    let plan = plan(&["--", "s.stp", "-v", "--server=x"]);
    assert_eq!(plan.script, Script::File("s.stp".into()));
    assert_eq!(texts(&plan.script_arguments), ["-v", "--server=x"]);
    assert_eq!(plan.verbosity, 0);
    assert!(plan.servers.is_empty());
}

#[test]
fn all_forms_of_a_value_are_the_same() {
    for words in [
        &["-p", "2", "-e", "x"][..],
        &["-p2", "-e", "x"],
        &["-ex", "-p2"],
    ] {
        assert_eq!(plan(words).last_pass, LastPass::Text, "{words:?}");
    }
    assert_eq!(plan(&["-vp2", "-e", "x"]).verbosity, 1);
    for words in [
        &["--vp", "00012", "-e", "x"][..],
        &["--vp=00012", "-e", "x"],
    ] {
        let plan = plan(words);
        assert_eq!(plan.script, Script::Inline, "{words:?}");
        assert_eq!(texts(&plan.forwarded), ["--vp=00012", "-ex"]);
        assert_eq!(plan.run.verbosity, 2);
        assert_eq!(plan.verbosity, 0);
    }
}

#[test]
fn the_script_is_the_first_operand_unless_it_is_given_otherwise() {
    let file = plan(&["s.stp", "one", "two words", ""]);
    assert_eq!(file.script, Script::File("s.stp".into()));
    assert_eq!(texts(&file.script_arguments), ["one", "two words", ""]);

    let inline = plan(&["one", "-e", "x", "two"]);
    assert_eq!(inline.script, Script::Inline);
    assert_eq!(texts(&inline.script_arguments), ["one", "two"]);

    assert_eq!(plan(&["-"]).script, Script::StandardInput);
    assert_eq!(plan(&[]).script, Script::None);
}

#[test]
fn lists_end_with_pass_2_and_have_no_script() {
    for words in [&["-l", "syscall.*", "arg"][..], &["-Lsyscall.*", "arg"]] {
        let plan = plan(words);
        assert_eq!(plan.last_pass, LastPass::Text);
        assert_eq!(plan.script, Script::None);
        assert_eq!(texts(&plan.script_arguments), ["arg"]);
    }
    assert_eq!(plan(&["--dump-functions"]).last_pass, LastPass::Text);
}

#[test]
fn what_concerns_the_run_goes_to_staprun_and_to_the_server() {
    let plan = plan(&[
        "-vvv", "-o", "o.txt", "-x", "1", "-s", "4", "-S", "1,2", "-F", "-w", "-e", "x",
    ]);
    let expected = RunOptions {
        verbosity: 3,
        no_warnings: true,
        output: Some("o.txt".into()),
        target: Some("1".into()),
        buffer: Some("4".into()),
        split: Some("1,2".into()),
        flight_recorder: true,
        ..RunOptions::default()
    };
    assert_eq!(plan.run, expected);
    let sent = [
        "-v", "-v", "-v", "-oo.txt", "-x1", "-s4", "-S1,2", "-F", "-w", "-ex",
    ];
    assert_eq!(texts(&plan.forwarded), sent);
}

#[test]
fn what_concerns_this_host_alone_is_not_sent() {
    let plan = plan(&[
        "-k",
        "-G",
        "a=1",
        "--color=never",
        "-I",
        "t",
        "-r",
        "6.1",
        "-e",
        "x",
    ]);
    assert!(plan.keep);
    assert_eq!(plan.run.globals, ["a=1"]);
    assert_eq!(plan.run.color, Some(Color::Never));
    assert_eq!(plan.tapsets, [PathBuf::from("t")]);
    assert_eq!(plan.releases, ["6.1"]);
    assert_eq!(texts(&plan.forwarded), ["-ex"]);
}

#[test]
fn several_targets_are_named_in_two_ways() {
    let plan = plan(&[
        "-r",
        "6.1",
        "--targets",
        "7.*:*",
        "-r6.1",
        "-r6.2:arm64",
        "--targets=6.?",
        "script.stp",
        "--",
        "--targets",
        "x",
    ]);
    assert_eq!(plan.releases, ["6.1", "6.2:arm64"]);
    let patterns: Vec<_> = plan.patterns.iter().map(ToString::to_string).collect();
    assert_eq!(patterns, ["7.*:*", "6.?"]);
    assert!(plan.is_for_several());
    assert_eq!(plan.script, Script::File("script.stp".into()));
    assert_eq!(texts(&plan.script_arguments), ["--targets", "x"]);
    assert!(plan.forwarded.is_empty());
}

#[test]
fn one_release_is_a_plan_as_ever() {
    for words in [
        &["-r", "6.1", "-e", "x"][..],
        &["-r6.1", "-r", "6.1", "-ex"],
    ] {
        let plan = plan(words);
        assert_eq!((plan.releases.len(), plan.is_for_several()), (1, false));
    }
    assert!(plan(&["--json", "-e", "x"]).is_for_several());
}

#[test]
fn the_runtime_is_sent_and_known() {
    for (words, runtime) in [
        (&["--bpf"][..], Runtime::Bpf),
        (&["--runtime=bpf"], Runtime::Bpf),
        (&["--runtime", "bpf"], Runtime::Bpf),
        (&["--bpf", "--runtime=kernel"], Runtime::Kernel),
        (&["-v"], Runtime::Kernel),
    ] {
        let plan = plan(&[words, &["-e", "x"]].concat());
        assert_eq!(plan.run.runtime, runtime, "{words:?}");
        let joined = words.join("=");
        let sent = texts(&plan.forwarded);
        assert!(sent.iter().any(|word| joined.ends_with(word)), "{sent:?}");
    }
    for (option, value) in [("-G", "a=1"), ("-S", "1"), ("-F", "-v")] {
        let told = error(&["--bpf", option, value, "-e", "x"]);
        assert!(
            told.starts_with(&format!("{option} cannot be used with the bpf runtime")),
            "{told}"
        );
    }
}

#[test]
fn bad_targets_are_told() {
    assert_eq!(
        error(&["-e", "x", "--targets"]),
        "Missing argument to --targets"
    );
    for pattern in ["", "../*", "[6]*"] {
        let told = error(&["-e", "x", "--targets", pattern]);
        assert!(
            told.contains("to --targets") && told.contains("RELEASE[:ARCH]"),
            "{told}"
        );
    }
}

#[test]
fn the_suffix_of_a_module_name_is_dropped() {
    for name in ["foo", "foo.ko"] {
        let plan = plan(&["-m", name, "-e", "x"]);
        assert_eq!(plan.module_name.as_deref(), Some("foo"));
        assert!(plan.run.fixed_name);
    }
    for name in ["../foo", "a/b", ".ko", "a b", "-x", "a.b"] {
        assert!(
            error(&["-m", name]).starts_with("Invalid module name"),
            "{name}"
        );
    }
}

#[test]
fn mistakes_are_named_as_documented() {
    for (words, message) in [
        (&["--server="][..], "Missing argument to --server"),
        (&["--server"], "Missing argument to --server"),
        (&["--ssl="], "Missing argument to --ssl"),
        (&["--ssl"], "Missing argument to --ssl"),
        (&["--server=h:0"], "Invalid port number specified: 0"),
        (&["-e"], "Missing argument to -e"),
        (&["-c", ""], "Missing argument to -c"),
        (&["-p9"], "Invalid pass number (should be 1-5)."),
        (&["-p", "0"], "Invalid pass number (should be 1-5)."),
        (&["-p", "+1"], "Invalid pass number (should be 1-5)."),
        (&["-s", "0"], "Invalid buffer size (should be 1-4095)."),
        (&["-s4096"], "Invalid buffer size (should be 1-4095)."),
        (&["-x", "-1"], "Invalid target process ID number."),
        (
            &["-c", "ls", "-x", "1"],
            "You can't specify -c and -x together.",
        ),
        (
            &["-G", "-x=1"],
            "Invalid argument '-x=1' to -G: it should be NAME=VALUE.",
        ),
        (
            &["-G", "name"],
            "Invalid argument 'name' to -G: it should be NAME=VALUE.",
        ),
    ] {
        assert_eq!(error(words), message, "{words:?}");
    }
}

#[test]
fn what_only_stap_itself_can_do_is_refused_by_name() {
    for (words, first_line) in [
        (&["-R", "/x"][..], "-R cannot be used with a compile server"),
        (&["-i"], "-i is not supported by stap-client"),
        (
            &["--remote", "h"],
            "--remote is not supported by stap-client",
        ),
        (
            &["--use-server-on-error"],
            "--use-server-on-error is not supported by stap-client",
        ),
        (&["--tmpdir=/x"], "--tmpdir is not supported by stap-client"),
    ] {
        assert_eq!(error(words).lines().next(), Some(first_line), "{words:?}");
    }
}

#[test]
fn help_and_version_need_nothing_else() {
    assert_eq!(asked(&["-h"]), Ok(Question::Help));
    assert_eq!(asked(&["--help", "-p9"]), Ok(Question::Help));
    assert_eq!(asked(&["-vV"]), Ok(Question::Version));
    assert_eq!(
        plan(&["--", "--help"]).script,
        Script::File("--help".into())
    );
}

#[test]
fn unknown_options_are_for_the_server_to_refuse() {
    assert_eq!(
        texts(&plan(&["--no-such", "--ser=x", "-e", "x"]).forwarded)[..2],
        ["--no-such", "--ser=x"]
    );
}

proptest! {
    /// Whatever is typed, no operand is lost, and none becomes an option of the server.
    #[test]
    fn operands_behind_the_separator_survive(words: Vec<Vec<u8>>) {
        let mut line = vec![b"-e".to_vec(), b"x".to_vec(), b"--".to_vec()];
        line.extend(words.iter().cloned());
        let asked = Question::parse(&line, Order::Permute).unwrap();
        let Question::Compile(plan) = asked else { panic!("not a compile") };
        prop_assert_eq!(plan.script_arguments, words);
        prop_assert_eq!(texts(&plan.forwarded), ["-ex"]);
    }

    #[test]
    fn no_words_make_the_reader_panic(words: Vec<Vec<u8>>) {
        if let Err(error) = Question::parse(&words, Order::Posix) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
