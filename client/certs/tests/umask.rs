//! The umask belongs to the whole process, so this file is a test program with a single test.
#![expect(
    clippy::unwrap_used,
    reason = "a test program: a panic is a failed test"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::Mode;
use rustix::process::umask;
use stap_certs::server::{PasswordRule, Setup};
use stap_certs::{Identity, Programs, ServerDatabase, authorize_own};

/// S58: the modes of 2.2 hold whatever the umask.
#[test]
fn the_modes_of_what_is_made_do_not_depend_on_the_umask() {
    for mask in [0, 0o022, 0o077, 0o177] {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (server, client) = (
            home.path().join("d/ssl/server"),
            home.path().join("d/ssl/client"),
        );
        let identity = Identity::of_host("labhost");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let password = PasswordRule::Required;
        let setup = Setup {
            identity: &identity,
            now,
            password,
            programs: &Programs::none(),
        };

        let before = umask(Mode::from_raw_mode(mask));
        let opened = ServerDatabase::open_or_create_with(&server, setup).unwrap();
        authorize_own(&client, &opened, now).unwrap();
        umask(before);

        let trusted = client.join(format!("{}.cert", opened.certificate.sha256()));
        for (path, expected) in [
            (home.path().join("d"), 0o755),
            (home.path().join("d/ssl"), 0o755),
            (server.clone(), 0o755),
            (client.clone(), 0o755),
            (server.join("stap.cert"), 0o644),
            (server.join("stap.key"), 0o600),
            (server.join("pw"), 0o600),
            (trusted, 0o644),
        ] {
            assert_eq!(mode(&path), expected, "umask {mask:o}: {}", path.display());
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}
