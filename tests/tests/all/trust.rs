//! Databases, their permissions and who trusts whom: rows S39, S41 to S43, S51, S59, M8, M11, M12, X10.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use stap_tests::lab::{self, HELLO, Lab, User, mode, set_mode, store_files};
use stap_tests::peer;
use stap_tests::process;

use crate::authorize::{GLOBAL, assert_trusts_exactly, authorize, certificate};
use crate::nss::another_certificate;
use crate::start::assert_database_modes;

const PARSE: [&str; 3] = ["-p1", "-e", HELLO];
const NO_DATABASE: &str = "No usable certificate databases found";

#[test]
fn s39_a_user_who_trusts_nobody_sends_nothing() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        lab.bob()
            .client(PARSE)
            .exits(1)
            .prints_nothing()
            .says(NO_DATABASE);
        assert_eq!(server.requests(), Vec::<String>::new());
    });
}

#[test]
fn s39b_a_user_who_trusts_somebody_else_sends_nothing() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        authorize_another_certificate(lab, lab.bob());
        let refused = lab.bob().client(PARSE);
        refused
            .exits(1)
            .prints_nothing()
            .says("Unable to connect to a server");
        assert_eq!(server.requests(), Vec::<String>::new());
    });
}

/// Makes `user` trust a server that is not running: one of bob's own, with databases elsewhere.
fn authorize_another_certificate(lab: &Lab, user: User) {
    let other = another_certificate(lab);
    user.run("stap-authorize-server-cert", [other]).exits(0);
}

#[test]
fn s41a_s41b_the_first_start_makes_both_databases() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        assert_database_modes(lab);
        assert_trusts_exactly(&lab.alice().client_database(), &[certificate(lab)]);
        for owned in [
            lab.alice().server_database(),
            certificate(lab),
            lab.alice().client_database(),
        ] {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(
                fs::metadata(&owned).unwrap().uid(),
                lab.alice().id,
                "{}",
                owned.display()
            );
        }
    });
}

#[test]
fn s41c_a_lost_client_database_is_made_again() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []).stop();
        fs::remove_dir_all(lab.alice().client_database()).unwrap();
        lab.serve(lab.alice());
        lab.alice()
            .client(PARSE)
            .exits(0)
            .prints("# parse tree dump\n");
    });
}

#[test]
fn s41d_later_starts_change_nothing() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []).stop();
        let before = fs::read(certificate(lab)).unwrap();
        lab.serve_with(lab.alice(), []).stop();
        lab.serve_with(lab.alice(), []).stop();
        assert!(
            fs::read(certificate(lab)).unwrap() == before,
            "the certificate is kept"
        );
        assert_trusts_exactly(&lab.alice().client_database(), &[certificate(lab)]);
    });
}

#[test]
fn s42a_a_users_server_is_trusted_by_his_clients() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice()
            .client(PARSE)
            .exits(0)
            .prints("# parse tree dump\n");
    });
}

#[test]
fn s42b_roots_server_is_trusted_by_everybody() {
    lab::inside(|lab| {
        lab.serve(lab.root());
        for user in [lab.root(), lab.bob()] {
            user.client(PARSE).exits(0).prints("# parse tree dump\n");
        }
    });
}

#[test]
fn s43a_s51_ssl_trusts_for_one_run() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let option = format!("--ssl={}", lab.alice().client_database().display());
        set_mode(&lab.alice().home(), 0o755);
        lab.bob()
            .client([&option, "-p1", "-e", HELLO])
            .exits(0)
            .prints("# parse tree dump\n");
        lab.bob()
            .client([&option, "-e", HELLO])
            .exits(0)
            .prints("Hello World!\n");
        lab.bob().client(PARSE).exits(1).prints_nothing();
    });
}

#[test]
fn s59a_a_group_writable_database_is_rejected() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        set_mode(&lab.alice().client_database(), 0o775);
        let refused = lab.alice().client(PARSE);
        refused
            .exits(1)
            .prints_nothing()
            .says("must not be writable by the group")
            .says(NO_DATABASE);
    });
}

#[test]
fn s59b_a_bad_file_rejects_the_database() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let file = only_certificate(&lab.alice().client_database());
        let rejected = |reason: &str| {
            lab.alice()
                .client(PARSE)
                .exits(1)
                .prints_nothing()
                .says(reason)
                .says(NO_DATABASE);
        };
        set_mode(&file, 0o646);
        rejected("must not be writable by the others");
        set_mode(&file, 0o744);
        rejected("must not be executable by the owner");
        set_mode(&file, 0o644);
        chown(&file, Some(lab.bob().id), None).unwrap();
        rejected("must be owned by alice");
        chown(&file, Some(lab.alice().id), None).unwrap();
        lab.alice().client(PARSE).exits(0);
        fs::remove_file(&file).unwrap();
        lab.alice().client(PARSE).exits(1).prints_nothing();
    });
}

fn only_certificate(database: &Path) -> PathBuf {
    let names = store_files(database);
    let mut certificates = names.iter().filter(|name| name.ends_with(".cert"));
    let name = certificates.next().unwrap();
    assert_eq!(certificates.next(), None);
    database.join(name)
}

#[test]
fn s59c_a_private_database_is_only_warned_about() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let database = lab.alice().client_database();
        set_mode(&only_certificate(&database), 0o600);
        set_mode(&database, 0o700);
        let warned = lab.alice().client(PARSE);
        warned
            .exits(0)
            .prints("# parse tree dump\n")
            .says("should be readable by the group");
    });
}

#[test]
fn s59d_a_missing_named_database_is_skipped() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let ran = lab
            .alice()
            .client(["--ssl=/nonexistent", "-p1", "-e", HELLO]);
        ran.exits(0)
            .prints("# parse tree dump\n")
            .says("does not exist");
    });
}

#[test]
fn s59e_a_readable_key_stops_the_server() {
    lab::inside(|lab| {
        server_rejects(
            lab,
            |own| set_mode(&own.join("stap.key"), 0o640),
            "must not be readable by the group",
        );
    });
}

#[test]
fn s59f_a_writable_server_database_stops_the_server() {
    lab::inside(|lab| {
        server_rejects(
            lab,
            |own| set_mode(own, 0o757),
            "must not be writable by the others",
        );
    });
}

#[test]
fn s59f_a_writable_certificate_stops_the_server() {
    lab::inside(|lab| {
        let open = |own: &Path| set_mode(&own.join("stap.cert"), 0o664);
        server_rejects(lab, open, "must not be writable by the group");
    });
}

#[test]
fn s59f_a_key_of_somebody_else_stops_the_server() {
    lab::inside(|lab| {
        let bob = lab.bob().id;
        let give = |own: &Path| chown(own.join("stap.key"), Some(bob), None).unwrap();
        server_rejects(lab, give, "must be owned by alice");
    });
}

/// Asserts that a server whose database was spoiled does not start, and says why.
fn server_rejects(lab: &Lab, spoil: impl FnOnce(&Path), reason: &str) {
    lab.serve_with(lab.alice(), []).stop();
    spoil(&lab.alice().server_database());
    let started = lab.alice().command("stap-start-server").run();
    started.exits(1).prints_nothing().says(reason);
    assert_eq!(process::named("stap-serverd"), []);
}

#[test]
fn s59g_a_private_server_database_is_only_warned_about() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []).stop();
        set_mode(&lab.alice().server_database(), 0o700);
        let started = lab.alice().command("stap-start-server").run();
        stap_tests::server::parse_pid(&started.exits(0).says("should be").out());
        assert_eq!(mode(&lab.alice().server_database()), 0o700);
    });
}

#[test]
fn s59h_a_global_database_must_be_roots() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        authorize(lab, lab.root());
        lab.bob().client(PARSE).exits(0);
        chown(GLOBAL, Some(lab.alice().id), None).unwrap();
        lab.bob()
            .client(PARSE)
            .exits(1)
            .prints_nothing()
            .says("must be owned by root");
    });
}

#[test]
fn m8_databases_are_tried_in_their_order() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let bob = lab.bob();
        authorize_another_certificate(lab, bob);
        authorize_another_certificate(lab, lab.root());
        let other = bob.home().join("elsewhere/ssl/server/stap.cert");
        let named = ["/home/bob/one", "/home/bob/two"];
        for database in named {
            bob.run("stap-authorize-server-cert", [&other, Path::new(database)])
                .exits(0);
        }
        let at = format!("--server={}", server.address());
        let refused = bob.client(["--ssl=one", "--ssl=two", &at, "-p1", "-e", HELLO]);
        let said = refused.exits(1).err();
        let private = bob.client_database().display().to_string();
        let order = ["one'", "two'", &private, GLOBAL].map(|database| said.find(database));
        assert!(
            order.iter().all(Option::is_some) && order.is_sorted(),
            "{refused}"
        );
    });
}

#[test]
fn m11_systemtap_dir_replaces_the_home() {
    lab::inside(|lab| {
        let directory = lab.alice().home().join("d");
        let with = |program: &str| {
            lab.alice()
                .command(program)
                .env("SYSTEMTAP_DIR", &directory)
        };
        with("stap-start-server").run().exits(0);
        assert!(directory.join("ssl/server/stap.cert").exists());
        only_certificate(&directory.join("ssl/client"));
        assert!(!lab.alice().server_database().exists());
        with("stap-client")
            .args(PARSE)
            .run()
            .exits(0)
            .prints("# parse tree dump\n");
    });
}

#[test]
fn m12_roots_clients_use_only_the_global_database() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let private = Path::new("/root/.systemtap/ssl/client");
        let arguments = [certificate(lab), private.to_owned()];
        lab.root()
            .run("stap-authorize-server-cert", arguments)
            .exits(0);
        assert!(!Path::new(GLOBAL).exists());
        lab.root()
            .client(PARSE)
            .exits(1)
            .prints_nothing()
            .says(NO_DATABASE);
    });
}

#[test]
fn x10_an_expired_certificate_is_renewed_and_trusted() {
    lab::inside(|lab| {
        let alice = lab.alice();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(50 * 365 * 24 * 3600);
        let expired = peer::databases(alice, long_ago);

        lab.serve(alice);
        let renewed = fs::read(certificate(lab)).unwrap();
        assert!(
            renewed != expired.der(),
            "the server has another certificate"
        );
        alice.client(PARSE).exits(0).prints("# parse tree dump\n");
        assert_trusts_exactly(&alice.client_database(), &[certificate(lab)]);
    });
}
