//! The five devices that programs take for granted, and no other.

use std::path::Path;

use rustix::fs::{FileType, makedev};
use rustix::mount::MountAttrFlags;

use super::{Climb, Doing, Fault};
use crate::mounts::{Kind, Mount};

/// Each with its number, so that a host whose `/dev` holds something else under the name is
/// noticed.
pub(super) const DEVICES: [(&str, u32, u32); 5] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
];

pub(super) fn show(climb: &mut Climb) -> Result<(), Fault> {
    // A user namespace may not make device nodes, but it may show the host's.
    for (name, major, minor) in DEVICES {
        let source = Path::new("/dev").join(name);
        let device = Mount::copy_of_host(&source)?;
        let stat = rustix::fs::fstat(device.descriptor()).doing("looking at a device")?;
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        if !is_device || stat.st_rdev != makedev(major, minor) {
            return Err(Fault::unfit(format!(
                "{} is not the device of that name",
                source.display()
            )));
        }
        device.harden(HARMLESS)?;
        climb
            .new_root()?
            .attach(&device, &Path::new("dev").join(name), Kind::File)?;
    }
    Ok(())
}

/// Writing to a device is not writing to its file system, so read-only keeps its mode and times.
const HARMLESS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
