//! Holds modules that were replayed against those of kbuild.

use stap_driver::recipe::Recipe;
use stap_driver::shim::REPLAYED;

use super::learn::{Example, Learner, Stop, module_of, unwritable};
use super::show;
use crate::jail::Fault;
use crate::job::{BuildFiles, note};

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every module is the same, byte for byte.
    Same,
    /// One is not, or was not replayed.
    Different(String),
    /// Nobody waits for it any more.
    Cancelled,
}

/// Builds the examples again by a recipe, and compares.
///
/// # Errors
///
/// When a jail could not be built.
pub async fn prove(
    learner: &Learner<'_>,
    recipe: &Recipe,
    examples: &[Example],
) -> Result<Proof, Fault> {
    let shown = match show(learner.shelf, recipe) {
        Ok(shown) => shown,
        Err(error) => return Ok(Proof::Different(unwritable(&error))),
    };
    for example in examples {
        let finished = match learner.build(&example.again, Some(&shown)).await {
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
        let module = module_of(&example.again, &BuildFiles::collect(workspace));
        if module.as_ref() != Some(&example.module) {
            let reason = "a module that was replayed is not the one that kbuild makes";
            return Ok(Proof::Different(reason.to_owned()));
        }
    }
    Ok(Proof::Same)
}
