//! Whose processes these are: a slot's, an ordinary user's, never root's.

use rustix::process::{DumpableBehavior, Gid, Uid};
use rustix::thread::{
    capabilities, set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::{Climb, Doing, Fault};
use crate::layer::Layer;
use crate::plan::Identity;

/// Becomes the slot's user. Where a user namespace follows, that gives the capabilities for the
/// rest; where there is none, root's are carried up to the rung that drops them.
pub(super) fn take_slot(climb: &mut Climb) -> Result<(), Fault> {
    let Identity::Slot { uid, gid } = climb.plan.identity else {
        return Err(Fault::unfit("the plan names no slot"));
    };
    let carry = !climb.plan.wants(Layer::User);
    set_thread_groups(&[]).doing("leaving all groups (only root can take a slot's identity)")?;
    set_keep_capabilities(carry).doing("choosing what happens to root's capabilities")?;
    let (group, user) = (Gid::from_raw(gid), Uid::from_raw(uid));
    set_thread_res_gid(group, group, group).doing(format!("becoming group {gid}"))?;
    set_thread_res_uid(user, user, user).doing(format!("becoming user {uid}"))?;
    if carry {
        raise_carried()?;
    }
    // The change of user made this process's /proc files root's, and the maps of the user
    // namespace are written there.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .doing("owning its own /proc files")?;
    climb.hold(
        Layer::SlotUid,
        format!("uid {uid}, gid {gid}, no other groups"),
    );
    Ok(())
}

fn raise_carried() -> Result<(), Fault> {
    let mut sets = capabilities(None).doing("reading capabilities")?;
    sets.effective = sets.permitted;
    set_capabilities(None, sets).doing("carrying root's capabilities")?;
    set_keep_capabilities(false).doing("carrying capabilities only once")
}

/// A job of root's would own the host's files through every hole in the rest.
pub(super) fn refuse_root(_climb: &mut Climb) -> Result<(), Fault> {
    let is_root = [rustix::process::getuid(), rustix::process::geteuid()].contains(&Uid::ROOT);
    if is_root {
        return Err(Fault::unfit(
            "the launcher runs as root and the plan names no slot; configure a range of slot uids",
        ));
    }
    Ok(())
}
