//! What came of a command line, and what has to be the same about it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::command::Invocation;
use crate::finished::Finished;
use crate::world::PATH;

/// What a person gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The exit status; none after a signal.
    pub status: Option<i32>,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
    /// Names of what is left in the working directory, in order.
    pub left: Vec<String>,
    /// The digest of the first module among them; empty when there is none.
    pub module: String,
}

impl Answer {
    /// Takes what a command said, and what it left in its directory.
    #[must_use]
    pub fn of(finished: &Finished, directory: &Path) -> Self {
        let left = crate::lab::list(directory);
        let module = left.iter().find(|name| name.ends_with(".ko"));
        Self {
            status: finished.code(),
            out: finished.out(),
            err: finished.err(),
            module: module
                .map(|name| digest(&directory.join(name)))
                .unwrap_or_default(),
            left,
        }
    }
}

fn digest(file: &Path) -> String {
    let sum = Invocation::new("sha256sum")
        .arg(file)
        .env("PATH", PATH)
        .run();
    let line = sum.exits(0).out();
    line.split(' ').next().unwrap_or_default().to_owned()
}
