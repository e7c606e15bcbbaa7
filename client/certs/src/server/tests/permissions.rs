//! What a server refuses to use, and what it says.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_repairs_it() {
    let scene = Scene::new();
    scene.start(now()).unwrap();
    scene.chmod("stap.key", 0o640);
    let path = scene.file("stap.key");
    let path = path.display();
    assert_eq!(
        scene.refusal(),
        [
            format!(
                "Certificate database file '{path}' must not be readable by the group\n  \
                 try: chmod g-r '{path}'"
            ),
            format!(
                "Unable to use certificate database '{}' due to errors",
                scene.server().display()
            ),
        ]
    );
}

#[test]
fn every_kind_of_file_in_a_server_database_is_checked() {
    for (name, mode, expected) in [
        ("", 0o757, "must not be writable by the others"),
        ("stap.cert", 0o664, "must not be writable by the group"),
        ("stap.key", 0o601, "must not be executable by the others"),
        ("pw", 0o604, "must not be readable by the others"),
        ("cert9.db", 0o640, "must not be readable by the group"),
        ("key4.db", 0o640, "must not be readable by the group"),
    ] {
        let scene = Scene::new();
        scene.start(now()).unwrap();
        for extra in ["pw", "cert9.db", "key4.db", "pkcs11.txt"] {
            fs::write(scene.file(extra), b"x").unwrap();
            scene.chmod(extra, 0o600);
        }
        assert_eq!(scene.start(now()).unwrap().warnings, Vec::<String>::new());

        scene.chmod(name, mode);
        let lines = scene.refusal();
        assert!(lines[0].contains(expected), "{name}: {lines:?}");
    }
}

#[test]
fn a_directory_that_others_can_write_gets_no_key() {
    let scene = Scene::new();
    fs::create_dir_all(scene.server()).unwrap();
    scene.chmod("", 0o777);
    assert_eq!(scene.refusal().len(), 3);
    assert_eq!(fs::read_dir(scene.server()).unwrap().count(), 0);
}

#[test]
fn a_private_directory_is_only_worth_a_warning() {
    let scene = Scene::new();
    scene.start(now()).unwrap();
    scene.chmod("", 0o700);
    let warnings = scene.start(now()).unwrap().warnings;
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(
        warnings.iter().all(|line| line.contains("should be ")),
        "{warnings:?}"
    );
}

#[test]
fn half_an_nss_store_is_refused() {
    let scene = Scene::new();
    scene.start(now()).unwrap();
    fs::write(scene.file("cert9.db"), b"x").unwrap();
    scene.chmod("cert9.db", 0o600);
    let lines = scene.refusal();
    assert!(lines[0].contains("key4.db' does not exist"), "{lines:?}");
    assert!(lines[1].contains("pkcs11.txt' does not exist"), "{lines:?}");
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting_for_it() {
    for name in ["stap.key", "stap.cert"] {
        let scene = Scene::new();
        scene.start(now()).unwrap();
        fs::remove_file(scene.file(name)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, scene.file(name), 0o600.into()).unwrap();
        let lines = scene.refusal();
        assert!(lines[0].contains("is not a regular file"), "{lines:?}");
    }
}

#[test]
fn the_checks_see_the_target_of_a_symbolic_link() {
    let scene = Scene::new();
    let opened = scene.start(now()).unwrap();
    let elsewhere = scene.home.path().join("key");
    fs::rename(scene.file("stap.key"), &elsewhere).unwrap();
    symlink(&elsewhere, scene.file("stap.key")).unwrap();
    assert_eq!(scene.start(now()).unwrap().certificate, opened.certificate);

    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(scene.refusal()[0].contains("must not be readable by the group"));
}
