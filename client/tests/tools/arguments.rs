//! Command lines that need no server, and those that must not reach one.

use crate::stand_in::{Answer, StandIn};
use crate::world::{Finished, World};

#[test]
fn help_and_version_need_no_server_and_no_database() {
    let world = World::new();
    for (option, text) in [
        ("-h", "--server="),
        ("--help", "--ssl="),
        ("-V", "stap-client version"),
        ("--version", "stap-client version"),
    ] {
        let output = world.tool("stap-client").arg(option).output().unwrap();
        assert!(output.out().contains(text), "{option}: {}", output.out());
        assert_eq!((output.err().as_str(), output.code()), ("", 0), "{option}");
    }
}

#[test]
fn mistakes_are_told_before_anybody_is_asked() {
    let world = World::new();
    for (words, message) in [
        (&["-p9", "-e", "x"][..], "ERROR: Invalid pass number"),
        (&["-p", "0", "-e", "x"], "ERROR: Invalid pass number"),
        (&["--server="], "ERROR: Missing argument to --server"),
        (&["--server"], "ERROR: Missing argument to --server"),
        (&["--ssl="], "ERROR: Missing argument to --ssl"),
        (&["--ssl"], "ERROR: Missing argument to --ssl"),
        (&["--server=h:0"], "ERROR: Invalid port number specified: 0"),
        (&["-e"], "ERROR: Missing argument to -e"),
        (
            &["-R", "/x", "-e", "x"],
            "ERROR: -R cannot be used with a compile server",
        ),
        (
            &["--remote=h", "-e", "x"],
            "ERROR: --remote is not supported by stap-client",
        ),
        (
            &["-c", "ls", "-x", "1"],
            "ERROR: You can't specify -c and -x together.",
        ),
    ] {
        let output = world.tool("stap-client").args(words).output().unwrap();
        output.assert_failed(message);
        assert_eq!(world.names("tmp"), [""; 0], "{words:?}");
    }
}

#[test]
fn without_a_database_nobody_is_asked() {
    let world = World::new();
    let server = StandIn::answering(Answer::Silence);
    let client = world
        .tool("stap-client")
        .args([&server.option(), "-p1", "-e", "x"])
        .output();
    client
        .unwrap()
        .assert_failed("ERROR: No usable certificate databases found");
    assert!(server.was_not_asked());
}

#[test]
fn a_database_that_was_named_and_does_not_exist_is_told() {
    let world = World::new();
    let output = world
        .tool("stap-client")
        .args(["--ssl=/nonexistent", "-e", "x"])
        .output()
        .unwrap();
    output.assert_failed("WARNING: Certificate database '/nonexistent' does not exist");
    output.assert_failed("ERROR: No usable certificate databases found");
}

#[test]
fn a_server_that_is_not_trusted_sees_no_request() {
    let world = World::new();
    std::fs::create_dir(world.path("empty")).unwrap();
    let server = StandIn::answering(Answer::Silence);
    let empty = format!("--ssl={}", world.path("empty").display());
    let client = world
        .tool("stap-client")
        .args([&server.option(), &empty, "-p1", "-e", "x"])
        .output();
    client
        .as_ref()
        .unwrap()
        .assert_failed("Attempting connection with 127.0.0.1:");
    client
        .unwrap()
        .assert_failed("ERROR: Unable to connect to a server");
    assert!(server.was_not_asked());
}

#[test]
fn the_next_named_server_is_asked_when_one_is_not_there() {
    let world = World::new();
    let server = StandIn::answering(Answer::compiled("# parse tree dump\n", &[]));
    let mut client = world.tool("stap-client");
    client.arg("--server=nosuchhost.invalid:1");
    let trusting = server.client(&world);
    let output = client
        .args(trusting.get_args())
        .args(["-p1", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(
        (output.out().as_str(), output.code()),
        ("# parse tree dump\n", 0)
    );
}
