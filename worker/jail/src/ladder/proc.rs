//! A `/proc` of the job's own processes, which compilers and stap's cache key look into.

use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::{Climb, Fault};
use crate::layer::Layer;
use crate::mounts::{Kind, Mount};

pub(super) fn mount(climb: &mut Climb) -> Result<(), Fault> {
    // Without `subset=pid` it would show the kernel's symbols, modules and settings; `hidepid`
    // hides pid 1, which is ours, from the job.
    let options = [("subset", "pid"), ("hidepid", "invisible")];
    // Nothing there is for the job to change: how soon it is killed, what its cores hold, its
    // namespaces' maps.
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = Mount::fresh("proc", &options, attributes)?;
    climb
        .new_root()?
        .attach(&proc, Path::new("proc"), Kind::Directory)?;
    climb.hold(Layer::Proc, "its own processes only");
    Ok(())
}
