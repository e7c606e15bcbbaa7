//! Pass 4 without make: what it takes for a target is recorded, proven and put on a shelf that jobs see.
//!
//! All of it is made by trusted jobs without any user's input, in the same view of the world that
//! clients' jobs get. What a job of a client's does never comes back here, except for a note that
//! says how its pass 4 went, and that is only shown in the log.

mod learn;
mod prove;
mod shelf;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use stap_driver::PROGRAM;
use stap_driver::recipe::Recipe;
use stap_driver::shim::{NAME, RECIPE};

pub(crate) use self::learn::workspace_files;
pub use self::learn::{Again, Example, Learned, Learner};
pub use self::prove::{Proof, prove};
pub use self::shelf::Shelf;
use crate::store::{Store, hexadecimal};

/// What jobs of a target see, if its pass 4 can be replayed.
pub type Shown = Arc<PathBuf>;

/// Puts a recipe on the shelf, with the program that replays it.
///
/// # Errors
///
/// When the shelf cannot be written.
pub fn show(shelf: &Shelf, recipe: &Recipe) -> std::io::Result<Shown> {
    let recipe = recipe.encode();
    let shown = shelf.put(&[(NAME, PROGRAM, true), (RECIPE, &recipe, false)])?;
    Ok(Arc::new(shown))
}

/// The recipe that an earlier worker has proven, if it is whole.
#[must_use]
pub fn load(store: &Store, key: &str) -> Option<Recipe> {
    let files = store.load_as(&entry(key), is_part);
    let [(path, content)] = files.as_slice() else {
        return None;
    };
    let whole = *path == part(RECIPE, content);
    if !whole {
        tracing::warn!(
            key,
            "a damaged recipe for pass 4 is not used; it will be made anew"
        );
    }
    Recipe::decode(content).filter(|_| whole)
}

/// Keeps a recipe that was proven for later workers.
///
/// # Errors
///
/// When it cannot be written; nothing of it is then visible.
pub fn publish(store: &Store, key: &str, recipe: &Recipe) -> std::io::Result<()> {
    let content = recipe.encode();
    let file = (part(RECIPE, &content), content);
    store.publish(&entry(key), &[file])
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
    path.parent() == Some(Path::new(RECIPE))
}

const PROGRAM_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        (parent, store)
    }

    #[test]
    fn a_recipe_outlives_the_worker() {
        let (_parent, store) = store();
        assert_eq!(load(&store, "key"), None);
        publish(&store, "key", &Recipe::default()).unwrap();
        assert_eq!(load(&store, "key"), Some(Recipe::default()));
        assert_eq!(load(&store, "other"), None);
    }

    #[test]
    fn a_recipe_with_one_byte_changed_is_not_used() {
        let (parent, store) = store();
        publish(&store, "key", &Recipe::default()).unwrap();
        let entry = parent.path().join("cache").join(entry("key"));
        let file = fs::read_dir(entry).unwrap().next().unwrap().unwrap().path();
        let content = fs::read_to_string(&file).unwrap();
        // Still a recipe, and another one.
        fs::write(&file, format!("{content}build \n")).unwrap();
        assert_eq!(load(&store, "key"), None);
        fs::write(&file, content).unwrap();
        assert!(load(&store, "key").is_some());
    }
}
