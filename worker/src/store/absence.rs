//! What is kept for something of the host that is not there at the moment.
//!
//! A root may be a file system that is mounted again in a minute, and what is kept for it takes minutes to make. So
//! nothing goes because its root is missing once: the absence is noted, by an entry without files, and what was kept
//! goes when a later look finds the note a week old and the root still missing.

use std::time::{Duration, SystemTime};

use super::Store;

impl Store {
    /// Notes whether what an entry, or a family of entries, is for is there. True when it has been missing for so long
    /// that the entry is to go.
    pub fn is_long_gone(&self, name: &str, is_there: bool) -> bool {
        let note = format!("{NOTE}{name}");
        if is_there {
            if self.has(&note) {
                self.remove(&note);
            }
            return false;
        }
        let noted = self.entries(&note).into_iter();
        let Some(noted) = noted.map(|entry| entry.used).min() else {
            if let Err(error) = self.publish(&note, &[]) {
                tracing::debug!(%error, "what is kept for something that is missing stays");
            }
            return false;
        };
        if noted == SystemTime::UNIX_EPOCH {
            // The clock was set back; the week begins anew.
            self.touch(&note);
            return false;
        }
        let missing = self.now().duration_since(noted);
        let is_long = missing.is_ok_and(|missing| missing >= GRACE);
        if is_long {
            self.remove(&note);
        }
        is_long
    }

    /// As the file system has it, which the notes are from.
    fn now(&self) -> SystemTime {
        self.touch("");
        let found = self.directory.metadata();
        found
            .and_then(|found| found.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Removes the notes about entries that have gone otherwise.
    pub fn forget_absences(&self) {
        let entries = self.entries("");
        for entry in &entries {
            let Some(name) = entry.key.strip_prefix(NOTE) else {
                continue;
            };
            if !entries.iter().any(|other| other.key.starts_with(name)) {
                self.remove(&entry.key);
            }
        }
    }
}

const NOTE: &str = "gone-";
const GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_missing_for_a_week_goes_and_what_comes_back_begins_anew() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        let note = parent.path().join("cache/gone-root");
        let noted_before = |age: Duration| {
            let directory = File::open(&note).unwrap();
            directory.set_modified(store.now() - age).unwrap();
        };
        let hour = Duration::from_secs(60 * 60);
        store.publish("root-plain", &[]).unwrap();

        assert!(!store.is_long_gone("root", true));
        assert!(!note.exists());
        assert!(!store.is_long_gone("root", false));
        assert!(!store.is_long_gone("root", false));
        noted_before(GRACE - hour);
        assert!(!store.is_long_gone("root", false));
        assert!(!store.is_long_gone("root", true));
        assert!(!note.exists(), "it came back");

        assert!(!store.is_long_gone("root", false));
        noted_before(GRACE + hour);
        store.forget_absences();
        assert!(store.is_long_gone("root", false));
        assert!(!note.exists());
    }

    #[test]
    fn a_note_from_a_time_that_has_not_come_counts_from_now() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        assert!(!store.is_long_gone("root", false));
        let note = File::open(parent.path().join("cache/gone-root")).unwrap();
        note.set_modified(store.now() + 2 * GRACE).unwrap();
        assert!(!store.is_long_gone("root", false));
        let noted = note.metadata().unwrap().modified().unwrap();
        assert!(noted <= store.now());
    }

    #[test]
    fn no_note_outlives_what_it_is_about() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        store.publish("root-plain", &[]).unwrap();
        assert!(!store.is_long_gone("root", false));
        store.forget_absences();
        assert!(store.has("gone-root"));
        store.remove("root-plain");
        store.forget_absences();
        assert!(!store.has("gone-root"));
    }
}
