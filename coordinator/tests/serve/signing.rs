//! Modules that are signed, and requests for signatures that are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, kill_process};
use stap_certs::module_keys::{CERTIFICATE, KEY, ModuleKeys};
use stap_certs::server::Pair;
use stap_protocol::reply::Reply;
use stap_protocol::request::{Fingerprint, MachineOwnerKeys, Request};
use stap_signer::signature;
use tempfile::TempDir;

use crate::client::{ask, exchange, request, stderr, talk};
use crate::forge;
use crate::server::{Server, database};
use crate::stand_in::{HELLO, MODULE};

const NAME: &str = "stap_1_2";
/// The numbers of stapusr and stapdev in a module.
const STAPUSR: u32 = 2;
const STAPDEV: u32 = 8;

/// Asks for a module that enforces `privilege`, whatever the options ask for.
fn wanted(options: &[&str], privilege: u32, keys: MachineOwnerKeys) -> Request {
    let script = format!("-e{MODULE} {privilege} {NAME}");
    let mut parts = request(&[options, &["-p4", &script]].concat()).into_parts();
    parts.machine_owner_keys = keys;
    Request::new(parts).unwrap()
}

fn asked(server: &Server, request: &Request) -> Reply {
    talk(exchange(server, &request.encode()))
}

fn file<'a>(reply: &'a Reply, name: &str) -> Option<&'a [u8]> {
    let named = |file: &&stap_protocol::job::OutputFile| file.name.as_bytes() == name.as_bytes();
    reply.files.iter().find(named).map(|file| &file.content[..])
}

/// Runs the operator's command; returns the key's fingerprint and its directory.
fn make_key(home: &TempDir) -> (Fingerprint, PathBuf) {
    let made = Command::new(env!("CARGO_BIN_EXE_stap-serverd"))
        .arg("--make-signing-key")
        .arg("--ssl")
        .arg(database(home))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    let print = said
        .lines()
        .next()
        .unwrap()
        .strip_prefix("made the signing key ")
        .unwrap();
    let directory = database(home).join("moks").join(print);
    assert!(
        said.contains(&directory.join(CERTIFICATE).display().to_string()),
        "{said}"
    );
    assert!(
        said.contains("sudo mokutil --import signing_key.x509"),
        "{said}"
    );
    (print.parse().unwrap(), directory)
}

fn server_with_key() -> (Server, Fingerprint, PathBuf) {
    let home = TempDir::new().unwrap();
    let (print, directory) = make_key(&home);
    (
        Server::start_in(home, &["--policy=personal"]),
        print,
        directory,
    )
}

fn assert_no_job_ran(server: &Server) {
    assert!(!server.log().contains("runs job"), "{}", server.log());
}

#[test]
fn a_module_below_stapdev_comes_with_the_server_s_signature() {
    let server = Server::start(&["--policy=personal"]);
    for option in ["--privilege=stapusr", "--unprivileged"] {
        let reply = asked(
            &server,
            &wanted(&[option], STAPUSR, MachineOwnerKeys::NotAsked),
        );
        assert_eq!(
            (reply.rc, stderr(&reply).as_str()),
            (0, ""),
            "{}",
            server.log()
        );
        let module = file(&reply, "stap_1_2.ko").unwrap();
        assert_eq!(module, forge::module(NAME, STAPUSR));
        let pair = Pair::read(&database(server.home())).unwrap();
        let expected = signature::detached(module, &pair.private_key_pkcs8).unwrap();
        assert_eq!(file(&reply, "stap_1_2.ko.sgn"), Some(&expected[..]));
    }
    server.wait_for_log("signer: signed stap_1_2.ko for 6.1.0-9 x86_64 request=");
    assert!(server.log().contains("127.0.0.1"));
    assert!(
        server.log().contains(" privilege=stapusr sha256="),
        "{}",
        server.log()
    );
}

#[test]
fn a_module_for_stapdev_has_no_signature() {
    let server = Server::start(&["--policy=personal"]);
    for options in [&[][..], &["--privilege=stapdev"], &["-g"]] {
        let reply = asked(
            &server,
            &wanted(options, STAPDEV, MachineOwnerKeys::NotAsked),
        );
        assert_eq!((reply.rc, reply.files.len()), (0, 1));
    }
    assert!(!server.log().contains("signer: signed"));
}

#[test]
fn a_worker_that_returns_something_else_gets_it_neither_signed_nor_sent() {
    let server = Server::start(&["--policy=personal"]);
    for privilege in [STAPDEV, 4, 0, 3] {
        let request = wanted(&["--unprivileged"], privilege, MachineOwnerKeys::NotAsked);
        let reply = asked(&server, &request);
        assert_eq!((reply.rc, reply.files.len()), (1, 0), "{privilege}");
        assert!(
            stderr(&reply).contains("cannot be signed: the module is not signed: it enforces"),
            "{}",
            stderr(&reply)
        );
    }
    let reply = talk(exchange(
        &server,
        &request(&["--unprivileged", &format!("-e{HELLO}")]).encode(),
    ));
    assert_eq!((reply.rc, reply.files.len()), (1, 0));
    server.wait_for_log("WARNING: signer: not signed: the module is not signed: it enforces stapdev and not stapusr");
}

#[test]
fn what_could_carry_more_than_a_script_is_refused_before_it_is_compiled() {
    let server = Server::start(&["--policy=personal"]);
    for option in ["-g", "-DX=1", "-mname", "-Itapset/x", "-dkernel", "-Ex"] {
        let request = wanted(
            &["--privilege=stapsys", option],
            4,
            MachineOwnerKeys::NotAsked,
        );
        let reply = asked(&server, &request);
        assert_eq!((reply.rc, reply.files.len()), (1, 0), "{option}");
        assert!(
            stderr(&reply).contains("is not for modules that are signed"),
            "{}",
            stderr(&reply)
        );
    }
    assert_no_job_ran(&server);
}

#[test]
fn a_host_that_does_not_keep_jobs_apart_signs_nothing() {
    // The stand-in's only layer is absent.
    let server = Server::start(&[]);
    let reply = asked(
        &server,
        &wanted(&["--unprivileged"], STAPUSR, MachineOwnerKeys::NotAsked),
    );
    assert_eq!(reply.rc, 1);
    assert!(
        stderr(&reply).contains("does not give cgroup, user, mount"),
        "{}",
        stderr(&reply)
    );
    assert_no_job_ran(&server);
    assert!(
        server
            .log()
            .contains("signing: no module is signed, because this host does not give")
    );
    assert_eq!(
        talk(ask(&server, HELLO)).rc,
        0,
        "what needs no signature is served"
    );
}

#[test]
fn a_kernel_that_trusts_a_key_of_the_server_gets_its_signature() {
    let (server, print, directory) = server_with_key();
    let other = Fingerprint::new([9; 20]);
    let request = wanted(&[], STAPDEV, MachineOwnerKeys::Enrolled(vec![other, print]));
    let reply = asked(&server, &request);
    assert_eq!(reply.rc, 0, "{}", stderr(&reply));
    assert_eq!(
        stderr(&reply),
        format!("Module signed with MOK, fingerprint \"{print}\"\n")
    );
    let module = file(&reply, "stap_1_2.ko").unwrap();
    let mok = &ModuleKeys::read(&database(server.home())).unwrap().usable[0];
    let certificate = fs::read(directory.join(CERTIFICATE)).unwrap();
    let hash = stap_protocol::signing::SignatureHash::Sha256;
    let unsigned = forge::module(NAME, STAPDEV);
    let expected = signature::append(unsigned, hash, &certificate, mok.private_key_pkcs8());
    assert_eq!(module, expected.unwrap());
    assert_eq!(reply.signing_key, None);
    server.wait_for_log(&format!("mok={print}"));
}

#[test]
fn both_signatures_fit_each_other() {
    let (server, print, _) = server_with_key();
    let request = wanted(
        &["--unprivileged"],
        STAPUSR,
        MachineOwnerKeys::Enrolled(vec![print]),
    );
    let reply = asked(&server, &request);
    let module = file(&reply, "stap_1_2.ko").unwrap();
    assert!(signature::is_signed(module));
    let pair = Pair::read(&database(server.home())).unwrap();
    let expected = signature::detached(module, &pair.private_key_pkcs8).unwrap();
    assert_eq!(
        file(&reply, "stap_1_2.ko.sgn"),
        Some(&expected[..]),
        "over the final bytes"
    );
}

#[test]
fn a_kernel_that_trusts_none_of_the_keys_gets_one_to_enrol_and_no_compile() {
    let (server, print, directory) = server_with_key();
    for keys in [
        MachineOwnerKeys::Missing,
        MachineOwnerKeys::Enrolled(vec![Fingerprint::new([9; 20])]),
    ] {
        let reply = asked(&server, &wanted(&[], STAPDEV, keys));
        assert_eq!((reply.rc, reply.files.len()), (1, 0));
        assert_eq!(
            reply.signing_key,
            Some(fs::read(directory.join(CERTIFICATE)).unwrap())
        );
        let said = stderr(&reply);
        assert!(
            said.contains(&print.to_string())
                && said.contains("sudo mokutil --import signing_key.x509"),
            "{said}"
        );
    }
    assert_no_job_ran(&server);
}

#[test]
fn no_request_makes_a_key() {
    let server = Server::start(&["--policy=personal"]);
    for keys in [
        MachineOwnerKeys::Missing,
        MachineOwnerKeys::Enrolled(vec![Fingerprint::new([9; 20])]),
    ] {
        let reply = asked(&server, &wanted(&[], STAPDEV, keys));
        assert_eq!((reply.rc, &reply.signing_key), (1, &None));
        assert!(
            stderr(&reply).contains("has no key that signs for it"),
            "{}",
            stderr(&reply)
        );
    }
    assert_no_job_ran(&server);
    assert!(
        ModuleKeys::read(&database(server.home()))
            .unwrap()
            .usable
            .is_empty()
    );
}

#[test]
fn a_key_that_is_made_or_taken_away_while_the_server_runs_counts_at_once() {
    let server = Server::start(&["--policy=personal"]);
    let (print, directory) = make_key(server.home());
    let request = wanted(&[], STAPDEV, MachineOwnerKeys::Enrolled(vec![print]));
    assert_eq!(asked(&server, &request).rc, 0, "{}", server.log());
    fs::remove_dir_all(directory).unwrap();
    assert_eq!(asked(&server, &request).rc, 1);
}

#[test]
fn a_key_that_others_could_have_changed_is_not_used_and_this_is_said() {
    let home = TempDir::new().unwrap();
    let (print, directory) = make_key(&home);
    let loosen =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    loosen(&directory.join(KEY), 0o644);
    let server = Server::start_in(home, &["--policy=personal"]);
    let reply = asked(
        &server,
        &wanted(&[], STAPDEV, MachineOwnerKeys::Enrolled(vec![print])),
    );
    assert_eq!(reply.rc, 1);
    server.wait_for_log("must not be readable by the group");
}

#[test]
fn a_policy_that_leaves_machine_owner_keys_out_signs_with_none() {
    let home = TempDir::new().unwrap();
    let (print, _) = make_key(&home);
    let policy = home.path().join("policy.toml");
    let text = stap_policy::builtin::PERSONAL
        .replace("machine-owner-keys = true", "machine-owner-keys = false");
    fs::write(&policy, text).unwrap();
    let option = format!("--policy={}", policy.display());
    let server = Server::start_in(home, &[&option]);
    let reply = asked(
        &server,
        &wanted(&[], STAPDEV, MachineOwnerKeys::Enrolled(vec![print])),
    );
    assert_eq!((reply.rc, &reply.signing_key), (1, &None));
    assert!(
        stderr(&reply).contains("signs no modules for hosts"),
        "{}",
        stderr(&reply)
    );
    assert_no_job_ran(&server);
}

#[test]
fn without_its_signer_a_server_serves_what_needs_no_signature() {
    let (server, print, _) = server_with_key();
    kill_process(server.child("stand_in::signer").unwrap(), Signal::KILL).unwrap();
    server.wait_for_log("the signer is gone");
    let reply = asked(
        &server,
        &wanted(&[], STAPDEV, MachineOwnerKeys::Enrolled(vec![print])),
    );
    assert!(
        stderr(&reply).contains("cannot sign modules at the moment"),
        "{}",
        stderr(&reply)
    );
    let reply = asked(
        &server,
        &wanted(&["--unprivileged"], STAPUSR, MachineOwnerKeys::NotAsked),
    );
    assert_eq!(
        (reply.rc, reply.files.len()),
        (1, 0),
        "an unsigned module is not sent in its place"
    );
    assert_eq!(talk(ask(&server, HELLO)).rc, 0);
}
