//! What a request carries.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use stap_protocol::request::Request;

use crate::stand_in::{Answer, StandIn};
use crate::world::{Finished, World};

fn arguments(request: &Request) -> Vec<&str> {
    request
        .arguments
        .iter()
        .map(|word| std::str::from_utf8(word).unwrap())
        .collect()
}

fn sent(world: &World, words: &[&str]) -> Request {
    let server = StandIn::answering(Answer::compiled("", &[]));
    let output = server.client(world).args(words).output().unwrap();
    assert_eq!(output.code(), 0, "{}", output.err());
    server.request()
}

#[test]
fn hostile_arguments_arrive_byte_for_byte() {
    let world = World::new();
    let script = "a'b \"c\" \\ ; * $(id)\n`id`";
    let request = sent(&world, &["-p1", "-e", script, "x;y", "p q", "", "-"]);
    let inline = format!("-e{script}");
    assert_eq!(
        arguments(&request),
        ["-p1", &inline, "--", "x;y", "p q", "", "-"]
    );
}

#[test]
fn a_script_file_is_sent_under_its_real_name() {
    let world = World::new();
    fs::write(world.path("cwd/s.stp"), "probe begin {}").unwrap();
    std::os::unix::fs::symlink("s.stp", world.path("cwd/link.stp")).unwrap();
    let request = sent(&world, &["-p1", "link.stp", "one", "two words"]);
    let real = world.path("cwd/s.stp").canonicalize().unwrap();
    let name = format!("script{}", real.display());
    assert_eq!(
        arguments(&request),
        [&name, "-p1", "--", "one", "two words"]
    );
    assert_eq!(request.files[0].path.to_string(), name);
    assert_eq!(request.files[0].content, b"probe begin {}");
}

#[test]
fn a_script_may_come_from_standard_input() {
    let world = World::new();
    let server = StandIn::answering(Answer::compiled("", &[]));
    let mut client = server
        .client(&world)
        .args(["-p1", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(b"probe end {}")
        .unwrap();
    assert!(client.wait().unwrap().success());
    let request = server.request();
    assert_eq!(arguments(&request), ["script/-", "-p1"]);
    assert_eq!(request.files[0].content, b"probe end {}");
}

#[test]
fn a_script_that_does_not_exist_is_for_the_server_to_miss() {
    let world = World::new();
    let request = sent(&world, &["-p1", "/nonexistent/s.stp"]);
    assert_eq!(arguments(&request), ["script/nonexistent/s.stp", "-p1"]);
    assert!(request.files.is_empty());
}

#[test]
fn the_root_is_not_sent_as_a_tapset() {
    let world = World::new();
    let server = StandIn::answering(Answer::Silence);
    let output = server
        .client(&world)
        .args(["-I", "/", "-e", "x"])
        .output()
        .unwrap();
    output.assert_failed("ERROR: Unable to send / to the server");
    assert!(server.was_not_asked());
}

#[test]
fn the_environment_says_release_and_locale() {
    let world = World::new();
    let server = StandIn::answering(Answer::compiled("", &[]));
    let output = server
        .client(&world)
        .args(["-p1", "-e", "x"])
        .env("SYSTEMTAP_RELEASE", "9.9.9-x")
        .env("LANG", "fr_FR.UTF-8")
        .env("LC_TIME", "a;b")
        .output()
        .unwrap();
    let complaint = "Server: Localization value 'a;b' contains illegal characters";
    assert!(output.err().contains(complaint), "{}", output.err());
    let request = server.request();
    assert_eq!(arguments(&request), ["-p1", "-ex", "-r9.9.9-x"]);
    assert_eq!(request.target.release.as_str(), "9.9.9-x");
    assert_eq!(
        request.locale,
        [("LANG".to_owned(), "fr_FR.UTF-8".to_owned())]
    );
}
