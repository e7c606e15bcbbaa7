//! Answers that were got once, kept from lab to lab: the references that several tests compare with, and what the
//! document is written from.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::column::{Column, Scene};
use super::rows::Row;
use crate::world::WARM;

/// All answers of a column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Which build of the tests got them.
    pub build: String,
    /// What the root's stap calls itself.
    pub version: String,
    /// By the names of the rows.
    answers: Vec<(String, Answer)>,
}

impl Record {
    /// Asks everything anew, and keeps the answers.
    ///
    /// # Panics
    /// When the build directory is not writable.
    #[must_use]
    pub fn new(scene: &Scene<'_>, column: Column) -> Self {
        let answers = scene.ask(column).into_iter();
        let record = Self {
            build: build(),
            version: scene.version(),
            answers: answers
                .map(|(name, answer)| (name.to_owned(), answer))
                .collect(),
        };
        let file = Path::new(WARM).join(DIRECTORY).join(column.name());
        let folder = file.parent().expect("it is in a directory");
        fs::create_dir_all(folder).expect("the build directory is writable");
        let text = serde_json::to_vec(&record).expect("text becomes text");
        // Whole or not at all: a test that is ended leaves nothing that another one would take for answers.
        let partial = file.with_extension("partial");
        fs::write(&partial, text).expect("the build directory is writable");
        fs::rename(partial, file).expect("the build directory is writable");
        record
    }

    /// Takes the answers that this very build has got already, or asks.
    #[must_use]
    pub fn once(scene: &Scene<'_>, column: Column) -> Self {
        let known = Self::read(Path::new(WARM), column);
        let known = known.filter(|record| record.build == build());
        known.unwrap_or_else(|| Self::new(scene, column))
    }

    /// What is kept below a directory.
    #[must_use]
    pub fn read(warm: &Path, column: Column) -> Option<Self> {
        let text = fs::read(warm.join(DIRECTORY).join(column.name())).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The answer to a row, if it was asked.
    #[must_use]
    pub fn answer(&self, row: &Row) -> Option<&Answer> {
        let mut answers = self.answers.iter();
        answers.find_map(|(name, answer)| (name == row.name).then_some(answer))
    }
}

/// Names this build of the tests: another one may ask other things, or in another way.
fn build() -> String {
    let program = PathBuf::from("/proc/self/exe");
    let file = fs::metadata(program).expect("/proc is mounted");
    format!("{}.{} {}", file.mtime(), file.mtime_nsec(), file.size())
}

const DIRECTORY: &str = "interop";
