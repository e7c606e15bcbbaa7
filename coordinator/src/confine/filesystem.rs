//! Landlock: from here on only the certificate databases and the results exist for this process.

use std::os::fd::BorrowedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// Why the restriction is not in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestrictError {
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
    #[error(transparent)]
    Path(#[from] PathFdError),
}

/// Leaves `writable` and what is open already. A kernel without Landlock, or with less of it than we
/// know, is used as it is: what holds is returned in words.
pub(super) fn restrict(
    writable: &[&Path],
    open: Option<BorrowedFd<'_>>,
) -> Result<String, RestrictError> {
    let files = AccessFs::from_all(NEWEST);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(files)?
        // The listening socket is bound already, and nobody is connected to. Signals stay possible:
        // a worker that does not end has to be killed.
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    let rights = files & !(AccessFs::Execute | AccessFs::IoctlDev);
    for directory in writable.iter().filter(|directory| directory.is_dir()) {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(directory)?, rights))?;
    }
    // The way to it may be closed to the account that this process is by now.
    if let Some(directory) = open {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, rights))?;
    }
    let status = ruleset.restrict_self()?.ruleset;
    Ok(match status {
        RulesetStatus::FullyEnforced => {
            "Landlock: certificate databases and results only, no outgoing connections".to_owned()
        }
        RulesetStatus::PartiallyEnforced => {
            "Landlock in part, as this kernel is older than the server".to_owned()
        }
        RulesetStatus::NotEnforced => "no Landlock, as this kernel does not offer it".to_owned(),
    })
}

/// The newest Landlock whose rules were read and meant here. Raise it on purpose.
const NEWEST: ABI = ABI::V6;
