use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use stap_protocol::job::{Outcome, OutputFile, Usage};

use super::*;

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

fn report(bytes: usize) -> Report {
    Report {
        outcome: Outcome::Exited { code: 0 },
        stdout: Vec::new(),
        stderr: Vec::new(),
        files: vec![OutputFile {
            name: "x.ko".try_into().unwrap(),
            content: vec![7; bytes],
        }],
        private_directories: Vec::new(),
        usage: Usage::default(),
        is_whole: true,
    }
}

const BOUNDS: Bounds = Bounds {
    bytes: 1 << 20,
    entries: 3,
};

fn shelf() -> (tempfile::TempDir, Shelf) {
    let parent = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(&parent.path().join("below/results"), BOUNDS, None).unwrap();
    (parent, shelf)
}

fn file_of(shelf: &Shelf, byte: u8) -> PathBuf {
    shelf.path().join(key(byte).to_string())
}

/// Makes an entry the one that was used longest ago.
fn age(shelf: &Shelf, byte: u8) {
    let file = File::open(file_of(shelf, byte)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
}

#[test]
fn what_is_put_is_got_by_whoever_opens_the_same_directory() {
    let (_parent, shelf) = shelf();
    assert_eq!(shelf.get(&key(1)), Ok(None));
    shelf.put(&key(1), &report(5)).unwrap();
    let again = Shelf::open(shelf.path(), BOUNDS, None).unwrap();
    assert_eq!(again.get(&key(1)), Ok(Some(report(5))));
    assert_eq!(again.get(&key(2)), Ok(None));
    let mode = fs::metadata(file_of(&shelf, 1))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_cannot_be_opened_for_want_of_descriptors_is_not_dropped() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (_parent, shelf) = shelf();
    shelf.put(&key(1), &report(5)).unwrap();
    // Each test has a process of its own.
    let usual = getrlimit(Resource::Nofile);
    let current = Some(0);
    setrlimit(Resource::Nofile, Rlimit { current, ..usual }).unwrap();
    let got = shelf.get(&key(1));
    setrlimit(Resource::Nofile, usual).unwrap();
    assert_eq!(got, Ok(None));
    assert_eq!(shelf.get(&key(1)), Ok(Some(report(5))));
}

#[test]
fn an_altered_entry_is_never_given_out_and_goes() {
    type Change = fn(&Path);
    let changes: [(Change, Flaw); 9] = [
        (
            |file| {
                let mut content = fs::read(file).unwrap();
                let middle = content.len() - 40;
                content[middle] ^= 1;
                fs::write(file, content).unwrap();
            },
            Flaw::Altered,
        ),
        (
            |file| {
                let content = fs::read(file).unwrap();
                fs::write(file, &content[..content.len() / 2]).unwrap();
            },
            Flaw::Cut,
        ),
        (|file| fs::write(file, "").unwrap(), Flaw::Cut),
        (
            |file| fs::write(file, "#!/bin/sh\n").unwrap(),
            Flaw::Foreign,
        ),
        (
            |file| {
                fs::rename(file, file.with_extension("good")).unwrap();
                symlink(file.with_extension("good"), file).unwrap();
            },
            Flaw::Irregular("a link"),
        ),
        (
            |file| fs::hard_link(file, file.with_extension("second")).unwrap(),
            Flaw::Irregular("no plain file with one name"),
        ),
        (
            |file| fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap(),
            Flaw::Irregular("open to others"),
        ),
        (
            |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            },
            Flaw::Irregular("no plain file with one name"),
        ),
        (
            |file| {
                let file = File::options().write(true).open(file).unwrap();
                file.set_len(entry::LARGEST + 1).unwrap();
            },
            Flaw::Longer,
        ),
    ];
    for (change, flaw) in changes {
        let (_parent, shelf) = shelf();
        shelf.put(&key(1), &report(50)).unwrap();
        change(&file_of(&shelf, 1));
        assert_eq!(shelf.get(&key(1)), Err(flaw));
        assert_eq!(shelf.get(&key(1)), Ok(None), "{flaw}");
        shelf.put(&key(1), &report(50)).unwrap();
        assert_eq!(shelf.get(&key(1)), Ok(Some(report(50))), "{flaw}");
    }
}

#[test]
fn an_entry_that_was_moved_to_another_key_is_not_taken() {
    let (_parent, shelf) = shelf();
    shelf.put(&key(1), &report(5)).unwrap();
    fs::rename(file_of(&shelf, 1), file_of(&shelf, 2)).unwrap();
    assert_eq!(shelf.get(&key(2)), Err(Flaw::OtherKey));
}

#[test]
fn the_entry_that_was_not_used_for_longest_makes_room() {
    let (_parent, shelf) = shelf();
    for byte in 1..=3 {
        shelf.put(&key(byte), &report(5)).unwrap();
        age(&shelf, byte);
    }
    shelf.get(&key(1)).unwrap().expect("it is there");
    shelf.get(&key(3)).unwrap().expect("it is there");
    shelf.put(&key(4), &report(5)).unwrap();
    let there: Vec<_> = (1..=4)
        .filter(|byte| file_of(&shelf, *byte).exists())
        .collect();
    assert_eq!(there, [1, 3, 4]);
}

#[test]
fn after_the_clock_was_set_back_what_is_new_stays_and_what_is_from_the_future_is_given_out() {
    let (_parent, shelf) = shelf();
    for byte in 1..=3 {
        shelf.put(&key(byte), &report(5)).unwrap();
        let file = File::open(file_of(&shelf, byte)).unwrap();
        let century = Duration::from_secs(100 * 365 * 86_400);
        let made = file.metadata().unwrap().modified().unwrap();
        file.set_modified(made + century).unwrap();
    }
    assert_eq!(shelf.get(&key(1)), Ok(Some(report(5))));
    for byte in 4..=5 {
        shelf.put(&key(byte), &report(5)).unwrap();
    }
    for byte in [1, 4, 5] {
        assert!(file_of(&shelf, byte).exists(), "{byte}");
    }
}

#[test]
fn bytes_are_bounded_whoever_wrote_them() {
    let (_parent, shelf) = shelf();
    let other = Shelf::open(shelf.path(), BOUNDS, None).unwrap();
    for (number, shelf) in (1..=24).zip([&shelf, &other].into_iter().cycle()) {
        shelf.put(&key(number), &report(200 << 10)).unwrap();
        let files = fs::read_dir(shelf.path()).unwrap();
        let bytes: u64 = files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= BOUNDS.bytes, "{bytes} bytes after {number}");
    }
    assert!(matches!(
        shelf.put(&key(1), &report(300 << 10)),
        Err(NotStored::TooLarge)
    ));
}

#[test]
fn replacing_an_entry_costs_no_other_one() {
    let (_parent, shelf) = shelf();
    for byte in [1, 2, 3, 3, 1] {
        shelf.put(&key(byte), &report(5)).unwrap();
    }
    assert!((1..=3).all(|byte| file_of(&shelf, byte).exists()));
}

#[test]
fn leftovers_go_and_what_is_not_ours_stays() {
    let (_parent, shelf) = shelf();
    fs::write(shelf.path().join(PENDING), "half").unwrap();
    fs::write(shelf.path().join("README"), "mine").unwrap();
    symlink("/etc/passwd", file_of(&shelf, 9)).unwrap();
    shelf.put(&key(1), &report(5)).unwrap();
    assert!(!shelf.path().join(PENDING).exists());
    assert!(!fs::exists(file_of(&shelf, 9)).unwrap());
    assert_eq!(shelf.get(&key(9)), Ok(None));
    assert!(shelf.path().join("README").exists());
}

#[test]
fn a_link_in_the_place_of_the_passing_name_is_not_written_through() {
    let (parent, shelf) = shelf();
    let victim = parent.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, shelf.path().join(PENDING)).unwrap();
    shelf.put(&key(1), &report(5)).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert_eq!(shelf.get(&key(1)), Ok(Some(report(5))));
}

#[test]
fn what_did_not_end_well_is_not_kept() {
    let (_parent, shelf) = shelf();
    let cut = Report {
        is_whole: false,
        ..report(5)
    };
    assert!(matches!(
        shelf.put(&key(1), &cut),
        Err(NotStored::NotWorthKeeping)
    ));
    assert_eq!(fs::read_dir(shelf.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_was_stopped_under_the_lock_stops_nobody() {
    let (_parent, shelf) = shelf();
    let stopped = Shelf::open(shelf.path(), BOUNDS, None).unwrap();
    let lock = Locked::wait(&stopped.directory);
    assert!(matches!(
        shelf.put(&key(1), &report(5)),
        Err(NotStored::Locked)
    ));
    drop(lock);
    shelf.put(&key(1), &report(5)).unwrap();
}

#[test]
fn a_directory_that_others_can_reach_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("results");
    fs::create_dir(&path).unwrap();
    for mode in [0o755, 0o770, 0o701] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = Shelf::open(&path, BOUNDS, None).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }
    let link = parent.path().join("link");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    symlink(&path, &link).unwrap();
    let error = Shelf::open(&link, BOUNDS, None).unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}
