//! Pass 4 without make gives the modules that kbuild gives; and a server that does it so says the same to
//! its clients as bare stap does, and makes with make what was not recorded.

use std::fs;

use rustix::process::Signal;
use stap_tests::command::Invocation;
use stap_tests::lab::{self, Lab};
use stap_tests::requirement;
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;
use stap_tests::wait;
use stap_tests::world::{PATH, TARGET_ROOT};

use crate::tracepoints::{with_few_tracepoints, with_few_types};

/// How stap is called.
struct Case {
    name: &'static str,
    /// What the log says of it.
    note: Option<&'static str>,
    succeeds: bool,
    arguments: &'static [&'static str],
}

const RECORDED: Option<&str> = Some("replayed");
const UNRECORDED: Option<&str> = Some("nothing like it was recorded");
const FAILED: Option<&str> = Some("exit status: 1");
const NOT_C: &str = "function f() %{ this is not C %} probe begin { f() }";
const WARNING: &str = "function f() %{\n#warning look here\n%} probe begin { f() }";

const CASES: &[Case] = &[
    Case {
        name: "a script",
        note: RECORDED,
        succeeds: true,
        arguments: &["-e", lab::HELLO],
    },
    Case {
        name: "a constant, which is in the Makefile",
        note: UNRECORDED,
        succeeds: true,
        arguments: &["-D", "MAXERRORS=3", "-e", lab::HELLO],
    },
    Case {
        name: "no C",
        note: FAILED,
        succeeds: false,
        arguments: &["-g", "-e", NOT_C],
    },
    Case {
        name: "a warning, which is an error",
        note: FAILED,
        succeeds: false,
        arguments: &["-g", "-e", WARNING],
    },
    // stap finds programs by the same `PATH` by which it starts kbuild, and names them in warnings.
    Case {
        name: "a probe of the program that starts make",
        note: None,
        succeeds: false,
        arguments: &["-e", "probe process(\"env\").function(\"none\") { exit() }"],
    },
    Case {
        name: "a probe of our own program",
        note: None,
        succeeds: false,
        arguments: &[
            "-e",
            "probe process(\"stap-kbuild\").function(\"none\") { exit() }",
        ],
    },
    Case {
        name: "nothing to compile",
        note: None,
        succeeds: true,
        arguments: &["-p2", "-e", lab::HELLO],
    },
];

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn every_kind_of_script_gives_the_module_that_kbuild_makes() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        // Each script that has to do with tracepoints finds out about all of them.
        with_few_tracepoints(lab);
        with_few_types();
        let trial = Invocation::new(env!("CARGO_BIN_EXE_replay-trial"));
        // It starts jails itself, with what is beside it.
        let trial = trial.arg(TARGET_ROOT).env("PATH", PATH);
        let finished = trial.deadline(lab::SLOW).run();
        finished.exits(0);
        let said = finished.out();
        for kind in [
            "plain tracepoint",
            "plain tracepoints",
            "plain syscall",
            "guru embedded",
        ] {
            let line = format!("{kind}: Same, with a precompiled header Same");
            assert!(said.lines().any(|said| said == line), "{line}: {said}");
        }
    });
}

#[test]
fn clients_hear_what_bare_stap_says_whoever_ran_the_compiler() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let bare = Bare::prepare(lab, lab.alice());
        let server = root::serve(lab.alice());
        let differences: Vec<_> = CASES
            .iter()
            .filter_map(|case| difference(lab, &server, &bare, case).err())
            .collect();
        let shown = differences.join("\n");
        assert!(differences.is_empty(), "{shown}\n{}", server.said());
        let listed = root::list_targets(lab.alice());
        let release = &root::releases()[0];
        let line = listed.lines().find(|line| line.starts_with(release));
        let line = line.unwrap_or_else(|| panic!("{listed}"));
        assert!(line.ends_with("pass 4 replayed"), "{line}");
        server.stop();
        let left = lab::list(std::path::Path::new("/tmp"));
        let left: Vec<_> = left
            .iter()
            .filter(|name| name.starts_with("stap-workspace."))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// Whoever is the first has his module as soon as make has built it; the next one, who gets the only slot when the
/// recording is done, already profits from it.
#[test]
fn nobody_has_to_wait_for_his_answer_until_pass_4_is_recorded() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let server = root::serve_one_from(alice, &cache);
        // Who leaves while the target is warmed has done that for all who come.
        let release = &root::releases()[0];
        let at = format!("--server={}", server.address());
        let leaving = alice.command("stap-client").args([&at, "-r", release]);
        let leaving = leaving.args(["-p4", "-e", lab::HELLO]).start();
        server.logs("; its jobs wait");
        leaving.signal(Signal::INT);
        leaving.finish();
        let said = |script| drop(module(lab, &server, script));
        said("probe begin { println(1) exit() }");
        assert_eq!(server.said().matches("; its jobs wait").count(), 1);
        let first = server.said();
        assert!(!first.contains("is replayed without make"), "{first}");
        said("probe begin { println(2) exit() }");
        server.logs("pass 4: ");
        assert_eq!(ways(&server), [RECORDED.unwrap()], "{}", server.said());
        let said = server.said();
        let place = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(place("recording pass 4 for") < place("is replayed without make"));
        assert!(place("is replayed without make") < place("pass 4: replayed, "));
        assert!(
            said.contains(" ms of processor time for compiling"),
            "{said}"
        );
        assert!(said.matches("recording pass 4 for").count() == 1, "{said}");
    });
}

/// What fails or compiles nothing does not show that anybody needs a recording, and a server that is asked to stop does
/// not finish one.
#[test]
fn a_recording_is_made_for_those_who_compile_and_ends_with_the_server() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let server = root::serve_one_from(alice, &cache);
        let release = &root::releases()[0];
        let at = format!("--server={}", server.address());
        let ask = |arguments: &[&str], code| {
            let client = alice.command("stap-client").args([&at, "-r", release]);
            client.args(arguments).deadline(lab::SLOW).run().exits(code);
        };
        ask(&["-p2", "-e", lab::HELLO], 0);
        ask(&["-p4", "-e", "probe nosuch.point { }"], 1);
        assert!(!server.said().contains("recording"), "{}", server.said());
        ask(&["-p4", "-e", lab::HELLO], 0);
        server.logs("recording pass 4 for");
        server.stop();
        assert!(
            !server.said().contains("is replayed without make"),
            "{}",
            server.said()
        );
        let kept = crate::tracepoints::entries(&cache, "pass-4-");
        assert!(kept.is_empty(), "{kept:?}");
        wait::until_true("no jail is left", || {
            stap_tests::process::named("stap-jail").is_empty()
        });
    });
}

/// A kernel's tree whose modules differ each time: nothing that is recorded there can be shown to give what kbuild gives.
#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn what_is_not_what_kbuild_makes_is_never_used_and_the_log_and_the_list_say_so() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        root::make_writable(lab);
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        // What Debian's `modpost` starts.
        let describe = root::header("scripts/mod/modpost.real-lsb-64");
        let real = describe.with_file_name("modpost.real-lsb-64.real");
        fs::rename(&describe, &real).unwrap();
        fs::write(&describe, UNSTEADY).unwrap();
        fs::set_permissions(&describe, fs::metadata(&real).unwrap().permissions()).unwrap();
        let server = root::serve_one_from(alice, &cache);
        drop(module(lab, &server, "probe begin { println(1) exit() }"));
        root::wait_for_recording(&server, "plain");
        let line = server.logs("runs make as usual: ");
        assert!(line.contains(" (plain) "), "{line}");
        drop(module(lab, &server, "probe begin { println(2) exit() }"));
        assert_eq!(notes(&server), Vec::<String>::new(), "{}", server.said());
        server.stop();
        let listed = root::list_targets_from(alice, &cache);
        let reason = line.split_once("as usual: ").unwrap().1;
        let told = format!("by make ({reason})");
        assert!(listed.contains(&told), "{told}: {listed}");
        // What is known needs no second try.
        let next = root::serve_one_from(alice, &cache);
        drop(module(lab, &next, "probe begin { println(3) exit() }"));
        drop(module(lab, &next, "probe begin { println(4) exit() }"));
        next.logs("runs make as usual, as was found out before: ");
        assert!(!next.said().contains("recording"), "{}", next.said());
    });
}

/// A `modpost` that adds a number of its own to each module.
const UNSTEADY: &str = r#"#!/bin/bash
"$0".real "$@" || exit
for made in *.mod.c; do
    [ ! -e "$made" ] || echo "MODULE_INFO(number, \"$RANDOM$RANDOM$RANDOM\");" >> "$made"
done
"#;

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_header_that_changes_is_in_the_next_module() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        root::make_writable(lab);
        let server = root::serve(lab.alice());
        let before = module(lab, &server, "probe begin { println(1) exit() }");
        server.logs("pass 4: ");
        assert_eq!(ways(&server), [RECORDED.unwrap()]);
        // It is in the precompiled header, which no compiler compares with its sources.
        let header = root::header("include/linux/module.h");
        let text = fs::read_to_string(&header).unwrap();
        let end = text.rfind("#endif").unwrap();
        let (whole, rest) = text.split_at(end);
        fs::write(&header, format!("{whole}{ADDED}\n{rest}")).unwrap();
        let after = module(lab, &server, "probe begin { println(2) exit() }");
        let has = |module: &[u8]| module.windows(MARK.len()).any(|part| part == MARK);
        assert!(!has(&before) && has(&after));
        assert_eq!(notes(&server).len(), 1, "{}", server.said());
        server.logs("recording pass 4 for");
        let is_recorded = || server.said().matches("is replayed without make").count() == 2;
        assert!(
            (0..20).any(|_| wait::within_patience(is_recorded)),
            "{}",
            server.said()
        );
        // Who changes it again and again does not have it recorded again and again.
        fs::write(&header, format!("{whole}{ADDED}\n\n{rest}")).unwrap();
        assert!(has(&module(
            lab,
            &server,
            "probe begin { println(3) exit() }"
        )));
        server.logs("what was recorded lately is of no use any more");
        assert_eq!(server.said().matches("recording pass 4 for").count(), 1);
    });
}

/// The rest of the slots is for jobs.
#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn there_is_one_recording_at_a_time_and_what_it_keeps_waiting_is_recorded_later() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let server = root::serve_from(alice, &cache, "personal");
        let release = &root::releases()[0];
        let at = format!("--server={}", server.address());
        let both = |script: &str| {
            let ask = |flags: &[&str]| {
                let client = alice.command("stap-client").args([&at, "-r", release]);
                let client = client.args(["-p4", "-e", script]).args(flags);
                client.deadline(lab::SLOW).start()
            };
            for client in [ask(&[]), ask(&["-g"])] {
                client.finish().exits(0);
            }
        };
        both("probe begin { println(1) exit() }");
        let count = |text: &str| server.said().matches(text).count();
        let (begins, ends) = ("recording pass 4 for", "is replayed without make");
        server.logs(begins);
        assert!((0..20).any(|_| wait::within_patience(|| count(ends) == 1)));
        assert_eq!(count(begins), 1, "{}", server.said());
        both("probe begin { println(2) exit() }");
        assert!((0..20).any(|_| wait::within_patience(|| count(ends) == 2)));
        assert_eq!(count(begins), 2, "{}", server.said());
    });
}

const MARK: &[u8] = b"changed_header=yes";
const ADDED: &str = "static const char changed_header[] \
     __attribute__((used, section(\".modinfo\"), aligned(1))) = \"changed_header=yes\";";

/// What a server makes of a script.
fn module(lab: &Lab, server: &Server, script: &str) -> Vec<u8> {
    let release = &root::releases()[0];
    let at = format!("--server={}", server.address());
    let client = lab.alice().command("stap-client").arg(at);
    let asked = ["-r", release, "-p4", "-m", "answer", "-e", script];
    client.args(asked).deadline(lab::SLOW).run().exits(0);
    fs::read(lab.alice().home().join("answer.ko")).unwrap()
}

/// Says what is not as promised.
fn difference(lab: &Lab, server: &Server, bare: &Bare, case: &Case) -> Result<(), String> {
    let release = &root::releases()[0];
    let arguments = [&["-r", release, "-p4", "-m", "answer"], case.arguments].concat();
    let before = notes(server).len();
    let expected = bare.stap(&arguments);
    let at = format!("--server={}", server.address());
    let client = lab.alice().command("stap-client").arg(at).args(&arguments);
    let served = client.deadline(lab::SLOW).run();
    let said = |text: String| -> Vec<String> {
        let own = |line: &&str| {
            !line.starts_with("Passes: via server failed.") && !root::is_said_by_chance(line)
        };
        text.lines().filter(own).map(str::to_owned).collect()
    };
    let same = expected.code() == served.code()
        && said(expected.out()) == said(served.out())
        && said(expected.err()) == said(served.err());
    if !same || (served.code() == Some(0)) != case.succeeds {
        return Err(format!("{}: bare {expected}\nserved {served}", case.name));
    }
    // The worker's lines come by another way than its reports.
    let expected_notes = before + usize::from(case.note.is_some());
    wait::within_patience(|| notes(server).len() >= expected_notes);
    let notes = notes(server).split_off(before);
    let as_promised = match (case.note, notes.as_slice()) {
        (None, []) => true,
        (Some(expected), [note]) => note.contains(expected),
        _ => false,
    };
    if as_promised {
        return Ok(());
    }
    Err(format!("{}: the log says {notes:?}", case.name))
}

/// The same without the time that it took.
fn ways(server: &Server) -> Vec<String> {
    let notes = notes(server).into_iter();
    let ways = notes.map(|note| note.split(',').next().unwrap_or_default().to_owned());
    ways.collect()
}

/// What the log says of each job's pass 4.
fn notes(server: &Server) -> Vec<String> {
    let said = server.said();
    let notes = said.lines().filter_map(|line| line.split_once("pass 4: "));
    notes.map(|(_, note)| note.to_owned()).collect()
}
