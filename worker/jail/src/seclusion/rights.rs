//! The capabilities that are left, and core files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};

use super::Seclusion;
use crate::ladder::{Doing, Fault, shrink_bounding_set};
use crate::layer::Layer;

/// Keeps what jails with these layers need, for this process and all that it starts.
pub(super) fn lower(seclusion: &Seclusion<'_>) -> Result<String, Fault> {
    let needed = if seclusion.layers.contains(&Layer::SlotUid) {
        needed_by_root(seclusion)
    } else {
        CapabilitySet::empty()
    };
    let own = capabilities(None).doing("reading capabilities")?;
    let missing = needed - own.permitted;
    if !missing.is_empty() {
        return Err(Fault::unfit(format!(
            "a worker that root started needs {}, and was started without; give the service these \
             capabilities, or start it as an ordinary user",
            names(missing)
        )));
    }
    if own.effective.contains(CapabilitySet::SETPCAP) {
        shrink_bounding_set(needed)?;
    }
    clear_ambient_capability_set().doing("clearing the ambient capabilities")?;
    let left = CapabilitySets {
        effective: needed,
        permitted: needed,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, left).doing("dropping capabilities")?;
    if capabilities(None).doing("reading capabilities")? != left {
        return Err(Fault::unfit(
            "capabilities are left although they were dropped",
        ));
    }
    Ok(if needed.is_empty() {
        "no capabilities".to_owned()
    } else {
        format!("of root's capabilities only {}", names(needed))
    })
}

/// A launcher that root started becomes its slot's user, and its job's processes, which have to be
/// killed, belong to that user. So do the files from which results are read.
fn needed_by_root(seclusion: &Seclusion<'_>) -> CapabilitySet {
    let holds = |layer| seclusion.layers.contains(&layer);
    let mut needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    needed |= if seclusion.overrides_modes || !holds(Layer::Mount) {
        // Includes the other.
        CapabilitySet::DAC_OVERRIDE
    } else {
        CapabilitySet::DAC_READ_SEARCH
    };
    if !holds(Layer::User) {
        // Nothing else gives a launcher the right to make the other namespaces, and to end up
        // without any right.
        needed |= CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP;
    }
    if !holds(Layer::Mount) {
        // Workspaces are directories of the host then, which are given to the slot's user and taken
        // back.
        needed |= CapabilitySet::CHOWN | CapabilitySet::FOWNER;
    }
    needed
}

fn names(set: CapabilitySet) -> String {
    let names = set.iter_names().map(|(name, _)| format!("CAP_{name}"));
    names.collect::<Vec<_>>().join(", ")
}

/// Neither this process nor anything that it starts leaves a core. A limit of nothing would not do
/// it: a core that the host pipes into a program of root's is not limited, unless the limit is one
/// byte (core(5), and `do_coredump` in Linux).
pub(super) fn forbid_cores() -> Result<(), Fault> {
    let inherited = getrlimit(Resource::Core).maximum.unwrap_or(u64::MAX);
    let most = inherited.min(NO_CORE);
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Core, limit).doing("forbidding core files")
}

/// The limit of core files that stands for none at all, also where they are piped.
pub(crate) const NO_CORE: u64 = 1;
