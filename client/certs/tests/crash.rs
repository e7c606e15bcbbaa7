//! A start that is killed at any point: the next one finds or makes a pair that fits, and nothing is
//! left behind.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use stap_certs::issue::PrivateKey;
use stap_certs::server::{PasswordRule, Setup};
use stap_certs::trust::authorize_own_with;
use stap_certs::{ClientDatabase, Identity, OwnerRule, Programs, ServerDatabase};

/// How the process that will be killed learns where to work.
const HOME_VARIABLE: &str = "STAP_CERTS_TEST_HOME";

fn start(home: &Path) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let identity = Identity::of_host("labhost");
    let programs = Programs::installed();
    let setup = Setup {
        identity: &identity,
        now,
        password: PasswordRule::AsFound,
        programs: &programs,
    };
    let opened =
        ServerDatabase::open_or_create_with(&home.join("server"), setup).expect("a start succeeds");
    let warnings = authorize_own_with(&home.join("client"), &opened, now, &programs)
        .expect("a server is trusted by its user");
    assert_eq!([opened.warnings, warnings].concat(), Vec::<String>::new());
}

/// Runs the test above it in a process of its own.
fn start_in_a_process(home: &Path) -> Child {
    Command::new(env::current_exe().expect("a test program has a name"))
        .args(["--exact", "a_start_to_kill", "--ignored"])
        .env(HOME_VARIABLE, home)
        .stdout(Stdio::null())
        .spawn()
        .expect("a test program can be started")
}

#[test]
#[ignore = "the process that the other test kills"]
fn a_start_to_kill() {
    let own = tempfile::tempdir().unwrap();
    let home = env::var_os(HOME_VARIABLE).map_or_else(|| own.path().to_owned(), PathBuf::from);
    start(&home);
    assert!(home.join("server/stap.key").exists());
}

#[test]
fn a_start_that_is_killed_at_any_point_is_made_good_by_the_next() {
    for sign in [
        "server",
        "server/.lock",
        "server/.new",
        "server/stap.key",
        "server/stap.cert",
        "server/.nss.new",
        "server/key4.db",
        "server/cert9.db",
        "client",
        "client/.nss",
        "client/.nss.new",
        "client/key4.db",
        "client/cert9.db",
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut child = start_in_a_process(home.path());
        wait_for(&home.path().join(sign), &mut child);
        child.kill().unwrap();
        child.wait().unwrap();

        start(home.path());
        check(home.path(), sign);
    }
}

/// Waits until the process has made the file. It may already have replaced it and gone on.
fn wait_for(path: &Path, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() && child.try_wait().expect("a child can be asked").is_none() {
        assert!(
            Instant::now() < deadline,
            "{} was never made",
            path.display()
        );
        thread::yield_now();
    }
}

fn check(home: &Path, sign: &str) {
    let server = home.join("server");
    let der = fs::read(server.join("stap.key")).expect("there is a key");
    let key = PrivateKey::from_pkcs8(&der).expect("the key is one");
    let trusted = ClientDatabase::open(&home.join("client"), OwnerRule::EffectiveUser)
        .expect("the client database is usable")
        .certificates;
    let own = fs::read(server.join("stap.cert")).expect("there is a certificate");
    let own = trusted.iter().find(|certificate| certificate.der() == own);
    let own = own.unwrap_or_else(|| panic!("killed at {sign}: the server is not trusted"));
    assert!(
        key.belongs_to(own),
        "killed at {sign}: the key is not that of the certificate"
    );
    for left in [
        "server/.new",
        "server/.nss.new",
        "client/.new",
        "client/.nss.new",
    ] {
        let left = home.join(left);
        assert!(
            !left.exists(),
            "killed at {sign}: {} was left",
            left.display()
        );
    }
    let listed = |database: &str, flags: &str| {
        let listing = Command::new("certutil")
            .args([
                "-L",
                "-d",
                &format!("sql:{}", home.join(database).display()),
            ])
            .output()
            .expect("the tests need certutil: run tests/run");
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        let is_entry = |line: &&str| line.split_whitespace().eq(["stap-server", flags]);
        let entries = listing.lines().filter(is_entry).count();
        assert_eq!(entries, 1, "killed at {sign}: {database} lists {listing}");
    };
    listed("server", "CPu,u,Cu");
    listed("client", "P,P,P");
}
