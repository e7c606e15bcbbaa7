//! Keys that sign modules: announced to everybody, seen by nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use stap_tests::lab::{self, HELLO, User};
use stap_tests::mdns::Avahi;
use stap_tests::server::{Server, fresh_log, log_option};
use stap_tests::wait;

/// Makes a machine owner key as an operator does, and returns its fingerprint.
fn make_key(user: User) -> String {
    let made = user.run("stap-serverd", ["--make-signing-key"]);
    made.exits(0).says_nothing();
    let said = made.out();
    let line = said.lines().next().unwrap_or_default();
    line.strip_prefix("made the signing key ")
        .expect("the first line names it")
        .to_owned()
}

/// A stand-in for stap that looks for keys wherever it can think of, and shows what it was given.
fn snoop(user: User) -> PathBuf {
    let home = user.home();
    let home = home.display();
    let script = format!(
        "#!/bin/bash\n\
         exec 2>&1\n\
         echo \"looks as $(id -u)\"\n\
         for name in server/stap.key server/moks/*/signing_key.priv server.moks/*/signing_key.priv; do\n\
         for file in {home}/.systemtap/ssl/$name /proc/1/root/{home}/.systemtap/ssl/$name; do\n\
         [ -e $file ] && echo FOUND $file\n\
         cat $file >/dev/null 2>&1 && echo READ $file\n\
         done; done\n\
         find / -xdev \\( -name signing_key.priv -o -name stap.key \\) 2>/dev/null | sed 's/^/FOUND /'\n\
         for fd in /proc/$$/fd/*; do echo \"holds $(readlink $fd)\"; done\n\
         env | sed 's/^/given /'\n\
         exit 1\n"
    );
    let path = user.write("snoop", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn no_job_sees_a_key_a_descriptor_or_a_variable_of_the_server() {
    lab::inside(|lab| {
        let alice = lab.alice();
        let print = make_key(alice);
        let script = snoop(alice);
        // Outside of a jail the same script finds both keys, so it knows where to look.
        let outside = alice.command(&script.display().to_string()).run();
        let found = outside.out();
        assert!(found.contains("READ ") && found.contains(&print), "{found}");

        let log = fresh_log(alice);
        let start = alice
            .command("stap-start-server")
            .env("SYSTEMTAP_STAP", &script)
            .env("SECRET_OF_THE_SERVER", "1")
            .args([&log_option(&log), "--policy=personal"]);
        // A server that has made its own key before it is looked for.
        let server = Server::started(&start.run(), log);
        let at = format!("--server={}", server.address());
        let inside = alice.client([&at, "-p1", "-e", HELLO]);
        inside.exits(1);
        let seen = inside.out() + &inside.err();
        assert!(seen.contains("looks as "), "{seen}");
        for trace in [
            "FOUND",
            "READ",
            "SECRET",
            &print,
            "stap.key",
            "signing_key",
            "socket:",
        ] {
            assert!(!seen.contains(trace), "{trace} in {seen}");
        }
    });
}

#[test]
fn the_signer_reads_keys_and_can_do_nothing_else() {
    lab::inside(|lab| {
        let alice = lab.alice();
        make_key(alice);
        let server = lab.serve_with(alice, ["--policy=personal"]);
        server.logs("signer: this process is confined: no capabilities, no_new_privs");
        let signers = stap_tests::process::named("stap-signer");
        let [signer] = &signers[..] else {
            panic!("{signers:?}")
        };
        let status = fs::read_to_string(format!("/proc/{}/status", signer.pid)).unwrap();
        for line in [
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "Threads:\t1",
        ] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        // Its socket, its pipe for the log, and what every program here inherits; no file is open.
        let descriptors = PathBuf::from(format!("/proc/{}/fd", signer.pid));
        for name in lab::list(&descriptors) {
            let held = fs::read_link(descriptors.join(name)).unwrap();
            let held = held.to_string_lossy();
            let harmless = ["socket:", "pipe:", "/dev/null"];
            assert!(harmless.iter().any(|kind| held.starts_with(kind)), "{held}");
        }
        let environment = fs::read(format!("/proc/{}/environ", signer.pid)).unwrap();
        assert!(
            environment.is_empty(),
            "{}",
            String::from_utf8_lossy(&environment)
        );
        server.stop();
        assert!(
            stap_tests::process::named("stap-signer").is_empty(),
            "it ends with its server"
        );
    });
}

#[test]
fn the_keys_that_sign_are_announced_behind_the_certificate() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let print = make_key(lab.alice());
        let _server = lab.serve(lab.alice());
        let mut seen = String::new();
        // Our own tools may hear it before others do.
        wait::until_true("it is announced", || {
            seen = avahi.browse().out();
            let mut lines = seen.lines();
            lines.any(|line| line.starts_with('=') && line.contains("certinfo="))
        });
        let keys = format!("\"mok_info={print}\"");
        let mut lines = seen.lines();
        let is_behind = |line: &str| line.starts_with('=') && line.contains(&keys);
        assert!(lines.any(is_behind), "{seen}");
    });
}
