//! Holds modules that were replayed against those of kbuild.

use stap_driver::shim::REPLAYED;

use super::learn::{Learner, Stop, unwritable};
use super::{Example, Kit, shape};
use crate::jail::Fault;
use crate::job::{BuildFiles, note};

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every module is the same.
    Same,
    /// One is not.
    Different(String),
    /// One was not replayed.
    Unreplayed(String),
    /// Something came between.
    Failed(String),
    /// Nobody waits for it any more.
    Cancelled,
}

/// How alike two modules have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// Byte for byte.
    Bytes,
    /// But for the order of instructions, and the numbers that the compiler gives to names.
    Shape,
}

impl Sameness {
    /// What is not the same.
    fn difference(self, one: &[u8], other: &[u8]) -> Option<String> {
        match self {
            Self::Bytes => (one != other).then(|| "some bytes".to_owned()),
            Self::Shape => shape::difference(one, other),
        }
    }
}

/// Builds the examples again with a kit, and compares.
///
/// # Errors
///
/// When a jail could not be built.
pub async fn prove(
    learner: &Learner<'_>,
    kit: &Kit,
    examples: &[Example],
    sameness: Sameness,
) -> Result<Proof, Fault> {
    let shown = match kit.show(learner.shelf) {
        Ok(shown) => shown,
        Err(error) => return Ok(Proof::Failed(unwritable(&error))),
    };
    for example in examples {
        let finished = match learner.build(&example.order(), Some(shown.path())).await {
            Ok(finished) => finished,
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Cancelled) => return Ok(Proof::Cancelled),
            Err(Stop::Different(reason) | Stop::Refused(reason)) => {
                return Ok(Proof::Unreplayed(reason));
            }
            Err(Stop::Failed(reason)) => return Ok(Proof::Failed(reason)),
        };
        let Some(workspace) = &finished.workspace else {
            return Ok(Proof::Unreplayed("a replay left no files".to_owned()));
        };
        let how = note(workspace).unwrap_or_else(|| "the program did not run".to_owned());
        if !how.starts_with(REPLAYED) {
            return Ok(Proof::Unreplayed(format!(
                "a build was not replayed: {how}"
            )));
        }
        let left = BuildFiles::collect(workspace);
        let difference = match example.module_in(&left) {
            Some(module) => sameness.difference(&example.module, module),
            None => return Ok(Proof::Unreplayed("a replay left no module".to_owned())),
        };
        if let Some(difference) = difference {
            let reason = format!("the module differs from kbuild's: {difference}");
            return Ok(Proof::Different(reason));
        }
    }
    Ok(Proof::Same)
}
