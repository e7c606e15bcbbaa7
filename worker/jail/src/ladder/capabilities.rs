//! Every capability leaves every set, also those that this program has no name for.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use super::{Climb, Doing, Fault};
use crate::layer::Layer;

pub(super) fn drop_all(climb: &mut Climb) -> Result<(), Fault> {
    climb.hold(Layer::Capabilities, give_up()?);
    Ok(())
}

/// Empties all sets of this process and says what is left, which is nothing that can be used.
pub(crate) fn give_up() -> Result<&'static str, Fault> {
    let own = capabilities(None).doing("reading capabilities")?;
    let may_bound = own.effective.contains(CapabilitySet::SETPCAP);
    if may_bound {
        lock_secure_bits()?;
        shrink_bounding_set(CapabilitySet::empty())?;
    }
    clear_ambient_capability_set().doing("clearing the ambient capabilities")?;
    set_capabilities(None, NONE).doing("clearing the capabilities")?;
    if capabilities(None).doing("reading capabilities")? != NONE {
        return Err(Fault::unfit(
            "capabilities are left although they were cleared",
        ));
    }
    Ok(if may_bound {
        "all sets are empty"
    } else {
        // An ordinary user without a user namespace had none, and only the bounding set, a promise
        // about the future, cannot be emptied by such a process. No-new-privs makes the same one.
        "the sets are empty; the bounding set could not be changed"
    })
}

/// Leaves `kept`, for this process and all that it starts. The list ends where the kernel's does,
/// which may know more capabilities than we do.
pub(crate) fn shrink_bounding_set(kept: CapabilitySet) -> Result<(), Fault> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match capability_is_in_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            Ok(false) => {}
            Ok(true) => remove_capability_from_bounding_set(capability)
                .doing(format!("dropping capability {bit} for good"))?,
            Err(cause) => return Err(cause).doing("reading the bounding set"),
        }
    }
    Ok(())
}

/// Being uid 0 means nothing any more, here or in anything that is executed from here.
fn lock_secure_bits() -> Result<(), Fault> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).doing("locking the secure bits")
}

const NONE: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};
