//! Entries that say what they must hold.
//!
//! An entry has a seal: a list of its files with their digests, of the name of the entry, and of what
//! jobs saw when it was made. The seal is named after its own digest. So an entry that was cut short,
//! altered, moved to another name, or that lost a file, is known as such; it is dropped, and the log
//! says why. This guards against accidents of disks and people; whoever may write to the directory
//! can seal what he wants.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Store, hexadecimal};

/// Files by their paths below the entry, which have one directory at most.
pub type Files = Vec<(PathBuf, Vec<u8>)>;

/// Why an entry is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is none.
    Absent,
    /// Jobs saw something else when it was made.
    Outdated,
    /// It is not as it was written. It has been dropped.
    Damaged,
}

impl Store {
    /// Keeps files, which were made while jobs saw what `seen` stands for, in the place of what was
    /// kept under the same name.
    ///
    /// # Errors
    ///
    /// When they cannot be written; nothing of them is then visible.
    pub fn publish_sealed(&self, key: &str, seen: &str, files: &Files) -> io::Result<()> {
        let mut sealed = files.clone();
        let seal = Seal::of(key, seen, files).0;
        sealed.push((place_of(seal.as_bytes()), seal.into_bytes()));
        self.discard(key)?;
        self.publish(key, &sealed)
    }

    /// Returns files as they were kept, sorted by path. `is_wanted` and `max` are those of
    /// [`Store::load_as`].
    ///
    /// # Errors
    ///
    /// When there are none, or none that may be used; the log says why, and of what an entry was.
    pub fn load_sealed(
        &self,
        key: &str,
        seen: &str,
        is_wanted: impl Fn(&Path) -> bool,
        max: u64,
    ) -> Result<Files, Unfit> {
        let Some(before) = self.number_of(key) else {
            return Err(Unfit::Absent);
        };
        let wanted = |path: &Path| path.starts_with(SEAL) || is_wanted(path);
        let Ok(mut files) = self.files_of(key, wanted, max) else {
            tracing::info!(
                entry = key,
                "what was kept cannot be opened now, and is not used"
            );
            return Err(Unfit::Absent);
        };
        match open(key, seen, &mut files) {
            Ok(()) => Ok(files),
            Err(Broken::Outdated) => {
                tracing::info!(
                    entry = key,
                    "what was kept is not used: jobs see something else now"
                );
                Err(Unfit::Outdated)
            }
            // Another server has put a new one in its place, and some of the old was gone when it was read.
            Err(_torn) if self.number_of(key) != Some(before) => Err(Unfit::Absent),
            Err(reason) => {
                tracing::warn!(
                    entry = key,
                    "damaged: what was kept is dropped, and made anew: {reason}"
                );
                self.remove(key);
                Err(Unfit::Damaged)
            }
        }
    }
}

impl Store {
    /// What tells the entry of a name from others that had the name before.
    fn number_of(&self, key: &str) -> Option<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let status = self.directory.join(key).symlink_metadata().ok()?;
        Some(status.ino())
    }
}

/// The text of a seal.
struct Seal(String);

impl Seal {
    fn of(key: &str, seen: &str, files: &Files) -> Self {
        let mut seal = format!("{FORMAT}\n{key}\n{seen}\n");
        let mut listed: Vec<_> = files.iter().collect();
        // They are found in the order of their names, however they were given.
        listed.sort();
        for (path, content) in listed {
            let digest = hexadecimal(&Sha256::digest(content));
            writeln!(seal, "{digest} {}", path.display()).expect("a String takes everything");
        }
        Self(seal)
    }
}

/// What is wrong with an entry.
enum Broken {
    Unreadable,
    Unsealed,
    Altered,
    Outdated,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unreadable => "it holds something that does not belong there, or cannot be read",
            Self::Unsealed => "its seal is missing, cut short or altered",
            Self::Altered => "a file is missing, cut short or altered, or another entry's",
            Self::Outdated => "it is of something else",
        })
    }
}

/// Takes the seal off, if all is as it says.
fn open(key: &str, seen: &str, files: &mut Files) -> Result<(), Broken> {
    if files.is_empty() {
        return Err(Broken::Unreadable);
    }
    let seal = files.iter().position(|(path, _)| path.starts_with(SEAL));
    let (path, seal) = files.remove(seal.ok_or(Broken::Unsealed)?);
    let is_whole = path == place_of(&seal) && seal.starts_with(FORMAT.as_bytes());
    let seal = String::from_utf8(seal).ok().filter(|_| is_whole);
    let seal = seal.ok_or(Broken::Unsealed)?;
    let sealed_for = seal.lines().nth(2).ok_or(Broken::Unsealed)?;
    if seal != Seal::of(key, sealed_for, files).0 {
        return Err(Broken::Altered);
    }
    if sealed_for != seen {
        return Err(Broken::Outdated);
    }
    Ok(())
}

fn place_of(seal: &[u8]) -> PathBuf {
    Path::new(SEAL).join(hexadecimal(&Sha256::digest(seal)))
}

const SEAL: &str = "seal";
const FORMAT: &str = "stap warm entry 1";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        (parent, store)
    }

    fn files() -> Files {
        // Not in the order in which they are found.
        let file = |path: &str, content: &str| (PathBuf::from(path), content.as_bytes().to_vec());
        vec![file("b.o", "second"), file("a/b.h", "first")]
    }

    fn is_wanted(path: &Path) -> bool {
        path.ends_with("b.h") || path.ends_with("b.o")
    }

    fn load(store: &Store, key: &str) -> Result<Files, Unfit> {
        store.load_sealed(key, "seen", is_wanted, 1 << 10)
    }

    #[test]
    fn what_cannot_be_opened_for_want_of_descriptors_is_not_dropped() {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let (_parent, store) = store();
        store.publish_sealed("key", "seen", &files()).unwrap();
        // Each test has a process of its own.
        let usual = getrlimit(Resource::Nofile);
        let none = rustix::process::Rlimit {
            current: Some(0),
            ..usual
        };
        setrlimit(Resource::Nofile, none).unwrap();
        let loaded = load(&store, "key");
        setrlimit(Resource::Nofile, usual).unwrap();
        assert_eq!(loaded, Err(Unfit::Absent));
        load(&store, "key").unwrap();
    }

    #[test]
    fn what_was_sealed_is_found_by_who_sees_the_same() {
        let (_parent, store) = store();
        assert_eq!(load(&store, "key"), Err(Unfit::Absent));
        store.publish_sealed("key", "seen", &files()).unwrap();
        let mut expected = files();
        expected.sort();
        assert_eq!(load(&store, "key"), Ok(expected.clone()));
        let other = store.load_sealed("key", "other", is_wanted, 1 << 10);
        assert_eq!(other, Err(Unfit::Outdated));
        assert_eq!(load(&store, "key"), Ok(expected.clone()), "it had to stay");
        store.publish_sealed("key", "other", &files()).unwrap();
        assert_eq!(load(&store, "key"), Err(Unfit::Outdated));
    }

    #[test]
    fn whatever_happened_to_an_entry_it_is_dropped_and_can_be_made_anew() {
        type Change = fn(&Path);
        let (parent, store) = store();
        let each = ["a-b.h", "b.o", "seal"];
        let changes: [(&str, Change); 4] = [
            ("a bit turned", |file| {
                let mut content = fs::read(file).unwrap();
                *content.last_mut().unwrap() ^= 1;
                fs::write(file, content).unwrap();
            }),
            ("cut short", |file| {
                let content = fs::read(file).unwrap();
                fs::write(file, &content[..content.len() - 1]).unwrap();
            }),
            ("emptied", |file| fs::write(file, "").unwrap()),
            ("lost", |file| fs::remove_file(file).unwrap()),
        ];
        for (what, change) in changes {
            for name in each {
                store.publish_sealed("key", "seen", &files()).unwrap();
                let entry = parent.path().join("cache/key");
                let mut found = fs::read_dir(&entry).unwrap().flatten();
                let file = found.find(|file| file.file_name().to_str().unwrap().starts_with(name));
                change(&file.unwrap().path());
                assert_eq!(load(&store, "key"), Err(Unfit::Damaged), "{name} {what}");
                assert!(!entry.exists(), "{name} {what}");
            }
        }
        store.publish_sealed("key", "seen", &files()).unwrap();
        load(&store, "key").unwrap();
    }

    #[test]
    fn an_entry_that_another_server_replaces_while_it_is_read_is_left_alone() {
        let (_parent, store) = store();
        store.publish_sealed("key", "seen", &files()).unwrap();
        let is_replaced = std::cell::Cell::new(false);
        let replacing = |path: &Path| {
            if !is_replaced.replace(true) {
                let others = files().split_off(1);
                store.publish_sealed("key", "seen", &others).unwrap();
            }
            is_wanted(path)
        };
        let torn = store.load_sealed("key", "seen", replacing, 1 << 10);
        assert_eq!(torn, Err(Unfit::Absent));
        assert_eq!(load(&store, "key"), Ok(files().split_off(1)));
    }

    #[test]
    fn an_entry_under_another_name_is_not_taken() {
        let (parent, store) = store();
        store.publish_sealed("key", "seen", &files()).unwrap();
        let cache = parent.path().join("cache");
        fs::rename(cache.join("key"), cache.join("other")).unwrap();
        assert_eq!(load(&store, "other"), Err(Unfit::Damaged));
    }

    #[test]
    fn a_file_too_many_is_not_taken() {
        let (parent, store) = store();
        store.publish_sealed("key", "seen", &files()).unwrap();
        fs::write(parent.path().join("cache/key/c-b.h"), "").unwrap();
        assert_eq!(load(&store, "key"), Err(Unfit::Damaged));
    }
}
