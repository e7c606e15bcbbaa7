//! What somebody who waits for a server is shown.

use std::fs::File;
use std::io::{self, Read as _};
use std::process::Stdio;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use stap_protocol::notice::{MAX_NOTICES, Notice};

use crate::stand_in::{Answer, StandIn};
use crate::world::{Finished, World};

fn queued(position: u32) -> Notice {
    Notice::Queued {
        position,
        waiting: 7,
        seconds: 12,
    }
}

/// A reply with these notices in front of it.
fn told(notices: &[Notice]) -> Answer {
    let Answer::Package(reply) = Answer::module("m.ko") else {
        panic!("a module is a package");
    };
    let lines: Vec<u8> = notices.iter().flat_map(Notice::encode).collect();
    Answer::Package([lines, reply].concat())
}

#[test]
fn verbose_users_read_of_each_place_on_stderr_and_nothing_on_stdout() {
    let world = World::new();
    let notices = [queued(3), queued(2), Notice::Running];
    let server = StandIn::answering(told(&notices));
    let output = server
        .client(&world)
        .args(["-v", "-p4", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("m.ko\n", 0));
    let expected = "Using a compile server.\n\
                    Waiting in the server's queue: 3 of 7, about 12 s to go.\n\
                    Waiting in the server's queue: 2 of 7, about 12 s to go.\n\
                    The server is compiling.\n\
                    server's words\n";
    assert!(output.err().starts_with(expected), "{}", output.err());
    assert!(server.request().wants_progress);
}

#[test]
fn without_a_terminal_and_verbosity_nobody_is_told_and_nobody_asks() {
    let world = World::new();
    let server = StandIn::answering(Answer::module("m.ko"));
    let output = server
        .client(&world)
        .args(["-p4", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(
        (output.err().as_str(), output.code()),
        ("server's words\n", 0)
    );
    assert!(!server.request().wants_progress);
    // A server that tells what nobody has asked for sends no reply.
    let server = StandIn::answering(told(&[Notice::Running]));
    let output = server
        .client(&world)
        .args(["-p4", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!(output.code(), 1);
    assert!(
        output.err().contains("Cannot unpack server response"),
        "{}",
        output.err()
    );
}

#[test]
fn a_server_that_tells_without_end_is_left_with_the_reason() {
    let world = World::new();
    let server = StandIn::answering(told(&vec![queued(3); MAX_NOTICES as usize + 1]));
    let output = server
        .client(&world)
        .args(["-v", "-p4", "-e", "x"])
        .output()
        .unwrap();
    assert_eq!((output.out().as_str(), output.code()), ("", 1));
    let reason = "is not waited for any longer: more than 16384 notices were sent before the reply";
    assert!(output.err().contains(reason), "{}", output.err());
}

/// A terminal: what is read here is what its user sees.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(name.as_c_str(), flags, Mode::empty()).unwrap();
    (File::from(ours), File::from(theirs))
}

/// What the terminal shows until `is_enough`, or until nobody writes to it any more.
fn shown(terminal: &mut File, is_enough: impl Fn(&str) -> bool) -> String {
    let mut shown = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let text = String::from_utf8_lossy(&shown).into_owned();
        if is_enough(&text) {
            return text;
        }
        match terminal.read(&mut buffer) {
            Ok(count @ 1..) => shown.extend_from_slice(&buffer[..count]),
            // Linux says so when the other end is closed.
            Ok(0) => return text,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                return text;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_terminal_has_one_line_that_is_gone_at_the_end() -> io::Result<()> {
    let world = World::new();
    let server = StandIn::answering(Answer::Notices(vec![queued(3)]));
    let (mut ours, theirs) = terminal();
    let mut client = server.client(&world);
    client.args(["-p4", "-e", "x"]);
    client.stdout(Stdio::piped()).stderr(theirs);
    let child = client.spawn()?;
    // Closes our copy of the client's end, so that what is shown ends with the client.
    drop(client);
    let line = "\r\u{1b}[KIn the server's queue: 3 of 7, about 12 s to go ... ";
    let first = shown(&mut ours, |text| text.contains(line));
    assert!(first.contains(line), "{first:?}");
    kill_process(Pid::from_child(&child), Signal::INT)?;
    let output = child.wait_with_output()?;
    let rest = shown(&mut ours, |_| false);
    assert_eq!((output.out().as_str(), output.code()), ("", 1));
    assert!(rest.ends_with("\r\u{1b}[K"), "{rest:?}");
    assert!(![first, rest].concat().contains('\n'));
    Ok(())
}
