//! Landlock for the process that starts jails, as far as jails can live with it.
//!
//! A domain holds for all that is started in it. One that governs any right to files forbids every
//! change of mounts, which is what jails are made of; so this one governs none. What it governs is
//! whom a process can call, and whom it can signal, trace or look into: nobody outside.

use landlock::{
    ABI, Access as _, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

use crate::ladder::Fault;

pub(super) fn enter() -> Result<String, Fault> {
    let status = restrict()
        .map_err(|cause| Fault::unfit(format!("restricting itself with Landlock: {cause}")))?;
    Ok(match status {
        RulesetStatus::FullyEnforced => {
            "Landlock: no port, no signal and no abstract socket outside".to_owned()
        }
        RulesetStatus::PartiallyEnforced => {
            "Landlock in part, as this kernel is older than the server".to_owned()
        }
        RulesetStatus::NotEnforced => "no Landlock, as this kernel has none for this".to_owned(),
    })
}

fn restrict() -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// The newest Landlock whose rules were read and meant here. Raise it on purpose.
const NEWEST: ABI = ABI::V6;
