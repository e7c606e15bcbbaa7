use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::job::{MAX_SEED, is_seed};

fn files() -> Vec<(PathBuf, Vec<u8>)> {
    vec![(
        PathBuf::from("b5/stapconf_b5a1_759.h"),
        b"#define X 1\n".to_vec(),
    )]
}

fn load(store: &Store, key: &str) -> Files {
    store.load_as(key, is_seed, MAX_SEED)
}

fn store() -> (tempfile::TempDir, Store) {
    let parent = tempfile::tempdir().unwrap();
    let store = Store::open(&parent.path().join("below/cache")).unwrap();
    (parent, store)
}

#[test]
fn what_was_published_is_found_by_the_next_worker() {
    let (_parent, store) = store();
    store.publish("key", &files()).unwrap();
    store.publish("key", &files()).unwrap();
    let again = Store::open(&store.directory).unwrap();
    assert_eq!(load(&again, "key"), files());
    assert_eq!(load(&again, "other"), []);
}

#[test]
fn entries_are_listed_by_use_and_removed() {
    let (_parent, store) = store();
    for key in ["kit-a", "kit-b", "seed"] {
        store.publish(key, &files()).unwrap();
    }
    let old = SystemTime::UNIX_EPOCH;
    let touched = |key: &str| {
        let directory = File::open(store.directory.join(key)).unwrap();
        directory.set_modified(old).unwrap();
    };
    touched("kit-a");
    touched("kit-b");
    store.touch("kit-b");
    let mut entries = store.entries("kit-");
    entries.sort_by_key(|entry| entry.used);
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["kit-a", "kit-b"]);
    assert_eq!((entries[0].bytes, entries[0].used), (12, old));
    assert_eq!(store.load_one("kit-a", "b5", 12), files().pop());
    assert_eq!(store.load_one("kit-a", "b5", 11), None);
    store.remove("kit-a");
    store.remove("kit-a");
    assert_eq!(load(&store, "kit-a"), []);
    let left = fs::read_dir(&store.directory).unwrap().count();
    assert_eq!(left, 2, "nothing half removed stays");
}

#[test]
fn what_is_from_a_time_that_has_not_come_counts_as_used_long_ago() {
    let (_parent, store) = store();
    store.publish("kit-a", &files()).unwrap();
    let directory = File::open(store.directory.join("kit-a")).unwrap();
    let made = directory.metadata().unwrap().modified().unwrap();
    let entry = store.entries("kit-a").remove(0);
    assert_eq!(entry.used, made);
    let later = made + std::time::Duration::from_secs(86_400);
    directory.set_modified(later).unwrap();
    let entry = store.entries("kit-a").remove(0);
    assert_eq!(entry.used, SystemTime::UNIX_EPOCH);
}

#[test]
fn an_interrupted_publication_leaves_nothing() {
    let (_parent, store) = store();
    let half = store.directory.join(".pending-x");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("b5-stapconf_b5a1_759.h"), "#def").unwrap();
    Store::open(&store.directory).unwrap();
    assert!(!half.exists());
}

#[test]
fn a_damaged_entry_is_not_used() {
    let (_parent, store) = store();
    store.publish("key", &files()).unwrap();
    let entry = store.directory.join("key");
    symlink("/etc/passwd", entry.join("b6-stapconf_b6_1.h")).unwrap();
    assert_eq!(load(&store, "key"), []);
    fs::remove_file(entry.join("b6-stapconf_b6_1.h")).unwrap();
    fs::write(entry.join("evil.sh"), "x").unwrap();
    assert_eq!(load(&store, "key"), []);
}

#[test]
fn a_damaged_entry_can_be_replaced() {
    let (_parent, store) = store();
    store.publish("key", &[]).unwrap();
    let damaged = store.directory.join("key/evil.sh");
    fs::write(damaged, "x").unwrap();
    store.discard("key").unwrap();
    store.discard("no such key").unwrap();
    store.publish("key", &files()).unwrap();
    assert_eq!(load(&store, "key"), files());
    assert_eq!(fs::read_dir(&store.directory).unwrap().count(), 1);
}

#[test]
fn a_directory_that_others_can_reach_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Store::open(&directory).expect_err("it is open to all");
    assert!(error.to_string().contains("chmod 700"), "{error}");
}
