//! Pass 5, and the signals.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::stand_in::{Answer, StandIn};
use crate::world::{Finished, World};

const NOTES: &str = r#"printf '%s\n' "$@" > "$HOME/run"; pwd > "$HOME/cwd"; echo "Hello World!""#;

/// Ends as the real one does when it is told to by a signal.
const LONG_RUN: &str = r#"
    trap 'echo got INT; exit $FAKE_RC' INT
    trap 'echo got TERM; exit $FAKE_RC' TERM
    trap 'echo got HUP; exit $FAKE_RC' HUP
    echo started; for i in {1..600}; do sleep 0.1; done; echo natural end"#;

fn client(world: &World, server: &StandIn, staprun: &str) -> Command {
    let mut client = server.client(world);
    client
        .env("SYSTEMTAP_STAPRUN", world.script("staprun", staprun))
        .env("FAKE_RC", "0");
    client
}

fn run_arguments(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("home/run")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_module_is_run_here_with_what_concerns_the_run() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("stap_4242.ko"));
    let output = client(&world, &server, NOTES)
        .args([
            "-vvv", "-o", "o.txt", "-x", "1", "-s", "4", "-S", "1,2", "-F", "-G", "a=b",
        ])
        .args(["-e", "x"])
        .output()
        .unwrap();

    assert_eq!(
        (output.out().as_str(), output.code()),
        ("Hello World!\n", 0)
    );
    for words in [
        "Using a compile server.",
        "Passes: via server 127.0.0.1:",
        "starting run.",
    ] {
        assert!(
            output.err().contains(words),
            "{words} is not in {}",
            output.err()
        );
    }
    let mut arguments = run_arguments(&world);
    let module = arguments.remove(arguments.len() - 2);
    assert!(
        module.ends_with("/stap_4242.ko") && module.starts_with('/'),
        "{module}"
    );
    let expected = [
        "-v", "-v", "-o", "o.txt", "-t", "1", "-b", "4", "-D", "-R", "-S", "1,2", "a=b",
    ];
    assert_eq!(arguments, expected);
    let cwd = fs::read_to_string(world.path("home/cwd")).unwrap();
    assert_eq!(
        cwd.trim_end(),
        world.path("cwd").canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(world.names("tmp"), [""; 0]);
    assert_eq!(world.names("cwd"), [""; 0]);
}

#[test]
fn a_command_stays_one_argument() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    let output = client(&world, &server, NOTES)
        .args(["-c", "ls -l", "-m", "m", "-e", "x"])
        .output();
    assert_eq!(output.unwrap().code(), 0);
    assert_eq!(run_arguments(&world)[..2], ["-c", "ls -l"]);
    assert_eq!(
        world.names("cwd"),
        ["m.ko"],
        "a module with a name is saved as well"
    );
}

#[test]
fn the_status_of_staprun_becomes_0_or_1() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    let output = client(&world, &server, "echo Hello; exit 3")
        .args(["-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("Hello\n", 1));
    assert!(
        output.err().contains("exited with status: 3\n"),
        "{}",
        output.err()
    );
    assert!(
        output.err().contains("Pass 5: run failed.\n"),
        "{}",
        output.err()
    );
}

#[test]
fn a_module_for_another_kernel_is_not_run() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    let output = client(&world, &server, NOTES)
        .args(["-r", "9.9.9", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("m.ko\n", 0));
    assert!(
        output
            .err()
            .contains("mismatch with host forces last-pass 4"),
        "{}",
        output.err()
    );
    assert!(!world.path("home/run").exists());
}

/// A client in a process group of its own, as a shell starts it.
fn spawn(mut client: Command) -> Child {
    client
        .args(["-e", "x"])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The rest of stdout, all of stderr, and the exit status.
fn finish(mut client: Child, mut stdout: impl Read) -> (String, String, i32) {
    let mut out = String::new();
    stdout.read_to_string(&mut out).unwrap();
    let mut err = String::new();
    client
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    let status = client.wait().unwrap();
    (out, err, status.code().expect("the client ends by itself"))
}

fn running(client: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    stdout
}

#[test]
fn an_interrupt_of_the_group_ends_the_run_normally() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    let mut client = spawn(client(&world, &server, LONG_RUN));
    let stdout = running(&mut client);

    kill_process_group(Pid::from_child(&client), Signal::INT).unwrap();

    let (out, _, code) = finish(client, stdout);
    assert_eq!((out.as_str(), code), ("got INT\n", 0));
    assert_eq!(world.names("tmp"), [""; 0]);
}

#[test]
fn a_signal_for_the_client_alone_is_passed_on() {
    for (signal, passed_on, expected, said) in [
        (Signal::INT, "got TERM\n", 0, ""),
        (Signal::TERM, "got TERM\n", 1, ": terminated by signal\n"),
        (Signal::HUP, "got HUP\n", 0, ""),
    ] {
        let world = World::new();
        let server = StandIn::answering(Answer::module("m.ko"));
        let mut client = spawn(client(&world, &server, LONG_RUN));
        let stdout = running(&mut client);

        kill_process(Pid::from_child(&client), signal).unwrap();

        let (out, err, code) = finish(client, stdout);
        assert_eq!(
            (out.as_str(), code),
            (passed_on, expected),
            "{signal:?}: {err}"
        );
        assert!(err.ends_with(said), "{signal:?}: {err}");
        assert_eq!(world.names("tmp"), [""; 0], "{signal:?}");
    }
}

#[test]
fn the_third_interrupt_does_not_wait_any_longer() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    // It answers each signal, so that the test knows when the next one may follow.
    let stubborn = r#"
        trap 'echo no' INT TERM
        echo started; until [ -e "$HOME/stop" ]; do sleep 0.05; done"#;
    let mut client = spawn(client(&world, &server, stubborn));
    let mut stdout = running(&mut client);
    for _ in 0..2 {
        kill_process(Pid::from_child(&client), Signal::TERM).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "no\n");
    }
    kill_process(Pid::from_child(&client), Signal::TERM).unwrap();
    let code = client.wait().unwrap().code();

    fs::write(world.path("home/stop"), "").unwrap();
    let mut err = String::new();
    client
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(code, Some(1));
    assert!(
        err.ends_with("Too many interrupts received, exiting.\n"),
        "{err}"
    );
    assert_eq!(world.names("tmp"), [""; 0]);
}

#[test]
fn a_signal_during_the_compile_ends_the_client_at_once() {
    for (signal, said) in [
        (Signal::INT, ""),
        (Signal::TERM, ": terminated by signal\n"),
    ] {
        let world = World::new();
        let server = StandIn::answering(Answer::Silence);
        let mut client = spawn(client(&world, &server, NOTES));
        server.request();

        // A hangup does not matter before the run.
        kill_process(Pid::from_child(&client), Signal::HUP).unwrap();
        kill_process(Pid::from_child(&client), signal).unwrap();

        let stdout = client.stdout.take().unwrap();
        let (out, err, code) = finish(client, stdout);
        assert_eq!((out.as_str(), code), ("", 1), "{signal:?}");
        assert!(
            err.ends_with(said) && (!said.is_empty() || err.is_empty()),
            "{signal:?}: {err}"
        );
        assert_eq!(world.names("tmp"), [""; 0], "{signal:?}");
        assert!(!world.path("home/run").exists());
    }
}

#[test]
fn a_bpf_object_is_run_by_stapbpf() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("stap_7.bo"));
    let output = client(&world, &server, "echo staprun must not run; exit 1")
        .env("SYSTEMTAP_STAPBPF", world.script("stapbpf", NOTES))
        .args([
            "--runtime=bpf",
            "-vv",
            "-w",
            "-x",
            "1",
            "-o",
            "o.txt",
            "-s",
            "4",
            "-e",
            "x",
        ])
        .output()
        .unwrap();
    assert_eq!(
        (output.out().as_str(), output.code()),
        ("Hello World!\n", 0),
        "{}",
        output.err()
    );
    let words = run_arguments(&world);
    let (object, options) = words.split_last().unwrap();
    assert!(object.ends_with("/stap_7.bo"), "{object}");
    assert_eq!(options, ["-v", "-w", "-x", "1", "-o", "o.txt"]);
    assert!(
        server
            .request()
            .arguments
            .contains(&b"--runtime=bpf".to_vec())
    );
}
