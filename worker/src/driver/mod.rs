//! Pass 4 without make: what it takes for a target is recorded, proven and put on a shelf that jobs see.
//!
//! All of it is made by trusted jobs without any user's input, in the same view of the world that
//! clients' jobs get. What a job of a client's does never comes back here, except for a note that
//! says how its pass 4 went, and that is only shown in the log.

mod learn;
mod prove;
mod shape;
mod shelf;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use stap_driver::PROGRAM;
use stap_driver::precompiled::{HEADER, PRECOMPILED};
use stap_driver::recipe::{COMMON, Recipe};
use stap_driver::shim::{NAME, RECIPE};

pub(crate) use self::learn::workspace_files;
pub use self::learn::{Example, Learned, Learner};
pub use self::prove::{Proof, Sameness, prove};
pub use self::shelf::{Shelf, Shown};
use crate::job::MAX_PRECOMPILED;
use crate::store::{Store, hexadecimal};

/// What jobs get to replay pass 4 of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kit {
    /// How modules are built.
    pub recipe: Recipe,
    /// What was kept of the recording, by name.
    pub kept: BTreeMap<String, Vec<u8>>,
}

impl Kit {
    /// Puts it on the shelf, with the program that uses it.
    ///
    /// # Errors
    ///
    /// When the shelf cannot be written.
    pub fn show(&self, shelf: &Shelf) -> std::io::Result<Shown> {
        let recipe = self.recipe.encode();
        let mut files: Vec<(&str, &[u8], bool)> =
            vec![(NAME, PROGRAM, true), (RECIPE, &recipe, false)];
        let kept = self.kept.iter();
        files.extend(kept.map(|(name, content)| (name.as_str(), content.as_slice(), false)));
        shelf.put(&files)
    }

    /// The kit that an earlier worker has proven, if it is whole.
    #[must_use]
    pub fn load(store: &Store, key: &str) -> Option<Self> {
        let mut recipe = None;
        let mut kept = BTreeMap::new();
        for (path, content) in store.load_as(&entry(key), is_part, MAX_PART) {
            let name = path.parent()?.to_str()?.to_owned();
            if path != part(&name, &content) {
                tracing::warn!(key, "damaged: what pass 4 needs is not used, and made anew");
                return None;
            }
            if name == RECIPE {
                recipe = Recipe::decode(&content);
            } else {
                kept.insert(name, content);
            }
        }
        // The recipe names what belongs to it, so that a file that is gone is missed.
        let recipe = recipe.filter(|recipe| recipe.kept.iter().eq(kept.keys()))?;
        Some(Self { recipe, kept })
    }

    /// Keeps it for later workers.
    ///
    /// # Errors
    ///
    /// When it cannot be written; nothing of it is then visible.
    pub fn publish(&self, store: &Store, key: &str) -> std::io::Result<()> {
        let recipe = self.recipe.encode();
        let mut files = vec![(part(RECIPE, &recipe), recipe)];
        let kept = self.kept.iter();
        files.extend(kept.map(|(name, content)| (part(name, content), content.clone())));
        store.publish(&entry(key), &files)
    }

    /// The same without a precompiled header: its modules are kbuild's to the byte.
    #[must_use]
    pub fn without_header(&self) -> Self {
        let mut exact = self.clone();
        exact
            .kept
            .retain(|name, _| name != HEADER && name != PRECOMPILED);
        exact.recipe.kept = exact.kept.keys().cloned().collect();
        exact
    }

    /// Adds something that was kept.
    pub fn keep(&mut self, name: &str, content: Vec<u8>) {
        self.kept.insert(name.to_owned(), content);
        self.recipe.kept = self.kept.keys().cloned().collect();
    }
}

/// Another program may read recipes otherwise, so it proves them again.
fn entry(key: &str) -> String {
    let program = hexadecimal(&Sha256::digest(PROGRAM));
    format!("{key}-pass-4-{}", &program[..PROGRAM_DIGITS])
}

/// A file is stored under a name that says what it must hold.
fn part(name: &str, content: &[u8]) -> PathBuf {
    Path::new(name).join(hexadecimal(&Sha256::digest(content)))
}

fn is_part(path: &Path) -> bool {
    let known = [RECIPE, COMMON, HEADER, PRECOMPILED].map(Path::new);
    path.parent().is_some_and(|name| known.contains(&name))
}

const PROGRAM_DIGITS: usize = 16;
/// Bytes of one file of a kit.
const MAX_PART: u64 = MAX_PRECOMPILED;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        (parent, store)
    }

    fn kit() -> Kit {
        let mut kit = Kit::default();
        kit.keep(COMMON, b"object".to_vec());
        kit
    }

    #[test]
    fn a_kit_outlives_the_worker() {
        let (_parent, store) = store();
        assert_eq!(Kit::load(&store, "key"), None);
        kit().publish(&store, "key").unwrap();
        assert_eq!(Kit::load(&store, "key"), Some(kit()));
        assert_eq!(Kit::load(&store, "other"), None);
    }

    #[test]
    fn a_kit_with_a_byte_changed_or_a_file_missing_is_not_used() {
        let (parent, store) = store();
        kit().publish(&store, "key").unwrap();
        let directory = parent.path().join("cache").join(entry("key"));
        let files = || {
            fs::read_dir(&directory)
                .unwrap()
                .map(|file| file.unwrap().path())
        };
        assert_eq!(files().count(), 2);
        for file in files() {
            let content = fs::read(&file).unwrap();
            // Still a recipe, where it is one, and another.
            fs::write(&file, [content.as_slice(), b"build \n"].concat()).unwrap();
            assert_eq!(Kit::load(&store, "key"), None, "{}", file.display());
            fs::remove_file(&file).unwrap();
            assert_eq!(Kit::load(&store, "key"), None, "{}", file.display());
            fs::write(&file, content).unwrap();
        }
        assert_eq!(Kit::load(&store, "key"), Some(kit()));
    }
}
