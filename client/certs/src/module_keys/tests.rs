//! Keys that sign modules: made once, used only when nobody else could have touched them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A database with one key, and that key's directory.
fn with_key() -> (TempDir, PathBuf, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("server");
    let (_, path) = ModuleKeys::create(&database, now()).unwrap();
    (home, database, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Asserts that the only key is not used, and that this is said of it.
fn is_not_used(database: &Path, because: &str) {
    let keys = ModuleKeys::read(database).unwrap();
    assert!(keys.usable.is_empty(), "{because}");
    let said = keys.warnings.join("\n");
    assert!(said.contains(because), "{because:?} is not in {said:?}");
}

#[test]
fn a_database_without_keys_has_none_and_nothing_to_complain_of() {
    let home = tempfile::tempdir().unwrap();
    let keys = ModuleKeys::read(home.path()).unwrap();
    assert!(keys.usable.is_empty() && keys.warnings.is_empty());
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "reading makes nothing"
    );
}

#[test]
fn a_key_that_was_made_is_private_and_is_read_back() {
    let (home, database, path) = with_key();
    let keys = ModuleKeys::read(&database).unwrap();
    assert_eq!(keys.warnings, [""; 0]);
    let [key] = &keys.usable[..] else {
        panic!("{keys:?}")
    };
    assert_eq!(
        path.file_name().unwrap().to_str(),
        Some(&*key.fingerprint_text())
    );
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(KEY)), 0o600);
    assert_eq!(mode(&home.path().join("server.moks")), 0o700);
    // What the network-facing program may open does not hold the key.
    let real = path.canonicalize().unwrap();
    assert!(
        !real.starts_with(database.canonicalize().unwrap()),
        "{}",
        real.display()
    );
    assert!(!format!("{keys:?}").contains("PRIVATE"));
}

#[test]
fn two_keys_are_two() {
    let (_home, database, _) = with_key();
    ModuleKeys::create(&database, now()).unwrap();
    assert_eq!(ModuleKeys::read(&database).unwrap().usable.len(), 2);
}

#[test]
fn openssl_understands_what_was_made() {
    let (_home, _, path) = with_key();
    let said = Command::new("openssl")
        .args([
            "x509",
            "-inform",
            "DER",
            "-noout",
            "-issuer",
            "-ext",
            "basicConstraints,extendedKeyUsage",
            "-in",
        ])
        .arg(path.join(CERTIFICATE))
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    for part in [
        "O = Systemtap, CN = Systemtap module signing key",
        "CA:FALSE",
        "Code Signing",
        "1.3.6.1.4.1.2312.16.1.2",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let key = Command::new("openssl")
        .args(["pkey", "-noout", "-check", "-in"])
        .arg(path.join(KEY))
        .output()
        .unwrap();
    assert!(key.status.success(), "{key:?}");
}

#[test]
fn what_others_could_have_touched_is_not_used() {
    let (home, database, path) = with_key();
    for (changed, bad, good, because) in [
        (
            home.path().join("server.moks"),
            0o770,
            0o700,
            "must not be writable by the group",
        ),
        (
            home.path().join("server.moks"),
            0o702,
            0o700,
            "must not be writable by the others",
        ),
        (
            path.clone(),
            0o722,
            0o700,
            "must not be writable by the group",
        ),
        (
            path.join(KEY),
            0o640,
            0o600,
            "must not be readable by the group",
        ),
        (
            path.join(CERTIFICATE),
            0o666,
            0o644,
            "must not be writable by the others",
        ),
    ] {
        set_mode(&changed, bad);
        is_not_used(&database, because);
        set_mode(&changed, good);
    }
    assert_eq!(ModuleKeys::read(&database).unwrap().usable.len(), 1);
}

#[test]
fn nothing_is_made_in_a_directory_that_others_can_write() {
    let (home, database, _) = with_key();
    set_mode(&home.path().join("server.moks"), 0o777);
    let refused = ModuleKeys::create(&database, now()).unwrap_err();
    assert!(
        matches!(refused, DatabaseError::Unsafe { .. }),
        "{refused:?}"
    );
}

#[test]
fn a_key_with_a_password_is_refused_with_what_to_do() {
    let (_home, database, path) = with_key();
    let key = path.join(KEY);
    let encrypted = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:x", "-in"])
        .arg(&key)
        .output()
        .unwrap();
    fs::write(&key, encrypted.stdout).unwrap();
    is_not_used(&database, "has a password");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (_home, database, path) = with_key();
    let (_, other) = ModuleKeys::create(&database, now()).unwrap();
    fs::copy(other.join(KEY), path.join(KEY)).unwrap();
    fs::remove_dir_all(&other).unwrap();
    is_not_used(&database, "is not the key of signing_key.x509");
}

#[test]
fn a_key_under_another_s_name_is_refused() {
    let (_home, database, path) = with_key();
    let name = path.with_file_name(["00"; 20].join(":"));
    fs::rename(&path, &name).unwrap();
    is_not_used(&database, "is not named by the SHA-1");
}

#[test]
fn what_is_no_key_is_refused_and_does_not_hide_the_others() {
    let (_home, database, path) = with_key();
    let bad = path.with_file_name(["ff"; 20].join(":"));
    fs::create_dir(&bad).unwrap();
    for (certificate, key, because) in [
        ("", "", "is not a certificate"),
        ("x", "x", "is not a certificate"),
    ] {
        fs::write(bad.join(CERTIFICATE), certificate).unwrap();
        fs::write(bad.join(KEY), key).unwrap();
        set_mode(&bad.join(KEY), 0o600);
        let keys = ModuleKeys::read(&database).unwrap();
        assert_eq!(keys.usable.len(), 1);
        assert!(keys.warnings.join("\n").contains(because), "{keys:?}");
    }
    fs::remove_file(bad.join(KEY)).unwrap();
    let keys = ModuleKeys::read(&database).unwrap();
    assert!(
        keys.warnings.join("\n").contains("does not exist"),
        "{keys:?}"
    );
    fs::write(path.with_file_name("x509.genkey"), "of a stock server").unwrap();
    assert_eq!(ModuleKeys::read(&database).unwrap().usable.len(), 1);
}

#[test]
fn a_directory_that_a_stock_server_made_is_used_as_it_is() {
    let (_home, database, path) = with_key();
    let moks = database.join(DIRECTORY);
    let real = path.parent().unwrap().canonicalize().unwrap();
    fs::remove_file(&moks).unwrap();
    fs::rename(real, &moks).unwrap();
    assert_eq!(ModuleKeys::read(&database).unwrap().usable.len(), 1);
    ModuleKeys::create(&database, now()).unwrap();
    assert_eq!(ModuleKeys::read(&database).unwrap().usable.len(), 2);
}
