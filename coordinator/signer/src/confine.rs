//! Gives up everything but reading keys.
//!
//! The order is the coordinator's: capabilities first, then what can never be taken back, and the filter
//! of system calls last, because it forbids what the others need. The user stays the one who owns the
//! keys.

mod calls;

use std::path::Path;

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use stap_certs::module_keys::ModuleKeys;

/// Confines this process, and returns what is in force, in words for the log.
pub(crate) fn confine(database: &Path) -> Result<String, String> {
    let failed =
        |what| move |error: &dyn std::fmt::Display| format!("the signer cannot {what}: {error}");
    let place = ModuleKeys::place(database);
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set).map_err(|error| failed("drop its capabilities")(&error))?;
    }
    // A core file, or a debugger of the same user, would show a key.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(|error| failed("forbid core dumps")(&error))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| failed("forbid debuggers")(&error))?;
    set_no_new_privs(true).map_err(|error| failed("set no_new_privs")(&error))?;
    let readable = [Some(database), place.as_deref()];
    let landlock = restrict(readable.into_iter().flatten())
        .map_err(|error| failed("restrict itself with Landlock")(&error))?;
    let calls = calls::restrict().map_err(|error| failed("filter its system calls")(&error))?;
    Ok(format!(
        "no capabilities, no_new_privs, {landlock}, {calls}"
    ))
}

/// Leaves reading below these directories, and nothing else of files and networks.
fn restrict<'a>(
    readable: impl Iterator<Item = &'a Path>,
) -> Result<&'static str, Box<dyn std::error::Error>> {
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for directory in readable.filter(|directory| directory.is_dir()) {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(directory)?, reading))?;
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => "Landlock: reads the keys and nothing else, no network",
        RulesetStatus::PartiallyEnforced => {
            "Landlock in part, as this kernel is older than the server"
        }
        RulesetStatus::NotEnforced => "no Landlock, as this kernel does not offer it",
    })
}

/// The newest Landlock whose rules were read and meant here. Raise it on purpose.
const NEWEST: ABI = ABI::V6;
