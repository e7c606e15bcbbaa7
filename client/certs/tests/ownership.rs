//! Whose files a database may hold, tried with real owners. Only root can give files away, so for
//! anybody else these tests are listed as skipped; `STAP_TEST_REQUIRE=root` makes that a failure.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program: a panic is a failed test, and what did not run must be said"
)]

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use stap_certs::{
    Certificate, ClientDatabase, DatabaseError, Identity, OwnerRule, ServerDatabase, authorize_own,
};
use tempfile::TempDir;

/// A user that no passwd database knows.
const STRANGER: u32 = 3_999_999_998;

struct Scene {
    home: TempDir,
}

impl Scene {
    /// A server of this user that its clients trust.
    fn served() -> Self {
        let scene = Self {
            home: TempDir::new().unwrap(),
        };
        fs::set_permissions(scene.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        scene.start().unwrap();
        scene
    }

    fn start(&self) -> Result<(), DatabaseError> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let identity = Identity::of_host("labhost");
        let opened = ServerDatabase::open_or_create(&self.server(), &identity, now)?;
        authorize_own(&self.client(), &opened, now)?;
        Ok(())
    }

    fn server(&self) -> PathBuf {
        self.home.path().join("server")
    }

    fn client(&self) -> PathBuf {
        self.home.path().join("client")
    }

    fn trusted_file(&self) -> PathBuf {
        let is_certificate = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "cert");
        let entries = fs::read_dir(self.client()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .find(is_certificate)
            .unwrap()
    }

    fn refusal(&self, rule: OwnerRule) -> Vec<String> {
        ClientDatabase::open(&self.client(), rule)
            .unwrap_err()
            .lines()
    }
}

/// Tells whether a test can run. A skip is listed where `tests/run` looks for it, as those of the
/// `stap-tests` package are; that package builds on this one and cannot be used here.
fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let required = env::var("STAP_TEST_REQUIRE").unwrap_or_default();
    let is_required = required
        .split(',')
        .any(|name| name == "root" || name == "all");
    assert!(
        !is_required,
        "root is required by STAP_TEST_REQUIRE and absent"
    );
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let skip = format!("{test}: needs root: only root can give files away");
    eprintln!("SKIPPED {skip}");
    if let Some(list) = env::var_os("STAP_TEST_SKIPPED") {
        let mut list = OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .unwrap();
        writeln!(list, "{skip}").unwrap();
    }
    false
}

/// Runs as an ordinary user: the kernel keeps user ids per thread, so only a thread of its own changes.
fn as_stranger<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let stranger = Uid::from_raw(STRANGER);
        let run = move || {
            set_thread_res_uid(stranger, stranger, stranger).unwrap();
            act()
        };
        scope.spawn(run).join().unwrap()
    })
}

fn give_away(path: &Path) {
    chown(path, Some(STRANGER), None).unwrap();
}

/// S59f: a key store of somebody else stops the server.
#[test]
fn a_server_refuses_files_of_somebody_else() {
    if !is_root() {
        return;
    }
    for name in ["", "stap.key", "stap.cert"] {
        let scene = Scene::served();
        let path = scene.server().join(name);
        give_away(&path);
        let lines = scene.start().unwrap_err().lines();
        assert!(
            lines[0].contains("' must be owned by root\n  try: chown root '"),
            "{lines:?}"
        );
        assert!(
            lines
                .last()
                .unwrap()
                .starts_with("Unable to use certificate database '")
        );
    }
}

/// S59b and S59h: neither the database nor a file in it may be somebody else's.
#[test]
fn a_client_refuses_a_database_of_somebody_else() {
    if !is_root() {
        return;
    }
    for rule in [OwnerRule::EffectiveUser, OwnerRule::Root] {
        let scene = Scene::served();
        give_away(&scene.trusted_file());
        assert!(scene.refusal(rule)[0].contains("must be owned by root"));
        let scene = Scene::served();
        give_away(&scene.client());
        assert!(scene.refusal(rule)[0].contains("must be owned by root"));
    }
}

/// D36: a database that the user named may be anybody's, but not writable for others.
#[test]
fn a_database_that_the_user_named_may_be_anybodys() {
    if !is_root() {
        return;
    }
    let scene = Scene::served();
    give_away(&scene.trusted_file());
    give_away(&scene.client());
    let opened = ClientDatabase::open(&scene.client(), OwnerRule::Anyone).unwrap();
    assert_eq!(opened.certificates.len(), 1);
    assert_eq!(opened.warnings, Vec::<String>::new());

    fs::set_permissions(scene.client(), fs::Permissions::from_mode(0o775)).unwrap();
    assert!(scene.refusal(OwnerRule::Anyone)[0].contains("must not be writable by the group"));
}

/// Root adds to the global database and leaves the permissions of somebody else's file alone.
#[test]
fn adding_does_not_touch_files_of_somebody_else() {
    if !is_root() {
        return;
    }
    let scene = Scene::served();
    let theirs = scene.client().join("cert9.db");
    fs::write(&theirs, b"x").unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    give_away(&theirs);
    scene.start().unwrap();
    assert_eq!(
        fs::metadata(&theirs).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

/// 2.3: the access test. Root may read everything, so an ordinary user tries.
#[test]
fn what_a_client_cannot_read_is_told() {
    if !is_root() {
        return;
    }
    for (path, mode) in [("", 0o711), ("the certificate", 0o600)] {
        let scene = Scene::served();
        let path = if path.is_empty() {
            scene.client()
        } else {
            scene.trusted_file()
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let lines = as_stranger(|| scene.refusal(OwnerRule::Root));
        let unreadable = format!("'{}' is not readable", path.display());
        assert!(
            lines.iter().any(|line| line.contains(&unreadable)),
            "{lines:?}"
        );
    }
}

/// The rules for an ordinary user's own server, and what happens where he may not write.
#[test]
fn an_ordinary_user_has_a_server_of_his_own_and_none_elsewhere() {
    if !is_root() {
        return;
    }
    let scene = Scene {
        home: TempDir::new().unwrap(),
    };
    give_away(scene.home.path());
    as_stranger(|| scene.start()).unwrap();
    let opened = as_stranger(|| ClientDatabase::open(&scene.client(), OwnerRule::EffectiveUser));
    assert_eq!(opened.unwrap().certificates.len(), 1);

    // Root, and so everybody else, does not take the user's database for his own.
    assert!(scene.refusal(OwnerRule::EffectiveUser)[0].contains("must be owned by root"));

    let elsewhere = Scene {
        home: TempDir::new().unwrap(),
    };
    fs::set_permissions(elsewhere.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let error = as_stranger(|| elsewhere.start()).unwrap_err();
    assert!(matches!(error, DatabaseError::Create { .. }), "{error:?}");
    assert!(
        error.lines()[0].contains("choose another place with SYSTEMTAP_DIR"),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(elsewhere.home.path()).unwrap().count(), 0);
}

/// A certificate that its own user cannot read is made again; a key that he cannot read is told.
#[test]
fn a_server_that_cannot_read_its_certificate_makes_another_one() {
    if !is_root() {
        return;
    }
    let scene = Scene {
        home: TempDir::new().unwrap(),
    };
    give_away(scene.home.path());
    as_stranger(|| scene.start()).unwrap();
    let certificate = scene.server().join("stap.cert");
    let before = fs::read(&certificate).unwrap();
    fs::set_permissions(&certificate, fs::Permissions::from_mode(0o244)).unwrap();
    as_stranger(|| scene.start()).unwrap();
    assert_ne!(fs::read(&certificate).unwrap(), before);

    let key = scene.server().join("stap.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o200)).unwrap();
    let lines = as_stranger(|| scene.start()).unwrap_err().lines();
    assert!(
        lines[0].contains("stap.key' is not readable\n  try: chmod u+r '"),
        "{lines:?}"
    );
}

/// A pair that an operator put where the server may not write is served, and trust that is already
/// there is enough.
#[test]
fn a_good_pair_is_served_from_a_directory_that_cannot_be_written() {
    if !is_root() {
        return;
    }
    let scene = Scene {
        home: TempDir::new().unwrap(),
    };
    give_away(scene.home.path());
    as_stranger(|| scene.start()).unwrap();
    for directory in [scene.server(), scene.client()] {
        fs::remove_file(directory.join(".lock")).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o555)).unwrap();
    }
    as_stranger(|| scene.start()).unwrap();

    fs::remove_file(scene.server().join("stap.cert")).unwrap();
    let lines = as_stranger(|| scene.start()).unwrap_err().lines();
    assert!(lines[0].contains(".lock': Permission denied"), "{lines:?}");
}

/// What root adds to a user's database is root's, and the user is told so; he is not locked out.
#[test]
fn root_can_add_to_the_database_of_a_user_without_locking_him_out() {
    if !is_root() {
        return;
    }
    let scene = Scene::served();
    fs::remove_file(scene.client().join(".lock")).unwrap();
    give_away(&scene.client());
    give_away(&scene.server());
    for name in ["stap.key", "stap.cert", ".lock"] {
        give_away(&scene.server().join(name));
    }
    let certificate = fs::read(scene.server().join("stap.cert")).unwrap();
    let certificate = Certificate::from_der(&certificate).unwrap();
    ClientDatabase::open_or_create(&scene.client())
        .unwrap()
        .add(&certificate)
        .unwrap();

    let lines = as_stranger(|| scene.refusal(OwnerRule::EffectiveUser));
    assert!(lines[0].contains(&format!(
        "must be owned by {STRANGER}\n  try: chown {STRANGER} '"
    )));
    as_stranger(|| scene.start()).unwrap();
}
