use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::issue::{Identity, PrivateKey};

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

fn certificate(host: &str) -> Certificate {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    KEY.certify(&Identity::of_host(host), now).unwrap()
}

struct Scene {
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            home: TempDir::new().unwrap(),
        };
        fs::set_permissions(scene.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    fn with(certificates: &[&Certificate]) -> Self {
        let scene = Self::new();
        let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
        for certificate in certificates {
            database.add(certificate).unwrap();
        }
        scene
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("ssl/client")
    }

    fn file(&self, certificate: &Certificate) -> PathBuf {
        self.path().join(file_name(certificate.sha256()))
    }

    fn open(&self) -> Result<Opened, DatabaseError> {
        ClientDatabase::open(&self.path(), OwnerRule::EffectiveUser)
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(&self) -> Vec<String> {
        match self.open() {
            Err(error @ DatabaseError::Unsafe { .. }) => error.lines(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

#[test]
fn several_certificates_are_kept_each_once() {
    let (first, second) = (certificate("a"), certificate("b"));
    let scene = Scene::with(&[&first, &second, &first]);
    let opened = scene.open().unwrap();
    assert_eq!(opened.certificates.len(), 2);
    assert!(opened.certificates.contains(&first) && opened.certificates.contains(&second));
    assert_eq!(opened.warnings, Vec::<String>::new());
}

#[test]
fn adding_says_whether_the_certificate_is_new() {
    let scene = Scene::new();
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    let known = certificate("a");
    assert_eq!(
        database.add(&known).unwrap(),
        Added {
            is_new: true,
            warnings: vec![]
        }
    );
    assert_eq!(
        database.add(&known).unwrap(),
        Added {
            is_new: false,
            warnings: vec![]
        }
    );
}

#[test]
fn every_user_can_read_what_is_trusted() {
    let known = certificate("a");
    let scene = Scene::with(&[&known]);
    assert_eq!(fs::metadata(scene.path()).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(
        fs::metadata(scene.file(&known)).unwrap().mode() & 0o7777,
        0o644
    );
    assert_eq!(fs::read(scene.file(&known)).unwrap(), known.der());
}

#[test]
fn adding_opens_an_nss_store_and_older_certificates_to_readers() {
    let known = certificate("a");
    let scene = Scene::with(&[&known]);
    let old_name = file_name(known.sha256());
    for name in ["cert9.db", "key4.db", "pkcs11.txt"] {
        fs::write(scene.path().join(name), b"x").unwrap();
    }
    for name in ["cert9.db", "key4.db", "pkcs11.txt", &old_name] {
        scene.chmod(name, 0o600);
    }
    ClientDatabase::open_or_create(&scene.path())
        .unwrap()
        .add(&certificate("b"))
        .unwrap();
    for name in ["cert9.db", "key4.db", "pkcs11.txt", &old_name] {
        assert_eq!(
            fs::metadata(scene.path().join(name)).unwrap().mode() & 0o777,
            0o644,
            "{name}"
        );
    }
}

#[test]
fn removing_is_told_and_happens_once() {
    let known = certificate("a");
    let scene = Scene::with(&[&known]);
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    assert!(database.remove(known.sha256()).unwrap().was_trusted);
    assert!(!database.remove(known.sha256()).unwrap().was_trusted);
    assert_eq!(scene.open().unwrap().certificates, []);
}

#[test]
fn an_empty_directory_is_a_database_that_trusts_nobody() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path()).unwrap();
    scene.chmod("", 0o755);
    assert_eq!(
        scene.open().unwrap(),
        Opened {
            certificates: vec![],
            warnings: vec![]
        }
    );
}

#[test]
fn a_database_that_is_not_there_is_told_apart_from_one_that_is_unsafe() {
    let scene = Scene::new();
    let error = scene.open().unwrap_err();
    assert!(
        matches!(&error, DatabaseError::Missing { path } if *path == scene.path()),
        "{error:?}"
    );
    let lines = error.lines();
    let shown = scene.path();
    let shown = shown.display();
    assert!(
        lines[0].starts_with(&format!("Certificate database '{shown}' does not exist\n")),
        "{lines:?}"
    );
    assert_eq!(
        lines[1],
        format!("Unable to use certificate database '{shown}' due to errors")
    );
}

#[test]
fn a_file_in_place_of_the_database_is_refused() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path().parent().unwrap()).unwrap();
    fs::write(scene.path(), b"x").unwrap();
    assert!(scene.refusal()[0].ends_with("is not a directory"));
}

#[test]
fn each_forbidden_permission_makes_the_database_unusable() {
    let known = certificate("a");
    let file = file_name(known.sha256());
    for (name, mode, expected) in [
        ("", 0o775, "must not be writable by the group"),
        ("", 0o757, "must not be writable by the others"),
        (&file, 0o646, "must not be writable by the others"),
        (&file, 0o744, "must not be executable by the owner"),
        ("cert9.db", 0o664, "must not be writable by the group"),
    ] {
        let scene = Scene::with(&[&known]);
        for extra in ["cert9.db", "key4.db", "pkcs11.txt"] {
            let store = include_bytes!("../../fuzz/corpus/store/good-pkcs11-trust.db");
            fs::write(scene.path().join(extra), store).unwrap();
            scene.chmod(extra, 0o644);
        }
        assert_eq!(scene.open().unwrap().warnings, Vec::<String>::new());
        scene.chmod(name, mode);
        let lines = scene.refusal();
        assert!(lines[0].contains(expected), "{name} {mode:o}: {lines:?}");
    }
}

#[test]
fn missing_permissions_are_only_worth_warnings() {
    let known = certificate("a");
    let scene = Scene::with(&[&known]);
    scene.chmod(&file_name(known.sha256()), 0o600);
    scene.chmod("", 0o700);
    let opened = scene.open().unwrap();
    assert_eq!(opened.certificates, [known]);
    assert!(
        opened.warnings[0].contains("should be readable by the group"),
        "{opened:?}"
    );
    assert_eq!(opened.warnings.len(), 6);
}

#[test]
fn an_incomplete_legacy_store_is_refused() {
    let scene = Scene::with(&[]);
    fs::write(scene.path().join("key3.db"), b"x").unwrap();
    scene.chmod("key3.db", 0o644);
    let lines = scene.refusal();
    assert!(lines[0].contains("cert8.db' does not exist"), "{lines:?}");
    assert!(lines[1].contains("secmod.db' does not exist"), "{lines:?}");
}

#[test]
fn a_file_that_holds_another_certificate_than_its_name_says_is_not_believed() {
    let (known, other) = (certificate("a"), certificate("b"));
    let scene = Scene::with(&[&known]);
    for content in [other.der(), b"junk", &vec![0x30; MAX_CERTIFICATE_BYTES + 1]] {
        fs::write(scene.file(&known), content).unwrap();
        let opened = scene.open().unwrap();
        assert_eq!(opened.certificates, []);
        assert!(
            opened.warnings[0].contains("is ignored\n  try: rm '"),
            "{:?}",
            opened.warnings
        );
    }
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    assert!(database.add(&known).unwrap().is_new);
    assert_eq!(scene.open().unwrap().certificates, [known]);
}

#[test]
fn names_that_are_not_ours_are_left_alone() {
    let known = certificate("a");
    let scene = Scene::with(&[&known]);
    let upper = file_name(known.sha256()).to_uppercase();
    for name in ["README", "server.cert", ".new", &upper] {
        fs::write(scene.path().join(name), certificate("b").der()).unwrap();
    }
    assert_eq!(scene.open().unwrap().certificates, [known]);
}

#[test]
fn a_fifo_in_place_of_a_certificate_is_refused_without_waiting() {
    let known = certificate("a");
    let scene = Scene::with(&[]);
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.file(&known), 0o644.into()).unwrap();
    assert!(scene.refusal()[0].ends_with("is not a regular file"));
}

#[test]
fn a_symbolic_link_is_never_written_through() {
    let known = certificate("a");
    let scene = Scene::with(&[]);
    let victim = scene.home.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    symlink(&victim, scene.file(&known)).unwrap();
    symlink(&victim, scene.path().join(".new")).unwrap();
    ClientDatabase::open_or_create(&scene.path())
        .unwrap()
        .add(&known)
        .unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(scene.open().unwrap().certificates, [known]);
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let scene = Scene::with(&[]);
    fs::remove_file(scene.path().join(".lock")).unwrap_or_default();
    symlink(
        scene.home.path().join("made-by-lock"),
        scene.path().join(".lock"),
    )
    .unwrap();
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    let error = database.add(&certificate("a")).unwrap_err();
    assert!(
        matches!(error, DatabaseError::Io { action: "open", .. }),
        "{error:?}"
    );
    assert!(!scene.home.path().join("made-by-lock").exists());
}

#[test]
fn a_database_trusts_a_bounded_number_of_servers() {
    let scene = Scene::with(&[]);
    for number in 0..MAX_CERTIFICATES {
        let name = file_name(Fingerprint::of(&number.to_ne_bytes()));
        fs::write(scene.path().join(&name), b"x").unwrap();
        scene.chmod(&name, 0o644);
    }
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    let error = database.add(&certificate("a")).unwrap_err();
    assert!(
        matches!(
            error,
            DatabaseError::TooMany {
                what: "certificates",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(scene.open().unwrap().warnings.len(), MAX_CERTIFICATES);

    fs::write(scene.file(&certificate("a")), b"x").unwrap();
    let error = scene.open().unwrap_err();
    assert!(matches!(error, DatabaseError::TooMany { .. }), "{error:?}");
}

#[test]
fn adding_to_a_directory_that_clients_will_refuse_says_so() {
    let scene = Scene::with(&[]);
    scene.chmod("", 0o777);
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    let added = database.add(&certificate("a")).unwrap();
    assert!(added.is_new);
    assert!(added.warnings[0].contains("must not be writable by the group\n  try: chmod g-w"));
}

#[test]
fn a_directory_that_cannot_be_made_is_told_with_its_name() {
    let scene = Scene::new();
    fs::write(scene.home.path().join("ssl"), b"a file in the way").unwrap();
    let error = ClientDatabase::open_or_create(&scene.path()).unwrap_err();
    assert!(matches!(error, DatabaseError::Create { .. }), "{error:?}");
    assert!(
        error.lines()[0].contains("SYSTEMTAP_DIR"),
        "{:?}",
        error.lines()
    );
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let certificates: Vec<_> = (0..12)
        .map(|number| certificate(&format!("h{number}")))
        .collect();
    let scene = Scene::with(&[]);
    thread::scope(|scope| {
        for certificate in &certificates {
            scope.spawn(|| {
                ClientDatabase::open_or_create(&scene.path())
                    .unwrap()
                    .add(certificate)
                    .unwrap();
            });
        }
    });
    assert_eq!(scene.open().unwrap().certificates.len(), certificates.len());
}
