//! What the server does with its database while it starts and runs.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use stap_certs::certificate::RENEWAL_MARGIN;
use stap_certs::issue::LIFETIME;
use stap_certs::{Identity, ServerDatabase};
use tempfile::TempDir;

use crate::client::{connected, talk};
use crate::server::{Server, database, until};

#[test]
fn a_password_is_made_when_it_is_asked_for() {
    let home = TempDir::new().unwrap();
    let password = database(&home).join("pw");
    let server = Server::start_in(home, &["-P"]);
    assert_eq!(
        fs::metadata(&password).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert!(fs::read(&password).unwrap().len() > 20);
    drop(server);
}

#[test]
fn relative_names_are_found_where_the_server_was_started_and_not_where_it_serves() {
    let server = Server::start(&[]);
    assert_eq!(server.working_directory(), Path::new("/"));
    assert!(!server.certificate().is_empty());
    assert!(server.log().contains("Using network address"));
}

#[test]
fn a_certificate_that_gets_old_is_renewed_once_a_client_has_come() {
    // A slow machine starts the server only when the certificate is old already.
    let started = [3, 12, 60].into_iter().find_map(|seconds| {
        let home = TempDir::new().unwrap();
        let old = certificate_for(&database(&home), Duration::from_secs(seconds));
        let server = Server::start_in(home, &[]);
        (server.certificate() == old).then_some((server, old))
    });
    let (server, old) = started.expect("a minute is enough for a start");
    let renewed = until(|| {
        drop(TcpStream::connect(server.address()).unwrap());
        server.certificate() != old
    });
    assert!(renewed.is_some(), "{}", server.log());
    server.wait_for_log("the certificate is renewed");
    drop(talk(connected(&server)));
}

/// Makes a certificate that will have to be renewed in `left`.
#[expect(
    clippy::disallowed_methods,
    reason = "the server under test reads the same clock"
)]
fn certificate_for(database: &Path, left: Duration) -> Vec<u8> {
    let birth = SystemTime::now() + RENEWAL_MARGIN + left - LIFETIME;
    let opened = ServerDatabase::open_or_create(database, &Identity::of_host("box"), birth);
    opened.unwrap().certificate.der().to_vec()
}
