//! `stap-client --list-servers` and `--trust-servers`.

use stap_tests::finished::Finished;
use stap_tests::lab::{self, HELLO, Lab, User};
use stap_tests::server::Server;

use crate::authorize::{assert_trusts_exactly, certificate};

/// The lines that name servers; the first line says what they are.
fn listed(user: User, words: &[&str]) -> (String, Vec<String>) {
    let list = user.client(words);
    list.exits(0).prints_nothing();
    let said = list.err();
    let mut lines = said.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

fn header(properties: &str) -> String {
    format!("Systemtap Compile Server Status for '{properties}'")
}

fn at(server: &Server) -> String {
    format!("--server={}", server.address())
}

/// What of a line is known without looking: where the server is.
fn names(line: &str, server: &Server) -> bool {
    line.starts_with(" host=labhost.local address=")
        && line.contains(&format!(" port={} ", server.port))
}

#[test]
fn servers_are_listed_by_what_they_are() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let asked = "online,trusted,compatible";
        for words in ["--list-servers", "--list-servers=specified"] {
            let (first, lines) = listed(lab.alice(), &[words]);
            assert_eq!(first, header(asked));
            assert!(
                !lines.is_empty() && lines.iter().all(|line| names(line, &server)),
                "{lines:?}"
            );
            // Bob trusts nobody.
            assert_eq!(
                listed(lab.bob(), &[words]),
                (header(asked), vec!["No servers found".to_owned()])
            );
        }
        for properties in ["all", "online", "online,compatible"] {
            let (first, lines) = listed(lab.bob(), &[&format!("--list-servers={properties}")]);
            assert_eq!(first, header(properties));
            assert!(lines.iter().all(|line| names(line, &server)), "{lines:?}");
        }
        let elsewhere = ["--list-servers=online,compatible", "-r9.9.9-none"];
        assert_eq!(listed(lab.bob(), &elsewhere).1, ["No servers found"]);
        let (_, lines) = listed(lab.alice(), &["--list-servers=all"]);
        let serial = lines[0]
            .split("certinfo=\"")
            .nth(1)
            .unwrap()
            .trim_end_matches('"')
            .to_owned();
        assert!(
            lines[0].contains(" sysinfo=\"") && lines[0].contains(" version="),
            "{lines:?}"
        );

        // Named with its port, nothing but the certificate is known; by number, all that is announced.
        let (first, lines) = listed(lab.bob(), &["--list-servers", &at(&server)]);
        assert_eq!(first, header("specified"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].ends_with(&format!(
                "sysinfo=\"unknown\" version=unknown certinfo=\"{serial}\""
            )),
            "{lines:?}"
        );
        let (_, lines) = listed(
            lab.bob(),
            &["--list-servers", &format!("--use-server={serial}")],
        );
        assert!(lines.iter().all(|line| names(line, &server)), "{lines:?}");

        // One that is gone is still trusted.
        server.stop();
        let offline = " address=offline port=unknown sysinfo=\"unknown\" version=unknown ";
        for properties in ["all", "trusted"] {
            let (_, lines) = listed(lab.alice(), &[&format!("--list-servers={properties}")]);
            assert!(
                lines.len() == 1 && lines[0].contains(offline) && lines[0].contains(&serial),
                "{lines:?}"
            );
        }
        let bogus = lab.alice().client(["--list-servers=bogus,online"]);
        bogus
            .exits(0)
            .says("unsupported compile server property: bogus")
            .says("No servers found");
    });
}

#[test]
fn trust_is_asked_for_and_given_to_the_certificate_that_the_server_shows() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let bob = lab.bob();
        let trust = |words: &str, answer: &str| -> Finished {
            let words = format!("--trust-servers={words}");
            bob.command("stap-client")
                .args([&words, &at(&server)])
                .input(answer)
                .run()
        };
        for answer in ["", "n\n", "yes\n"] {
            let refused = trust("ssl", answer);
            refused
                .exits(0)
                .says("Server trust unchanged")
                .prints_nothing();
            assert_trusts_nobody(bob);
        }
        let agreed = trust("", "y\n");
        agreed
            .exits(0)
            .says("Add trust in the following servers as an SSL peer for the current user?")
            .says("[y/N] ")
            .never_says("unchanged");
        assert_trusts_exactly(&bob.client_database(), &[certificate(lab)]);
        compiles(bob, &server);
        // It is shown what was trusted.
        let digest = lab::store_files(&bob.client_database());
        let digest = digest
            .iter()
            .find_map(|name| name.strip_suffix(".cert"))
            .unwrap();
        agreed.says(&format!("certificate sha256={digest}"));

        trust("revoke,no-prompt", "")
            .exits(0)
            .says("Revoking trust in the following servers as an SSL peer for the current user");
        assert_trusts_nobody(bob);
        trust("no-prompt", "").exits(0);
        compiles(bob, &server);
        // What is gone can be revoked by its number.
        let (_, lines) = listed(bob, &["--list-servers=trusted"]);
        let serial = lines[0]
            .split("certinfo=\"")
            .nth(1)
            .unwrap()
            .trim_end_matches('"')
            .to_owned();
        server.stop();
        bob.client([
            "--trust-servers=revoke,no-prompt",
            &format!("--server={serial}"),
        ])
        .exits(0);
        assert_trusts_nobody(bob);
    });
}

#[test]
fn only_root_trusts_for_everybody() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        for word in ["signer", "all-users"] {
            lab.bob()
                .client([&format!("--trust-servers={word},no-prompt"), &at(&server)])
                .exits(0)
                .says(&format!(
                    "Only root can specify '{word}' on --trust-servers"
                ));
        }
        assert_trusts_nobody(lab.bob());
        let global = lab
            .root()
            .client(["--trust-servers=all-users,no-prompt", &at(&server)]);
        global.exits(0).says("as an SSL peer for all users");
        compiles(lab.bob(), &server);
        let signer = lab
            .root()
            .client(["--trust-servers=signer,no-prompt", &at(&server)]);
        signer.exits(0).says("as a module signer for all users");
        let (_, lines) = listed(lab.bob(), &["--list-servers=signer"]);
        assert!(
            !lines.is_empty() && lines.iter().all(|line| names(line, &server)),
            "{lines:?}"
        );
        nobody_identified(lab);
    });
}

fn nobody_identified(lab: &Lab) {
    for words in [
        &["--trust-servers"][..],
        &["--trust-servers=ssl", "--server=nowhere.example:1"],
    ] {
        lab.root()
            .client(words)
            .exits(0)
            .says("No servers identified for trust");
    }
}

fn compiles(user: User, server: &Server) {
    user.client([&at(server), "-p1", "-e", HELLO]).exits(0);
}

fn assert_trusts_nobody(user: User) {
    let held = lab::store_files(&user.client_database());
    assert!(!held.iter().any(|name| name.ends_with(".cert")), "{held:?}");
}
