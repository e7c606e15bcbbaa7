//! Arguments arrive byte for byte, whoever is at either end: the lists that once broke a stock server,
//! and 10,000 random ones each way. `STAP_TEST_SEED` repeats a run; a failure names its seed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use stap_tests::command::Invocation;
use stap_tests::finished::Finished;
use stap_tests::interop::Site;
use stap_tests::lab::{self, HELLO, Lab, User};
use stap_tests::peer;
use stap_tests::requirement;
use stap_tests::server::Server;
use stap_tests::translator::Seen;
use stap_tests::words::{NASTY, Words};
use stap_tests::world;

use crate::authorize::certificate;

/// Random lists each way.
const LISTS: usize = 10_000;
/// Of them, those that get a request of their own; the others are put behind each other.
const ALONE: usize = 100;
/// So many in one request: together they stay below the thousand arguments that a policy allows.
const JOINED: usize = 225;
/// The release of the stock programs.
const PEER: &str = "testing";

/// Calls `arrive` with all the lists, a request each time.
fn each_list(mut arrive: impl FnMut(&[Vec<u8>])) {
    let nasty: Vec<_> = NASTY.iter().map(|word| word.to_vec()).collect();
    arrive(&nasty);
    // One may be this long in Linux, its end included.
    arrive(&[vec![b'x'; (128 << 10) - 1], b"behind".to_vec()]);
    let mut words = Words::of_this_run();
    println!("STAP_TEST_SEED={}", words.seed);
    for _ in 0..ALONE {
        arrive(&words.list());
    }
    for _ in 0..(LISTS - ALONE) / JOINED {
        arrive(&words.joined(JOINED));
    }
}

fn assert_arrived(sent: &[Vec<u8>], seen: &Seen) {
    let arrived = seen.script_bytes();
    let differing = sent
        .iter()
        .zip(arrived)
        .position(|(one, other)| one != other);
    assert_eq!(
        (differing, arrived.len()),
        (None, sent.len()),
        "sent: {sent:?}"
    );
}

/// `-p1 -e SCRIPT -- LIST`, as every client takes it.
fn with_list(command: Invocation, list: &[Vec<u8>]) -> Finished {
    let command = command.args(["-p1", "-e", HELLO, "--"]);
    let list = list.iter().map(|word| OsStr::from_bytes(word));
    command.args(list).run()
}

/// A stock server of bob's that runs the stand-in for stap, and what alice's clients need for it.
fn stock_server(lab: &Lab, site: &Site) -> Server {
    let recorder = lab.bob().home().join("fakestap");
    fs::copy(PathBuf::from(world::STANDINS).join("fakestap"), &recorder).unwrap();
    let command = site
        .server(lab.bob())
        .env("SYSTEMTAP_STAP", recorder)
        // Its default takes a dozen files.
        .args(["--max-request-size=64000000", "--max-compressed-request=8000000"]);
    let server = site.start(command, lab.bob());
    let key = peer::send(&server, &[0; 4]);
    assert!(key.is_empty(), "it listens before it has a key: {key:?}");
    let certificate = lab.bob().server_database().join("stap.cert");
    lab.alice()
        .run("stap-authorize-server-cert", [certificate])
        .exits(0);
    server
}

/// Alice's client of ours for one server.
fn our_client(user: User, server: &Server) -> Invocation {
    let at = format!("--server={}", server.address());
    user.command("stap-client").arg(at)
}

#[test]
fn from_our_client_to_a_stock_server() {
    let Some(peer) = requirement::peer(PEER) else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let server = stock_server(lab, &Site::lay_out(lab));
        each_list(|list| {
            let ran = with_list(our_client(lab.alice(), &server), list);
            assert_arrived(list, &Seen::by(ran.exits(0)));
        });
    });
}

#[test]
fn from_a_stock_client_to_our_server() {
    let Some(peer) = requirement::peer(PEER) else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let site = Site::lay_out(lab);
        let server = lab.serve_with(lab.alice(), ["--no-advertise"]);
        lab.bob()
            .run("stap-authorize-server-cert", [certificate(lab)])
            .exits(0);
        let at = format!("--use-server={}", server.address());
        each_list(|list| {
            let ran = with_list(site.command(lab.bob(), "stap").arg(&at), list);
            assert_arrived(list, &Seen::by(ran.exits(0)));
        });
    });
}

/// File names that somebody on the way may want to translate, quote or cut.
const NAMES: [&[u8]; 8] = [
    b"two words.stp",
    b"it's \"quoted\".stp",
    b"$(id);`id`.stp",
    b"*?[a].stp",
    b"back\\slash.stp",
    b"-p4.stp",
    "é 日本語.stp".as_bytes(),
    b"latin-\xe9.stp",
];

/// Asserts that a script of each name arrives under its name.
fn each_name_arrives(user: User, client: impl Fn() -> Invocation) {
    for name in NAMES {
        let path = user.write(OsStr::from_bytes(name), HELLO);
        let ran = client().arg("-p1").arg(&path).run();
        let seen = Seen::by(ran.exits(0));
        let expected = [b"script", path.as_os_str().as_bytes()].concat();
        assert!(seen.arguments.contains(&expected), "{ran}");
        let shown = String::from_utf8_lossy(&expected).into_owned();
        assert!(seen.files.contains(&shown), "{ran}");
    }
}

#[test]
fn names_from_our_client_to_a_stock_server() {
    let Some(peer) = requirement::peer(PEER) else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let server = stock_server(lab, &Site::lay_out(lab));
        each_name_arrives(lab.alice(), || our_client(lab.alice(), &server));
    });
}

#[test]
fn names_from_a_stock_client_to_our_server() {
    let Some(peer) = requirement::peer(PEER) else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let site = Site::lay_out(lab);
        let server = lab.serve_with(lab.alice(), ["--no-advertise"]);
        let at = format!("--use-server={}", server.address());
        each_name_arrives(lab.alice(), || site.command(lab.alice(), "stap").arg(&at));
    });
}
