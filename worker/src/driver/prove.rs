//! Holds modules that were replayed against those of kbuild.

use stap_driver::shim::REPLAYED;

use super::Kit;
use super::learn::{Example, Learner, Stop, unwritable};
use crate::jail::Fault;
use crate::job::{BuildFiles, note};

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every module is the same.
    Same,
    /// One is not, or was not replayed.
    Different(String),
    /// Nobody waits for it any more.
    Cancelled,
}

/// How alike two modules have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// Byte for byte.
    Bytes,
}

impl Sameness {
    fn holds(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Bytes => one == other,
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
        Err(error) => return Ok(Proof::Different(unwritable(&error))),
    };
    for example in examples {
        let finished = match learner.build(&example.order(), Some(&shown)).await {
            Ok(finished) => finished,
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Cancelled) => return Ok(Proof::Cancelled),
            Err(Stop::Refused(reason)) => return Ok(Proof::Different(reason)),
        };
        let Some(workspace) = &finished.workspace else {
            return Ok(Proof::Different("a replay left no files".to_owned()));
        };
        let how = note(workspace).unwrap_or_else(|| "the program did not run".to_owned());
        if how != REPLAYED {
            return Ok(Proof::Different(format!("a build was not replayed: {how}")));
        }
        let left = BuildFiles::collect(workspace);
        let module = example.module_in(&left);
        if !module.is_some_and(|module| sameness.holds(module, &example.module)) {
            let reason = "a module that was replayed is not the one that kbuild makes";
            return Ok(Proof::Different(reason.to_owned()));
        }
    }
    Ok(Proof::Same)
}
