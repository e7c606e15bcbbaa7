//! Pass 4 without make: what it takes for a target is recorded, proven and put on a shelf that jobs see.
//!
//! All of it is made by trusted jobs without any user's input, in the same view of the world that
//! clients' jobs get. What a job of a client's does never comes back here, except for a note that
//! says how its pass 4 went, and that is only shown in the log.

mod about;
mod example;
mod kits;
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
use stap_driver::shim::{MAKEFILE, NAME, RECIPE};

use self::about::ABOUT;
pub use self::about::{About, State};
pub use self::example::Example;
pub(crate) use self::example::asking;
pub use self::kits::{Kits, Offer};
pub(crate) use self::learn::workspace_files;
pub use self::learn::{Learned, Learner};
pub use self::prove::{Proof, Sameness, prove};
pub use self::shelf::{Shelf, Shown};
use crate::job::MAX_PRECOMPILED;
use crate::store::{Store, hexadecimal};

/// What jobs get to replay pass 4 of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kit {
    /// How modules are built.
    pub recipe: Recipe,
    /// The Makefile of the build tree that asks for it.
    pub asking: Vec<u8>,
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
        let mut files: Vec<(&str, &[u8], bool)> = vec![
            (NAME, PROGRAM, true),
            (RECIPE, &recipe, false),
            (MAKEFILE, &self.asking, false),
        ];
        let kept = self.kept.iter();
        files.extend(kept.map(|(name, content)| (name.as_str(), content.as_slice(), false)));
        shelf.put(&files)
    }

    /// The kit that an earlier worker has proven for what jobs see now, if it is whole.
    #[must_use]
    pub fn load(store: &Store, key: &str, about: &About) -> Option<Self> {
        let (mut recipe, mut asking) = (None, None);
        let mut kept = BTreeMap::new();
        let files = store.load_sealed(key, &about.seen(), is_part, MAX_PART);
        for (path, content) in files.ok()? {
            match path.parent()?.to_str()? {
                // Another server may have put its own kit here since anybody looked.
                ABOUT if About::decode(&content)? == *about => {}
                ABOUT => return None,
                RECIPE => recipe = Recipe::decode(&content),
                MAKEFILE => asking = Some(content),
                name => drop(kept.insert(name.to_owned(), content)),
            }
        }
        Some(Self {
            recipe: recipe?,
            asking: asking?,
            kept,
        })
    }

    /// Keeps it for later workers, in the place of what was kept under the same name.
    ///
    /// # Errors
    ///
    /// When it cannot be written; nothing of it is then visible.
    pub fn publish(&self, store: &Store, key: &str, about: &About) -> std::io::Result<()> {
        let recipe = self.recipe.encode();
        let mut files = vec![
            about.part(),
            (part(RECIPE, &recipe), recipe),
            (part(MAKEFILE, &self.asking), self.asking.clone()),
        ];
        let kept = self.kept.iter();
        files.extend(kept.map(|(name, content)| (part(name, content), content.clone())));
        store.publish_sealed(key, &about.seen(), &files)
    }

    /// How much it takes where jobs see it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let kept: usize = self.kept.values().map(Vec::len).sum();
        (kept + PROGRAM.len() + self.recipe.encode().len() + self.asking.len()) as u64
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
fn program_digest() -> String {
    hexadecimal(&Sha256::digest(PROGRAM))
}

/// A file is stored under a name that says what it must hold.
fn part(name: &str, content: &[u8]) -> PathBuf {
    Path::new(name).join(hexadecimal(&Sha256::digest(content)))
}

fn is_part(path: &Path) -> bool {
    let known = [ABOUT, RECIPE, MAKEFILE, COMMON, HEADER, PRECOMPILED].map(Path::new);
    path.parent().is_some_and(|name| known.contains(&name))
}

/// Bytes of one file of a kit.
const MAX_PART: u64 = MAX_PRECOMPILED;

#[cfg(test)]
mod tests {
    use std::fs;

    use stap_protocol::target::TargetIdentity;

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

    fn about(identity: u8) -> About {
        About {
            identity: TargetIdentity([identity; 32]),
            root: "/".into(),
            build_tree: "/lib/modules/1/build".into(),
            program: program_digest(),
            flags: "plain".to_owned(),
            state: State::Proven,
        }
    }

    #[test]
    fn a_kit_outlives_the_worker_and_serves_only_who_sees_the_same() {
        let (_parent, store) = store();
        assert_eq!(Kit::load(&store, "key", &about(1)), None);
        kit().publish(&store, "key", &about(1)).unwrap();
        assert_eq!(Kit::load(&store, "key", &about(1)), Some(kit()));
        assert_eq!(Kit::load(&store, "other", &about(1)), None);
        assert_eq!(Kit::load(&store, "key", &about(2)), None);
        let program = "another".to_owned();
        let other = About {
            program,
            ..about(1)
        };
        assert_eq!(Kit::load(&store, "key", &other), None);
    }

    #[test]
    fn a_kit_with_a_byte_changed_or_a_file_missing_is_not_used() {
        let (parent, store) = store();
        kit().publish(&store, "key", &about(1)).unwrap();
        let load = || Kit::load(&store, "key", &about(1));
        let files = || {
            fs::read_dir(parent.path().join("cache/key"))
                .unwrap()
                .map(|file| file.unwrap().path())
        };
        assert_eq!(files().count(), 5);
        for file in files() {
            let content = fs::read(&file).unwrap();
            // Still a recipe, where it is one, and another.
            fs::write(&file, [content.as_slice(), b"build \n"].concat()).unwrap();
            assert_eq!(load(), None, "{}", file.display());
            kit().publish(&store, "key", &about(1)).unwrap();
            fs::remove_file(&file).unwrap();
            assert_eq!(load(), None, "{}", file.display());
            kit().publish(&store, "key", &about(1)).unwrap();
        }
        assert_eq!(load(), Some(kit()));
    }
}
