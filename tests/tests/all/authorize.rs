//! `stap-authorize-server-cert`: rows S5, S29, S30, S37, S40, S43b, S44, S45, S52, S53 and M10.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use stap_tests::lab::{self, HELLO, Lab, User, list, mode, store_files};

/// What the global database of a host is called.
pub(crate) const GLOBAL: &str = "/etc/systemtap/ssl/client";

/// The certificate of alice's server.
pub(crate) fn certificate(lab: &Lab) -> PathBuf {
    lab.alice().server_database().join("stap.cert")
}

/// Adds alice's certificate to the default database of `user`.
pub(crate) fn authorize(lab: &Lab, user: User) {
    let added = user.run("stap-authorize-server-cert", [certificate(lab)]);
    added.exits(0).prints_nothing().says_nothing();
}

#[test]
fn s5a_s52_authorize_is_silent_and_gives_zero() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        authorize(lab, lab.bob());
    });
}

#[test]
fn s5b_s29_a_named_directory_is_made_and_holds_the_certificate() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        let directory = lab.bob().home().join("x/y");
        let arguments = [certificate(lab), directory.clone()];
        lab.bob()
            .run("stap-authorize-server-cert", arguments)
            .exits(0)
            .prints_nothing();
        assert_eq!(mode(&directory), 0o755);
        assert_trusts_exactly(&directory, &[certificate(lab)]);
    });
}

#[test]
fn s29_adding_twice_keeps_one_copy() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        authorize(lab, lab.bob());
        authorize(lab, lab.bob());
        assert_trusts_exactly(&lab.bob().client_database(), &[certificate(lab)]);
    });
}

/// Asserts which certificates a client database holds, and that each file in it is readable.
pub(crate) fn assert_trusts_exactly(database: &Path, certificates: &[PathBuf]) {
    let names = store_files(database)
        .into_iter()
        .filter(|name| name.ends_with(".cert"));
    let mut held: Vec<_> = names
        .map(|name| fs::read(database.join(name)).unwrap())
        .collect();
    let mut expected: Vec<_> = certificates
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    held.sort();
    expected.sort();
    assert!(
        held == expected,
        "{} holds {:?}",
        database.display(),
        store_files(database)
    );
    for name in store_files(database) {
        assert_eq!(mode(&database.join(&name)), 0o644, "{name}");
    }
}

#[test]
fn s30_only_the_added_certificate_makes_the_server_trusted() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let bob = lab.bob();
        let run = || bob.client(["--ssl=/home/bob/x/y", "-p1", "-e", HELLO]);
        run().exits(1).prints_nothing();
        assert_eq!(server.requests(), Vec::<String>::new());
        let directory = bob.home().join("x/y");
        bob.run("stap-authorize-server-cert", [certificate(lab), directory])
            .exits(0);
        run().exits(0).prints("# parse tree dump\n");
    });
}

#[test]
fn s37a_authorize_needs_a_certificate() {
    lab::inside(|lab| {
        let added = lab.bob().command("stap-authorize-server-cert").run();
        added
            .exits(1)
            .prints_nothing()
            .says("Certificate file must be specified");
    });
}

#[test]
fn s37b_what_is_no_certificate_changes_nothing() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        authorize(lab, lab.bob());
        let database = lab.bob().client_database();
        let before = list(&database);
        let missing = lab
            .bob()
            .run("stap-authorize-server-cert", ["/nonexistent"]);
        missing
            .exits(1)
            .prints_nothing()
            .says("Cannot find certificate file /nonexistent");
        let text = lab.bob().run("stap-authorize-server-cert", ["/etc/passwd"]);
        let reason = "Unable to add /etc/passwd to the client certificate database";
        text.exits(1).prints_nothing().says(reason);
        assert_eq!(list(&database), before);
        assert_trusts_exactly(&database, &[certificate(lab)]);
    });
}

#[test]
fn s40_s43b_an_authorized_server_is_used() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        authorize(lab, lab.bob());
        lab.bob()
            .client(["-p1", "-e", HELLO])
            .exits(0)
            .prints("# parse tree dump\n");
    });
}

#[test]
fn s44_trust_outlives_the_server_process() {
    lab::inside(|lab| {
        let first = lab.serve_with(lab.alice(), []);
        authorize(lab, lab.bob());
        let before = fs::read(certificate(lab)).unwrap();
        first.stop();
        lab.serve(lab.alice());
        assert!(
            fs::read(certificate(lab)).unwrap() == before,
            "the certificate is kept"
        );
        lab.bob().client(["-p1", "-e", HELLO]).exits(0);
    });
}

#[test]
fn s45_s53_what_root_authorizes_is_trusted_by_all() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        authorize(lab, lab.root());
        lab.bob()
            .client(["-p1", "-e", HELLO])
            .exits(0)
            .prints("# parse tree dump\n");
        assert_trusts_exactly(Path::new(GLOBAL), &[certificate(lab)]);
        for name in store_files(Path::new(GLOBAL)) {
            assert_eq!(fs::metadata(Path::new(GLOBAL).join(name)).unwrap().uid(), 0);
        }
    });
}

#[test]
fn m10_the_default_directory_is_the_client_database() {
    lab::inside(|lab| {
        lab.serve_with(lab.alice(), []);
        authorize(lab, lab.bob());
        assert_trusts_exactly(&lab.bob().client_database(), &[certificate(lab)]);
        assert!(!lab.bob().server_database().exists());
        authorize(lab, lab.root());
        assert_trusts_exactly(Path::new(GLOBAL), &[certificate(lab)]);
    });
}
