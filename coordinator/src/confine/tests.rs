//! What a confined server can still do, and what not. Landlock binds one thread, so each test gives
//! up its rights on a thread of its own.

use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use stap_certs::Programs;
use stap_certs::server::PasswordRule;
use stap_certs::{Environment, Paths};
use stap_protocol::job::{Job, Outcome, Report, Usage};
use stap_protocol::target::{TargetIdentity, TargetName};
use stap_store::{Key, Tenant};
use tempfile::TempDir;

use super::filesystem::restrict;
use crate::database::Database;

fn database(home: &TempDir) -> Database {
    let directory = Some(OsString::from(home.path()));
    let environment = Environment {
        systemtap_dir: directory.clone(),
        sysconfdir: directory,
        effective_uid: rustix::process::geteuid().as_raw(),
        ..Environment::default()
    };
    Database::new(
        &Paths::discover(&environment).unwrap(),
        None,
        "box",
        PasswordRule::default(),
    )
}

#[test]
fn a_confined_server_renews_its_certificate() {
    let home = TempDir::new().unwrap();
    let database = database(&home);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let first = database
        .open(start, &Programs::none())
        .unwrap()
        .opened
        .certificate;
    let second = thread::spawn(move || {
        restrict(&database.directories(), None).unwrap();
        let later = start + Duration::from_secs(366 * 86_400);
        database
            .open(later, &Programs::none())
            .unwrap()
            .opened
            .certificate
    });
    assert_ne!(second.join().unwrap().sha256(), first.sha256());
}

#[test]
fn a_confined_server_reads_no_other_files_and_connects_nowhere() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("secret"), "x").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let confined = thread::spawn(move || {
        let said = restrict(&[], None).unwrap();
        let read = fs::read(home.path().join("secret"));
        (said, read, std::net::TcpStream::connect(address))
    });
    let (said, read, connected) = confined.join().unwrap();
    if !said.starts_with("Landlock: ") {
        let required = std::env::var("STAP_TEST_REQUIRE").unwrap_or_default();
        let named = required
            .split(',')
            .any(|name| name == "landlock" || name == "all");
        assert!(
            !named,
            "landlock is required by STAP_TEST_REQUIRE and absent: {said}"
        );
        eprintln!("SKIPPED: needs landlock: {said}");
        return;
    }
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::PermissionDenied
    );
    assert_eq!(
        connected.unwrap_err().kind(),
        std::io::ErrorKind::PermissionDenied
    );
}

#[test]
fn a_confined_server_keeps_and_finds_results_in_the_directory_that_it_opened() {
    let home = TempDir::new().unwrap();
    let policy = stap_policy::Policy::builtin("personal").unwrap();
    let results = home.path().join("results");
    let shelf = crate::results::open(&policy, &results, None).shelf.unwrap();
    fs::write(home.path().join("beside"), "x").unwrap();
    let confined = thread::spawn(move || {
        let said = restrict(&[], Some(shelf.directory())).unwrap();
        let beside = fs::read(home.path().join("beside"));
        let put = shelf.put(&key(), &report());
        (said, beside, put.map(|()| shelf.get(&key())))
    });
    let (said, beside, kept) = confined.join().unwrap();
    assert_eq!(kept.unwrap(), Ok(Some(report())));
    if said.starts_with("Landlock: ") {
        let error = beside.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    }
}

fn key() -> Key {
    let job = Job {
        request: String::new(),
        target: TargetName {
            release: "6.1.0".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        },
        arguments: Vec::new(),
        files: Vec::new(),
        locale: Vec::new(),
        to_be_signed: false,
    };
    Key::of(&job, &TargetIdentity([0; 32]), Tenant::Everybody)
}

fn report() -> Report {
    Report {
        outcome: Outcome::Exited { code: 0 },
        stdout: b"text".to_vec(),
        stderr: Vec::new(),
        files: Vec::new(),
        private_directories: Vec::new(),
        usage: Usage::default(),
        is_whole: true,
    }
}
