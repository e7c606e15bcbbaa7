use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use stap_driver::recipe::COMMON;
use stap_policy::{Policy, builtin};

use super::super::about::{ABOUT, State};
use super::*;

struct Place {
    directory: tempfile::TempDir,
    store: Store,
    kits: Kits,
}

/// Room for two of [`kit`], in the store and on the shelf.
fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("cache")).unwrap();
    fs::create_dir(directory.path().join("tmp")).unwrap();
    let text = builtin::SHARED_HOST
        .replace("kept   = \"8 GiB\"", "kept = \"20 MiB\"")
        .replace("shown  = \"2 GiB\"", "shown = \"20 MiB\"");
    let bounds = *Policy::parse(&text).unwrap().compile();
    assert_eq!(bounds.kept.bytes(), bounds.shown.bytes());
    let shelf = Shelf::below(directory.path().join("tmp"));
    let kits = Kits::new(shelf, bounds, Vec::new());
    Place {
        directory,
        store,
        kits,
    }
}

fn kit(megabytes: usize) -> Kit {
    let mut kit = Kit::default();
    kit.keep(COMMON, vec![7; megabytes << 20]);
    kit
}

fn about(root: PathBuf) -> About {
    About {
        identity: TargetIdentity([1; 32]),
        root,
        build_tree: "/lib/modules/1/build".into(),
        program: program_digest(),
        flags: "plain".to_owned(),
        state: State::Proven,
    }
}

#[test]
fn what_jobs_can_see_has_a_bound_and_the_least_used_goes_first() {
    let place = place();
    let kits = &place.kits;
    for key in ["a", "b"] {
        drop(kits.show(key, &kit(8)).unwrap());
    }
    assert!(kits.found("a").is_some());
    drop(kits.show("c", &kit(8)).unwrap());
    assert!(kits.found("b").is_none());
    let shown = [kits.found("a").unwrap(), kits.found("c").unwrap()];
    assert!(shown.iter().all(|shown| shown.path().join(COMMON).exists()));
    let shelf = fs::read_dir(place.directory.path().join("tmp")).unwrap();
    let shelf = shelf.flatten().next().unwrap().path();
    assert_eq!(fs::read_dir(shelf).unwrap().count(), 2);
    let refused = kits.show("d", &kit(20)).unwrap_err();
    let Missing::Refused(refused) = refused else {
        panic!("{refused:?}");
    };
    assert!(refused.contains("compile.shown"), "{refused}");
    assert!(
        kits.found("a").is_some(),
        "nothing goes for what never fits"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_no_refusal() {
    let place = place();
    fs::remove_dir(place.directory.path().join("tmp")).unwrap();
    let failed = place.kits.show("a", &kit(1)).unwrap_err();
    assert!(matches!(failed, Missing::Failed(_)), "{failed:?}");
    fs::create_dir(place.directory.path().join("tmp")).unwrap();
    drop(place.kits.show("a", &kit(1)).unwrap());
}

#[test]
fn a_job_that_runs_keeps_what_it_sees() {
    let place = place();
    let first = place.kits.show("a", &kit(8)).unwrap();
    for key in ["b", "c"] {
        drop(place.kits.show(key, &kit(8)).unwrap());
    }
    assert!(place.kits.found("a").is_none());
    assert!(first.path().join(COMMON).exists());
}

#[test]
fn what_is_kept_has_a_bound() {
    let place = place();
    let about = about("/".into());
    for key in ["pass-4-a", "pass-4-b", "pass-4-c"] {
        place.kits.keep(&place.store, key, &about, &kit(8));
        let old = SystemTime::UNIX_EPOCH;
        let entry = place.directory.path().join("cache").join(key);
        if entry.exists() && key != "pass-4-c" {
            fs::File::open(entry).unwrap().set_modified(old).unwrap();
        }
    }
    let keys = place.store.entries(PREFIX);
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().any(|entry| entry.key == "pass-4-c"));
    assert!(!place.kits.lacks_room(), "nobody missed the first");
    for entry in &keys {
        drop(place.kits.known(&entry.key));
    }
    place.kits.keep(&place.store, "pass-4-d", &about, &kit(8));
    assert!(place.kits.lacks_room());
}

#[test]
fn a_new_recording_takes_the_place_of_the_old() {
    let place = place();
    let old = about("/".into());
    place.kits.keep(&place.store, "pass-4-a", &old, &kit(1));
    let new = About {
        identity: TargetIdentity([2; 32]),
        ..old.clone()
    };
    place.kits.keep(&place.store, "pass-4-a", &new, &kit(2));
    assert_eq!(Kit::load(&place.store, "pass-4-a", &old), None);
    assert_eq!(Kit::load(&place.store, "pass-4-a", &new), Some(kit(2)));
}

#[test]
fn what_nobody_can_use_any_more_is_removed_at_the_start() {
    let place = place();
    let root = place.directory.path().join("root");
    fs::create_dir_all(root.join("lib/modules/1/build")).unwrap();
    let publish = |key: &str, about: &About| kit(1).publish(&place.store, key, about).unwrap();
    let good = about(root.clone());
    publish("pass-4-good", &good);
    publish("pass-4-no-root", &about("/nowhere".into()));
    let build_tree = "/lib/modules/2/build".into();
    publish(
        "pass-4-no-tree",
        &About {
            build_tree,
            ..good.clone()
        },
    );
    let program = "an older one".to_owned();
    publish(
        "pass-4-older",
        &About {
            program,
            ..good.clone()
        },
    );
    publish("pass-4-damaged", &good);
    let damaged = place.directory.path().join("cache/pass-4-damaged");
    for file in fs::read_dir(damaged).unwrap().flatten() {
        if file.file_name().to_str().unwrap().starts_with(ABOUT) {
            fs::write(file.path(), "").unwrap();
        }
    }
    publish("seed", &good);
    place.kits.tidy(&place.store);
    for name in ["pass-4-no-root", "pass-4-no-tree"] {
        assert!(place.store.has(name), "it may come back");
        let note = place.directory.path().join(format!("cache/gone-{name}"));
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let note = fs::File::open(note).unwrap();
        note.set_modified(long_ago).unwrap();
    }
    place.kits.tidy(&place.store);
    let left: Vec<_> = place
        .store
        .entries("")
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(Kit::load(&place.store, "pass-4-good", &good).is_some());
}
