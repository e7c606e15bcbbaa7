//! Stores that cannot be read or changed: our own files count, and somebody says what to do.

use super::*;

/// What a client says about the database, which still trusts `known`.
fn warning(scene: &Scene, known: &Certificate) -> String {
    let (trusted, warnings) = scene.opened();
    assert_eq!(trusted, these(&[known]));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("\n  try: "), "{warnings:?}");
    warnings[0].clone()
}

#[test]
fn a_store_that_cannot_be_read_is_told_and_left_as_it_is() {
    let known = certificate("a");
    let good = Scene::with_store();
    good.trust_there(&certificate("b"));
    let good = fs::read(good.file(CERTIFICATES)).unwrap();
    let mut write_ahead = good.clone();
    write_ahead[18..20].copy_from_slice(&[2, 2]);
    let mut damaged = good.clone();
    damaged[4096..].fill(0x55);
    for (content, reason) in [
        (&b"garbage"[..], "it is not an SQLite 3 database"),
        (b"", "it is not an SQLite 3 database"),
        (&good[..5000], "it is damaged"),
        (&damaged, "it is damaged"),
        (&write_ahead, "its format is newer"),
    ] {
        let scene = Scene::new();
        scene.add(&known);
        fs::write(scene.file(CERTIFICATES), content).unwrap();
        let said = warning(&scene, &known);
        assert!(said.contains(reason), "{said}");

        let other = certificate("c");
        let added = scene.try_add(&other);
        assert!(
            added.is_new && added.warnings[0].contains(reason),
            "{added:?}"
        );
        assert!(fs::read(scene.file(CERTIFICATES)).unwrap() == content);
        assert_eq!(scene.opened().0, these(&[&known, &other]));
    }
}

#[test]
fn a_store_with_a_password_is_read_and_not_changed() {
    let (scene, theirs, ours) = (Scene::new(), certificate("a"), certificate("b"));
    let password = scene.home.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    let password = password.to_str().unwrap();
    scene.certutil(&["-N", "-f", password]);
    let file = scene.home.path().join("certificate");
    fs::write(&file, theirs.der()).unwrap();
    let file = file.to_str().unwrap();
    let add = [
        "-A", "-n", NICKNAME, "-t", "P,P,P", "-i", file, "-f", password,
    ];
    scene.certutil(&add);
    scene.open_to_readers();

    assert_eq!(scene.trusted(), these(&[&theirs]));
    let before = fs::read(scene.file(CERTIFICATES)).unwrap();
    let added = scene.try_add(&ours);
    assert!(
        added.warnings[0].contains("it has a password\n  try: certutil -W"),
        "{added:?}"
    );
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    database.remove(theirs.sha256()).unwrap();
    let removing = scene.try_add(&ours);
    assert!(
        removing.warnings[0].contains("it has a password\n  try: certutil -W"),
        "{removing:?}"
    );
    assert!(fs::read(scene.file(CERTIFICATES)).unwrap() == before);
    assert_eq!(scene.opened().0, these(&[&ours]));
}

#[test]
fn a_record_that_is_damaged_lets_only_what_both_sides_have_count() {
    let (scene, both, ours) = (Scene::new(), certificate("a"), certificate("b"));
    scene.add(&both);
    fs::write(scene.file(".nss"), "what?\n").unwrap();
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    database.add(&ours).unwrap();
    let said = warning(&scene, &both);
    assert!(
        said.contains("the record of what it has in common") && said.contains("rm '"),
        "{said}"
    );
    fs::remove_file(scene.file(".nss")).unwrap();
    assert_eq!(scene.trusted(), these(&[&both, &ours]));
}

#[test]
fn a_record_that_others_could_write_makes_the_database_unusable() {
    let (scene, known) = (Scene::new(), certificate("a"));
    scene.add(&known);
    set_mode(&scene.file(".nss"), 0o666);
    let refused = ClientDatabase::open(&scene.path(), OwnerRule::EffectiveUser).unwrap_err();
    assert!(
        refused.lines()[0].contains(".nss' must not be writable by the group"),
        "{refused:?}"
    );
}

#[test]
fn a_change_that_was_interrupted_is_told() {
    let (scene, known) = (Scene::new(), certificate("a"));
    scene.add(&known);
    fs::write(scene.file("cert9.db-journal"), b"half a change").unwrap();
    let said = warning(&scene, &known);
    assert!(
        said.contains("a program that was changing it was killed"),
        "{said}"
    );
}

#[test]
fn libraries_that_a_store_names_are_not_loaded() {
    let (scene, known, gone) = (Scene::new(), certificate("a"), certificate("b"));
    scene.add(&gone);
    let (source, library) = (
        scene.home.path().join("evil.c"),
        scene.home.path().join("evil.so"),
    );
    let mark = scene.home.path().join("mark");
    let program = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ fopen(\"{}\", \"w\"); }}\n",
        mark.display()
    );
    fs::write(&source, program).unwrap();
    let compiled = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .expect("the tests need gcc: run tests/run");
    assert!(compiled.success());
    let own = fs::read_to_string(scene.file(MODULES)).unwrap();
    let modules = format!("{own}library={}\nname=evil\n\n", library.display());
    fs::write(scene.file(MODULES), &modules).unwrap();
    scene.try_certutil(&["-L"]);
    assert!(
        mark.exists(),
        "certutil loads it, so it is worth asking whether we do"
    );

    fs::remove_file(&mark).unwrap();
    scene.add(&known);
    scene.remove(&gone);
    scene.trusted();
    assert!(!mark.exists());
    assert_eq!(scene.theirs(), these(&[&known]));
    assert_eq!(fs::read_to_string(scene.file(MODULES)).unwrap(), modules);
}

#[test]
fn a_store_is_not_replaced_through_a_link() {
    let (scene, elsewhere, known) = (Scene::new(), Scene::with_store(), certificate("a"));
    for name in SQL {
        std::os::unix::fs::symlink(elsewhere.file(name), scene.file(name)).unwrap();
    }
    let added = scene.try_add(&known);
    assert!(
        added.is_new && added.warnings[0].contains("Stock programs still use the old"),
        "{added:?}"
    );
    assert!(scene.file(CERTIFICATES).is_symlink());
    assert_eq!(elsewhere.theirs(), []);
    // Reading follows it.
    elsewhere.trust_there(&certificate("b"));
    assert_eq!(scene.opened().0.len(), 2);
}

#[test]
fn what_a_crash_left_behind_is_cleared_and_links_are_not_followed() {
    let (scene, victim) = (Scene::new(), TempDir::new().unwrap());
    fs::write(victim.path().join("precious"), b"x").unwrap();
    std::os::unix::fs::symlink(victim.path(), scene.file(".nss.new")).unwrap();
    scene.add(&certificate("a"));
    fs::create_dir(scene.file(".nss.new")).unwrap();
    fs::write(scene.file(".nss.new/cert9.db"), b"half").unwrap();
    scene.add(&certificate("b"));
    assert!(!scene.file(".nss.new").exists());
    assert!(victim.path().join("precious").exists());
}

#[test]
fn private_keys_in_a_clients_store_are_not_lost() {
    let (scene, known) = (Scene::new(), certificate("a"));
    scene.add(&known);
    let noise = scene.home.path().join("noise");
    fs::write(&noise, [7; 64]).unwrap();
    let noise = noise.to_str().unwrap();
    let own = [
        "-S", "-x", "-n", "own", "-s", "CN=own", "-t", ",,", "-k", "rsa", "-z", noise,
    ];
    scene.certutil(&own);
    scene.open_to_readers();
    let programs = Programs::installed();
    let database = ClientDatabase::open_or_create_with(&scene.path(), &programs).unwrap();
    let removed = database.remove(known.sha256()).unwrap();
    assert!(removed.warnings[0].contains("private keys"), "{removed:?}");
    assert!(scene.certutil(&["-K"]).contains("own"));
    assert_eq!(scene.trusted(), []);
}

/// certutil would read whatever lies there with the rights of root.
#[test]
fn root_runs_no_program_on_the_files_of_a_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (scene, known) = (Scene::with_store(), certificate("a"));
    std::os::unix::fs::chown(scene.path(), Some(65_534), None).unwrap();
    let before = fs::read(scene.file(CERTIFICATES)).unwrap();
    let added = scene.try_add(&known);
    assert!(
        added.is_new && added.warnings[0].contains("it belongs to another user\n  try: do it as"),
        "{added:?}"
    );
    assert!(fs::read(scene.file(CERTIFICATES)).unwrap() == before);
    for name in SQL {
        fs::remove_file(scene.file(name)).unwrap();
    }
    assert_eq!(
        scene.try_add(&certificate("b")).warnings,
        Vec::<String>::new()
    );
    assert!(!scene.file(CERTIFICATES).exists());
}
