use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::files::{MAX_RETIRED, retired_name};
use super::*;
use crate::authorize_own;
use crate::client::{ClientDatabase, OwnerRule};
use crate::issue::PrivateKey;

mod permissions;

/// 2026-01-01, whatever the clock of the machine says.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

struct Scene {
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            home: TempDir::new().unwrap(),
        };
        // Whatever the umask of the person who runs the tests.
        fs::set_permissions(scene.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    fn server(&self) -> std::path::PathBuf {
        self.home.path().join(".systemtap/ssl/server")
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.server().join(name)
    }

    fn client(&self) -> std::path::PathBuf {
        self.home.path().join(".systemtap/ssl/client")
    }

    fn start(&self, now: SystemTime) -> Result<Opened, DatabaseError> {
        ServerDatabase::open_or_create(&self.server(), &Identity::of_host("labhost"), now)
    }

    fn trusted(&self) -> Vec<Certificate> {
        ClientDatabase::open(&self.client(), OwnerRule::EffectiveUser)
            .unwrap()
            .certificates
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(&self) -> Vec<String> {
        match self.start(now()) {
            Err(error @ DatabaseError::Unsafe { .. }) => error.lines(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_first_start_makes_a_pair_that_only_its_user_can_read() {
    let scene = Scene::new();
    let opened = scene.start(now()).unwrap();

    assert_eq!(opened.origin, Origin::Created);
    assert_eq!(opened.warnings, Vec::<String>::new());
    assert_eq!(
        fs::read(scene.file("stap.cert")).unwrap(),
        opened.certificate.der()
    );
    assert_eq!(
        fs::read(scene.file("stap.key")).unwrap(),
        opened.private_key_pkcs8
    );
    assert_eq!(mode(&scene.file("stap.key")), 0o600);
    assert_eq!(mode(&scene.file("stap.cert")), 0o644);
    for directory in [".systemtap", ".systemtap/ssl", ".systemtap/ssl/server"] {
        assert_eq!(
            mode(&scene.home.path().join(directory)),
            0o755,
            "{directory}"
        );
    }
}

#[test]
fn later_starts_find_the_same_pair_and_trust_it_once() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    for _start in 0..3 {
        let again = scene.start(now() + days(100)).unwrap();
        assert_eq!(
            again,
            Opened {
                origin: Origin::Found,
                ..first.clone()
            }
        );
        authorize_own(&scene.client(), &again, now()).unwrap();
        assert_eq!(scene.trusted(), std::slice::from_ref(&first.certificate));
    }
}

#[test]
fn trust_that_was_removed_is_given_back_at_the_next_start() {
    let scene = Scene::new();
    let opened = scene.start(now()).unwrap();
    authorize_own(&scene.client(), &opened, now()).unwrap();
    fs::remove_dir_all(scene.client()).unwrap();

    authorize_own(&scene.client(), &scene.start(now()).unwrap(), now()).unwrap();
    assert_eq!(scene.trusted(), [opened.certificate]);
}

#[test]
fn renewal_keeps_the_old_certificate_trusted_until_it_expires_and_then_drops_it() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    authorize_own(&scene.client(), &first, now()).unwrap();

    let unhurried = scene.start(now() + days(334)).unwrap();
    assert_eq!(unhurried.origin, Origin::Found);

    let soon = now() + days(336);
    let second = scene.start(soon).unwrap();
    assert_eq!(second.origin, Origin::Renewed);
    assert_ne!(second.private_key_pkcs8, first.private_key_pkcs8);
    authorize_own(&scene.client(), &second, soon).unwrap();
    let both = scene.trusted();
    assert!(both.contains(&first.certificate) && both.contains(&second.certificate));

    let later = now() + days(366);
    let third = scene.start(later).unwrap();
    assert_eq!(third.origin, Origin::Found);
    authorize_own(&scene.client(), &third, later).unwrap();
    assert_eq!(scene.trusted(), [second.certificate]);
}

#[test]
fn an_expired_certificate_is_replaced_and_no_longer_trusted() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    authorize_own(&scene.client(), &first, now()).unwrap();

    let much_later = now() + days(1000);
    let second = scene.start(much_later).unwrap();
    authorize_own(&scene.client(), &second, much_later).unwrap();
    assert_eq!(scene.trusted(), [second.certificate]);
}

#[test]
fn a_crash_between_key_and_certificate_is_completed_at_the_next_start() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    fs::remove_file(scene.file("stap.cert")).unwrap();

    let second = scene.start(now()).unwrap();
    assert_eq!(second.origin, Origin::Completed);
    assert_eq!(second.private_key_pkcs8, first.private_key_pkcs8);
    assert_ne!(second.certificate, first.certificate);
    assert_eq!(scene.start(now()).unwrap().origin, Origin::Found);
}

#[test]
fn a_crash_while_renewing_leaves_the_new_key_with_the_old_certificate_and_is_completed() {
    let (scene, other) = (Scene::new(), Scene::new());
    let old = scene.start(now()).unwrap();
    let new_key = other.start(now()).unwrap().private_key_pkcs8;
    fs::write(scene.file("stap.key"), &new_key).unwrap();

    let opened = scene.start(now()).unwrap();
    assert_eq!(opened.origin, Origin::Completed);
    assert_eq!(opened.private_key_pkcs8, new_key);
    assert_eq!(opened.retired, [old.certificate]);
    assert!(
        opened.warnings[0].contains("not for the private key beside it"),
        "{:?}",
        opened.warnings
    );
}

#[test]
fn a_file_that_a_crash_left_half_written_is_cleared() {
    let scene = Scene::new();
    scene.start(now()).unwrap();
    fs::write(scene.file(".new"), b"half a key").unwrap();
    assert_eq!(scene.start(now()).unwrap().origin, Origin::Found);
    assert!(!scene.file(".new").exists());
}

#[test]
fn a_certificate_that_is_damaged_is_made_again_for_the_same_key() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    fs::write(scene.file("stap.cert"), b"junk").unwrap();
    let second = scene.start(now()).unwrap();
    assert_eq!(second.origin, Origin::Completed);
    assert_eq!(second.private_key_pkcs8, first.private_key_pkcs8);
}

#[test]
fn a_key_that_is_not_understood_is_not_overwritten() {
    let scene = Scene::new();
    scene.start(now()).unwrap();
    fs::write(scene.file("stap.key"), b"my own precious key").unwrap();

    let error = scene.start(now()).unwrap_err();
    assert!(
        matches!(error, DatabaseError::UnusableKey { .. }),
        "{error:?}"
    );
    assert!(
        error.lines()[0].contains("try: move it away"),
        "{:?}",
        error.lines()
    );
    assert_eq!(
        fs::read(scene.file("stap.key")).unwrap(),
        b"my own precious key"
    );
}

#[test]
fn many_servers_that_start_at_once_get_one_pair() {
    let scene = Scene::new();
    let barrier = Barrier::new(8);
    let opened: Vec<Opened> = thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let opened = scene.start(now()).unwrap();
                    authorize_own(&scene.client(), &opened, now()).unwrap();
                    opened
                })
            })
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let created = opened
        .iter()
        .filter(|opened| opened.origin == Origin::Created)
        .count();
    assert_eq!(created, 1);
    assert!(
        opened
            .iter()
            .all(|other| other.private_key_pkcs8 == opened[0].private_key_pkcs8)
    );
    assert_eq!(
        scene.trusted(),
        std::slice::from_ref(&opened[0].certificate)
    );
}

#[test]
fn the_old_name_of_the_certificate_is_adopted_or_removed() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    fs::rename(scene.file("stap.cert"), scene.file("stap-server.cert")).unwrap();
    assert_eq!(
        scene.start(now()).unwrap(),
        Opened {
            origin: Origin::Found,
            ..first.clone()
        }
    );

    fs::write(scene.file("stap-server.cert"), b"old").unwrap();
    assert_eq!(scene.start(now()).unwrap().certificate, first.certificate);
    assert!(!scene.file("stap-server.cert").exists());
}

#[test]
fn a_certificate_from_the_future_is_served_with_a_warning_about_the_clock() {
    let scene = Scene::new();
    let first = scene.start(now()).unwrap();
    let opened = scene.start(now() - days(2)).unwrap();
    assert_eq!(opened.certificate, first.certificate);
    assert!(
        opened.warnings[0].contains("set this host's clock"),
        "{:?}",
        opened.warnings
    );
}

#[test]
fn at_most_sixteen_former_certificates_are_remembered() {
    let scene = Scene::new();
    let mut when = now();
    scene.start(when).unwrap();
    let key = PrivateKey::from_pkcs8(&fs::read(scene.file("stap.key")).unwrap()).unwrap();
    for _year in 0..MAX_RETIRED + 3 {
        let former = key.certify(&Identity::of_host("h"), when).unwrap();
        fs::write(scene.file(&retired_name(&former)), former.der()).unwrap();
        scene.chmod(&retired_name(&former), 0o644);
        when += days(365);
    }
    let opened = scene.start(when).unwrap();
    assert_eq!(opened.origin, Origin::Renewed);
    assert_eq!(opened.retired.len(), MAX_RETIRED);
}

#[test]
fn the_key_is_in_no_debug_text() {
    let opened = Scene::new().start(now()).unwrap();
    assert!(!format!("{opened:?}").contains("private_key"));
}

#[test]
fn a_password_is_made_once_when_asked_for_and_kept() {
    let scene = Scene::new();
    let identity = Identity::of_host("labhost");
    let start = |password| {
        let setup = Setup {
            identity: &identity,
            now: now(),
            password,
            programs: &Programs::none(),
        };
        ServerDatabase::open_or_create_with(&scene.server(), setup).unwrap();
        fs::read(scene.file("pw"))
    };
    assert_eq!(
        start(PasswordRule::AsFound).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let made = start(PasswordRule::Required).unwrap();
    assert_eq!(mode(&scene.file("pw")), 0o600);
    assert_eq!(start(PasswordRule::Required).unwrap(), made);
    assert_eq!(start(PasswordRule::AsFound).unwrap(), made);
}
