//! Databases shared with NSS: row S57, and what stock programs and ours tell each other through them.

use std::fs;
use std::path::{Path, PathBuf};

use stap_tests::finished::Finished;
use stap_tests::lab::{self, HELLO, Lab, User, mode, set_mode};
use stap_tests::requirement;
use stap_tests::root::Bare;
use stap_tests::server::{Server, parse_pid};
use stap_tests::{process, wait};

use crate::authorize::{GLOBAL, authorize, certificate};

const PARSE: [&str; 3] = ["-p1", "-e", HELLO];
const PARSED: &str = "# parse tree dump\n";
const STORE: [&str; 3] = ["cert9.db", "key4.db", "pkcs11.txt"];

/// Runs certutil on a database as its user.
fn certutil(user: User, database: &Path, words: &[&str]) -> Finished {
    let database = format!("sql:{}", database.display());
    let words = words.iter().copied().chain(["-d", &database]);
    user.run("certutil", words)
}

/// Asserts that certutil lists these flags, once for each certificate of a server.
fn assert_lists(user: User, database: &Path, flags: &[&str]) {
    let listing = certutil(user, database, &["-L"]).exits(0).out();
    let entries = listing.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("stap-server")).then(|| words.next().unwrap_or_default())
    });
    assert!(entries.eq(flags.iter().copied()), "{listing}");
}

/// A certificate of a server that does not run: bob's, with databases elsewhere.
pub(crate) fn another_certificate(lab: &Lab) -> PathBuf {
    let elsewhere = lab.bob().home().join("elsewhere");
    let start = lab.bob().command("stap-start-server");
    let start = start.env("SYSTEMTAP_DIR", &elsewhere).run();
    let pid = parse_pid(&start.exits(0).out());
    lab.bob()
        .run("stap-stop-server", [pid.to_string()])
        .exits(0);
    wait::until_true("it has ended", || {
        let servers = process::named("stap-serverd");
        servers.iter().all(|server| server.pid != pid)
    });
    elsewhere.join("ssl/server/stap.cert")
}

#[test]
fn s57_certutil_reads_both_databases() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        let alice = lab.alice();
        assert_lists(alice, &alice.server_database(), &["CPu,u,Cu"]);
        assert_lists(alice, &alice.client_database(), &["P,P,P"]);
        let shown = certutil(
            alice,
            &alice.client_database(),
            &["-L", "-n", "stap-server"],
        );
        assert!(shown.exits(0).out().contains("CN=Systemtap Compile Server"));
        for name in STORE {
            assert_eq!(mode(&alice.server_database().join(name)), 0o600, "{name}");
            assert_eq!(mode(&alice.client_database().join(name)), 0o644, "{name}");
        }
    });
}

#[test]
fn s29_certutil_lists_what_was_authorized_once() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        let directory = lab.bob().home().join("x/y");
        for _time in 0..2 {
            let arguments = [certificate(lab), directory.clone()];
            lab.bob()
                .run("stap-authorize-server-cert", arguments)
                .exits(0)
                .says_nothing();
        }
        assert_lists(lab.bob(), &directory, &["P,P,P"]);
    });
}

#[test]
fn what_certutil_adds_and_removes_is_trusted_and_not() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let (bob, database) = (lab.bob(), lab.bob().client_database());
        fs::create_dir_all(&database).unwrap();
        for made in [".systemtap", ".systemtap/ssl", ".systemtap/ssl/client"] {
            let made = bob.home().join(made);
            std::os::unix::fs::chown(&made, Some(bob.id), Some(bob.id)).unwrap();
            set_mode(&made, 0o755);
        }
        certutil(bob, &database, &["-N", "--empty-password"]).exits(0);
        bob.client(PARSE).exits(1).prints_nothing();
        let file = certificate(lab);
        let add = [
            "-A",
            "-n",
            "stap-server",
            "-t",
            "P,P,P",
            "-i",
            file.to_str().unwrap(),
        ];
        certutil(bob, &database, &add).exits(0);
        bob.client(PARSE).exits(0).prints(PARSED);
        certutil(bob, &database, &["-D", "-n", "stap-server"]).exits(0);
        bob.client(PARSE).exits(1).prints_nothing();
    });
}

#[test]
fn the_global_store_counts_for_users_who_cannot_write_it() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let global = Path::new(GLOBAL);
        let other = another_certificate(lab);
        lab.root()
            .run("stap-authorize-server-cert", [other])
            .exits(0)
            .says_nothing();
        lab.bob().client(PARSE).exits(1).prints_nothing();
        let file = certificate(lab);
        let add = [
            "-A",
            "-n",
            "stap-server",
            "-t",
            "P,P,P",
            "-i",
            file.to_str().unwrap(),
        ];
        certutil(lab.root(), global, &add).exits(0);
        let before = lab::list(global);
        lab.bob().client(PARSE).exits(0).prints(PARSED);
        assert_eq!(lab::list(global), before, "bob has written nothing");
        for name in STORE {
            assert_eq!(mode(&global.join(name)), 0o644, "{name}");
        }
    });
}

#[test]
fn s59b_a_bad_file_of_the_store_rejects_the_database() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let (alice, database) = (lab.alice(), lab.alice().client_database());
        let rejected = |reason: &str| {
            alice.client(PARSE).exits(1).prints_nothing().says(reason);
        };
        set_mode(&database.join("cert9.db"), 0o646);
        rejected("cert9.db' must not be writable by the others");
        set_mode(&database.join("cert9.db"), 0o744);
        rejected("cert9.db' must not be executable by the owner");
        set_mode(&database.join("cert9.db"), 0o644);
        alice.client(PARSE).exits(0);
        fs::remove_file(database.join("key4.db")).unwrap();
        rejected("key4.db' does not exist");
    });
}

#[test]
fn s59e_a_readable_key_store_stops_the_server() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []).stop();
        set_mode(&lab.alice().server_database().join("key4.db"), 0o640);
        let started = lab.alice().command("stap-start-server").run();
        started
            .exits(1)
            .prints_nothing()
            .says("must not be readable by the group");
    });
}

#[test]
fn a_garbage_store_is_told_and_other_databases_are_used() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let (alice, database) = (lab.alice(), lab.alice().client_database());
        fs::write(database.join("cert9.db"), "garbage").unwrap();
        let ran = alice.client(PARSE);
        ran.exits(0)
            .prints(PARSED)
            .says("it is not an SQLite 3 database")
            .says("try: certutil -L -d");
    });
}

#[test]
fn the_clients_of_a_stock_server_trust_the_one_that_takes_over() {
    lab::inside(|lab| {
        let alice = lab.alice();
        // A database as a stock server makes it; its certificate was handed out long ago.
        lab.serve_with(alice, []).stop();
        let database = alice.server_database();
        fs::remove_file(database.join("stap.key")).unwrap();
        authorize(lab, lab.bob());
        fs::remove_dir_all(alice.client_database()).unwrap();

        let started = alice.command("stap-start-server").run();
        parse_pid(&started.exits(0).says("were taken over").out());
        for user in [alice, lab.bob()] {
            user.client(PARSE).exits(0).prints(PARSED);
        }
    });
}

/// The stock client of the target root, with the user's own databases.
fn stock(lab: &Lab, user: User) -> Bare {
    let bare = Bare::prepare(lab, user);
    fs::create_dir_all(user.client_database()).unwrap();
    for made in [".systemtap", ".systemtap/ssl", ".systemtap/ssl/client"] {
        let made = user.home().join(made);
        std::os::unix::fs::chown(&made, Some(user.id), Some(user.id)).unwrap();
        set_mode(&made, 0o755);
    }
    bare.share(".systemtap");
    bare.lend(&["unzip", "zip"]);
    bare
}

fn stock_parses(bare: &Bare, server: &Server) -> Finished {
    let named = format!("--use-server={}", server.address());
    bare.stap(&[&named, "-p1", "-e", HELLO])
}

#[test]
fn what_our_tools_authorize_is_trusted_by_a_stock_client_until_it_is_revoked() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let bob = lab.bob();
        let bare = stock(lab, bob);
        stock_parses(&bare, &server).exits(1).prints_nothing();
        authorize(lab, bob);
        stock_parses(&bare, &server).exits(0).prints(PARSED);

        let at = format!("--server={}", server.address());
        bob.client([&at, "--trust-servers=revoke,no-prompt"])
            .exits(0);
        stock_parses(&bare, &server).exits(1).prints_nothing();
        bob.client(PARSE).exits(1).prints_nothing();
        bob.client([&at, "--trust-servers=no-prompt"]).exits(0);
        stock_parses(&bare, &server).exits(0).prints(PARSED);
    });
}

#[test]
fn a_changed_certificate_is_told_to_both_clients_until_it_is_trusted() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let bob = lab.bob();
        let former = lab.serve_with(lab.alice(), []);
        let bare = stock(lab, bob);
        authorize(lab, bob);
        stock_parses(&bare, &former).exits(0);
        former.stop();
        fs::remove_dir_all(lab.alice().server_database()).unwrap();

        let server = lab.serve(lab.alice());
        let before = lab::store_files(&bob.client_database());
        let refused = bob.client(PARSE);
        refused
            .exits(1)
            .prints_nothing()
            .says("is not trusted")
            .says("stap-authorize-server-cert stap.cert");
        stock_parses(&bare, &server)
            .exits(1)
            .prints_nothing()
            .says("Unable to connect to a server");
        assert_eq!(lab::store_files(&bob.client_database()), before);
        assert_eq!(server.requests(), Vec::<String>::new(), "nothing was sent");
        authorize(lab, bob);
        bob.client(PARSE).exits(0).prints(PARSED);
        stock_parses(&bare, &server).exits(0).prints(PARSED);
    });
}

#[test]
fn what_a_stock_client_trusts_and_revokes_is_trusted_by_ours_and_not() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let bob = lab.bob();
        let bare = stock(lab, bob);
        let named = format!("--use-server={}", server.address());
        bare.stap(&[&named, "--trust-servers=ssl,no-prompt"])
            .exits(0);
        bob.client(PARSE).exits(0).prints(PARSED);
        // Both stay in step while somebody else is trusted too.
        let other = another_certificate(lab);
        bob.run("stap-authorize-server-cert", [&other])
            .exits(0)
            .says_nothing();
        stock_parses(&bare, &server).exits(0).prints(PARSED);
        bob.client(PARSE).exits(0).prints(PARSED);

        let der = fs::read(certificate(lab)).unwrap();
        let serial = stap_certs::Certificate::from_der(&der)
            .unwrap()
            .serial_text();
        let named = format!("--use-server={serial}");
        bare.stap(&[&named, "--trust-servers=revoke,ssl,no-prompt"])
            .exits(0);
        stock_parses(&bare, &server).exits(1).prints_nothing();
        bob.client(PARSE).exits(1).prints_nothing();

        // What a newer NSS wrote about trust is taken back by an older certutil too.
        let named = format!("--use-server={}", server.address());
        bare.stap(&[&named, "--trust-servers=ssl,no-prompt"])
            .exits(0);
        bob.client(PARSE).exits(0).prints(PARSED);
        revoke(bob, &certificate(lab));
        bob.run("stap-authorize-server-cert", [other])
            .exits(0)
            .says_nothing();
        stock_parses(&bare, &server).exits(1).prints_nothing();
    });
}

/// The way to revoke without a tool: the file goes. It reaches the store with the next change.
fn revoke(user: User, certificate: &Path) {
    let der = fs::read(certificate).unwrap();
    let fingerprint = stap_certs::Certificate::from_der(&der).unwrap().sha256();
    let file = user.client_database().join(format!("{fingerprint}.cert"));
    user.run("rm", [file]).exits(0);
}
