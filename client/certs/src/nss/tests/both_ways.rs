//! A change on either side is one on the other.

use super::*;

#[test]
fn what_we_trust_is_trusted_by_stock_programs() {
    let (scene, first, second) = (Scene::new(), certificate("a"), certificate("b"));
    scene.add(&first);
    scene.add(&second);

    let listing = scene.certutil(&["-L"]);
    let entry = |line: &&str| line.split_whitespace().eq([NICKNAME, "P,P,P"]);
    assert_eq!(listing.lines().filter(entry).count(), 2, "{listing}");
    assert_eq!(scene.theirs(), these(&[&first, &second]));
    for name in SQL {
        assert_eq!(mode(&scene.file(name)), 0o644, "{name}");
    }
    assert!(!scene.file(".nss.new").exists());
}

#[test]
fn what_stock_programs_trust_is_trusted_by_us() {
    let (scene, known) = (Scene::with_store(), certificate("a"));
    scene.trust_there(&known);
    assert_eq!(scene.trusted(), these(&[&known]));
    // And stays so when the store is gone, and without being read again.
    assert_eq!(
        fs::read(scene.file(&crate::client::file_name(known.sha256()))).unwrap(),
        known.der()
    );
}

#[test]
fn what_we_revoke_is_revoked_there_and_nothing_else() {
    let (scene, kept, gone) = (Scene::new(), certificate("a"), certificate("b"));
    let other = stranger("other");
    scene.add(&kept);
    scene.add(&gone);
    scene.trust_there_as(&other, "somebody else", "C,,");
    scene.remove(&gone);
    assert_eq!(scene.theirs(), these(&[&kept, &other]));
    assert_eq!(scene.trusted(), these(&[&kept, &other]));
    let listing = scene.certutil(&["-L"]);
    assert!(
        listing.contains("somebody else") && listing.contains("C,,"),
        "{listing}"
    );
}

#[test]
fn what_is_revoked_there_is_revoked_here() {
    let scene = Scene::new();
    let (first, second) = (certificate("a"), certificate("b"));
    scene.add(&first);
    scene.add(&second);
    let gone = scene.revoke_one_there().unwrap();
    let left = these(&[&first, &second])
        .into_iter()
        .filter(|one| *one != gone);
    assert_eq!(scene.trusted(), left.collect::<Vec<_>>());
    // Not given back by whoever comes next.
    let third = certificate("c");
    scene.add(&third);
    assert!(!scene.trusted().contains(&gone) && !scene.theirs().contains(&gone));
}

#[test]
fn a_mark_of_distrust_counts_as_a_revocation() {
    let (scene, known) = (Scene::new(), certificate("a"));
    scene.add(&known);
    scene.certutil(&["-M", "-n", NICKNAME, "-t", "p,,"]);
    assert_eq!(scene.trusted(), []);
    // Who asks for it anew gets it, on both sides.
    scene.add(&known);
    assert_eq!(scene.trusted(), these(&[&known]));
    assert_eq!(scene.theirs(), these(&[&known]));
}

#[test]
fn flags_are_read_as_stock_clients_read_them() {
    for (flags, trusted) in [
        ("P,P,P", true),
        ("P,,", true),
        ("C,,", true),
        ("CT,C,C", true),
        ("CP,,", true),
        (",P,", false),
        (",,P", false),
        (",,", false),
        ("T,,", false),
        ("w,,", false),
        ("p,,", false),
    ] {
        let (scene, known) = (Scene::with_store(), certificate("a"));
        scene.trust_there_as(&known, NICKNAME, flags);
        assert_eq!(scene.trusted() == these(&[&known]), trusted, "{flags}");
    }
}

#[test]
fn any_nickname_is_trusted_as_stock_clients_do() {
    let scene = Scene::with_store();
    let strangers = ["it's: -x", "-d", "caf\u{e9} $(id)"].map(|name| (name, stranger(name)));
    for (name, certificate) in &strangers {
        scene.trust_there_as(certificate, name, "P,,");
    }
    let mut all: Vec<&Certificate> = strangers.iter().map(|(_, one)| one).collect();
    assert_eq!(scene.trusted(), these(&all));
    // They stay when the store is made anew.
    scene.remove(all.pop().unwrap());
    assert_eq!(scene.theirs(), these(&all));
}

#[test]
fn another_subject_gets_another_nickname_and_is_told() {
    let (scene, ours, other) = (Scene::new(), certificate("a"), stranger("other"));
    scene.add(&ours);
    let added = scene.try_add(&other);
    let warning = &added.warnings[0];
    assert!(
        warning.contains("another subject") && warning.contains("when the server is named"),
        "{warning}"
    );
    assert_eq!(scene.theirs(), these(&[&ours, &other]));
    assert_eq!(scene.trusted(), these(&[&ours, &other]));
}

#[test]
fn without_the_programs_our_files_still_follow_the_store() {
    let (scene, ours, theirs) = (Scene::with_store(), certificate("a"), certificate("b"));
    scene.trust_there(&theirs);
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    assert_eq!(database.add(&ours).unwrap().warnings, Vec::<String>::new());
    assert_eq!(scene.trusted(), these(&[&ours, &theirs]));
    assert_eq!(scene.theirs(), these(&[&theirs]));
    // What could not be done is done when they are there.
    scene.add(&ours);
    assert_eq!(scene.theirs(), these(&[&ours, &theirs]));
}

#[test]
fn what_was_revoked_without_the_programs_stays_so_and_is_revoked_there_later() {
    let (scene, gone, kept) = (Scene::new(), certificate("a"), certificate("b"));
    scene.add(&gone);
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    assert!(database.remove(gone.sha256()).unwrap().was_trusted);
    for _client in 0..2 {
        assert_eq!(scene.trusted(), []);
    }
    scene.add(&kept);
    assert_eq!(scene.theirs(), these(&[&kept]));
}

#[test]
fn a_database_without_a_store_gets_none_from_reading() {
    let (scene, known) = (Scene::new(), certificate("a"));
    let database = ClientDatabase::open_or_create(&scene.path()).unwrap();
    database.add(&known).unwrap();
    scene.trusted();
    assert!(!scene.file(CERTIFICATES).exists() && !scene.file(".nss").exists());
}

#[test]
fn a_store_that_was_removed_as_a_whole_revokes_nothing() {
    let (scene, known) = (Scene::new(), certificate("a"));
    scene.add(&known);
    for name in SQL {
        fs::remove_file(scene.file(name)).unwrap();
    }
    assert_eq!(scene.trusted(), these(&[&known]));
    scene.add(&certificate("b"));
    assert_eq!(scene.theirs().len(), 2);
}

#[test]
fn what_is_in_step_is_not_written_again() {
    let (scene, known) = (Scene::new(), certificate("a"));
    scene.add(&known);
    let before = scene.snapshot();
    scene.add(&known);
    scene.trusted();
    assert!(scene.snapshot() == before);
}

#[test]
fn many_writers_at_once_lose_nothing_on_either_side() {
    let scene = Scene::new();
    let ours: Vec<_> = (0..3).map(|n| certificate(&format!("h{n}"))).collect();
    let theirs: Vec<_> = (0..3).map(|n| certificate(&format!("t{n}"))).collect();
    scene.add(&ours[0]);
    std::thread::scope(|scope| {
        for one in &ours {
            scope.spawn(|| scene.try_add(one));
        }
        scope.spawn(|| {
            for (number, one) in theirs.iter().enumerate() {
                let file = scene.home.path().join(format!("t{number}"));
                fs::write(&file, one.der()).unwrap();
                let file = file.to_str().unwrap();
                // NSS may find the file just replaced, and then says so: as people do, again.
                let add = ["-A", "-n", NICKNAME, "-t", "P,P,P", "-i", file];
                while !scene.try_certutil(&add).status.success() {}
            }
        });
    });
    scene.open_to_readers();
    let all: Vec<&Certificate> = ours.iter().chain(&theirs).collect();
    assert_eq!(scene.trusted(), these(&all));
    scene.add(&ours[0]);
    assert_eq!(scene.theirs(), these(&all));
}
