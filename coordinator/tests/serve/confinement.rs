//! What a serving process may still do, told by the kernel.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsopen};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{PidfdFlags, pidfd_open, test_kill_process};
use stap_coordinator::confine::confine;

use crate::client::{ask, talk};
use crate::server::Server;
use crate::stand_in::HELLO;

#[test]
fn every_thread_of_a_server_is_filtered_and_can_gain_nothing() {
    let server = Server::start(&[]);
    // Whatever is started at the first request is there by now.
    assert_eq!(talk(ask(&server, HELLO)).rc, 0);
    let threads = server.threads();
    assert!(threads.len() > 1, "a server has more than one thread");
    for status in threads {
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {status}"))
                .trim()
                .to_owned()
        };
        assert_eq!(value("NoNewPrivs:"), "1", "{status}");
        assert_eq!(value("Seccomp:"), "2", "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(value(set), "0000000000000000", "{set} {status}");
        }
        if rustix::process::geteuid().is_root() {
            assert_eq!(value("CapBnd:"), "0000000000000000", "{status}");
        }
    }
    let said = server.log();
    for layer in ["no capabilities", "no_new_privs", "system calls: "] {
        assert!(said.contains(layer), "{layer} is not in the log:\n{said}");
    }
}

/// What a process can do before and what it cannot do after it has confined itself.
#[test]
fn what_only_an_intruder_does_ends_the_process() {
    for attempt in ["start a program", "make a mount"] {
        assert_eq!(tried(attempt, Confined::No), End::Worked, "{attempt}");
        assert_eq!(tried(attempt, Confined::Yes), End::Killed, "{attempt}");
    }
}

#[test]
fn nobody_is_called_and_nobody_is_signalled() {
    let attempts = [
        "connect",
        "listen anew",
        "talk to a local service",
        "signal the parent",
        "get hold of the parent",
    ];
    for attempt in attempts {
        assert_eq!(tried(attempt, Confined::No), End::Worked, "{attempt}");
        assert_eq!(tried(attempt, Confined::Yes), End::Refused, "{attempt}");
    }
}

#[test]
fn what_serving_needs_is_left() {
    for needed in ["start a thread", "send a datagram"] {
        assert_eq!(tried(needed, Confined::Yes), End::Worked, "{needed}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confined {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Worked,
    Refused,
    Killed,
}

/// Makes the attempt in a process of its own.
fn tried(attempt: &str, confined: Confined) -> End {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "confinement::attempt",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(ATTEMPT, attempt)
        .envs((confined == Confined::Yes).then_some((CONFINED, "yes")))
        .output()
        .unwrap();
    match output.status.signal() {
        Some(SIGSYS) => End::Killed,
        None if output.status.success() => End::Worked,
        None if String::from_utf8_lossy(&output.stderr).contains(REFUSED) => End::Refused,
        _ => panic!("{attempt} came to no end of these: {output:?}"),
    }
}

/// Not a promise but the process that [`tried`] starts.
#[test]
#[ignore = "other tests run it"]
fn attempt() {
    let Ok(attempt) = std::env::var(ATTEMPT) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let parent = rustix::process::getppid().unwrap();
    if std::env::var_os(CONFINED).is_some() {
        confine(None, &[], None).unwrap();
    }
    let ended: io::Result<()> = match attempt.as_str() {
        "start a program" => Command::new("/bin/true").status().map(drop),
        "make a mount" => match fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC) {
            // For an ordinary user the call exists, and that is all.
            Ok(_) | Err(Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        },
        "connect" => TcpStream::connect(address).map(drop),
        "listen anew" => TcpListener::bind("127.0.0.1:0").map(drop),
        "talk to a local service" => {
            rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)
                .map(drop)
                .map_err(io::Error::from)
        }
        "signal the parent" => test_kill_process(parent).map_err(io::Error::from),
        "get hold of the parent" => pidfd_open(parent, PidfdFlags::empty())
            .map(drop)
            .map_err(io::Error::from),
        "start a thread" => thread::Builder::new()
            .spawn(|| ())
            .map(|made| made.join().unwrap()),
        "send a datagram" => UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(b"x", address).map(drop)),
        other => panic!("nobody knows how to {other}"),
    };
    if let Err(error) = ended {
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        panic!("{REFUSED}");
    }
}

const ATTEMPT: &str = "CONFINEMENT_ATTEMPT";
const CONFINED: &str = "CONFINEMENT";
const REFUSED: &str = "the attempt was refused";
const SIGSYS: i32 = 31;
