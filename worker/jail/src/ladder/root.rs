//! The job's root: a small file system of our own, and in it read-only what the plan shows.

use std::path::Path;

use rustix::fs::FileType;
use rustix::mount::MountAttrFlags;

use super::{Climb, Doing, Fault, huge_pages};
use crate::mounts::{Mount, NewRoot, kind_on_host};
use crate::plan::{Access, Bind, VISIBLE, VISIBLE_ETC};

/// Bounds of the root itself, which holds directories, mount points and a few small files.
const ROOT_OPTIONS: [(&str, &str); 3] = [("size", "1m"), ("nr_inodes", "1024"), ("mode", "0755")];

pub(super) fn build(climb: &mut Climb) -> Result<(), Fault> {
    let root = NewRoot::make(&ROOT_OPTIONS)?;
    for name in VISIBLE {
        show(&root, climb.plan.view.root.as_path(), name)?;
    }
    for name in VISIBLE_ETC {
        show(
            &root,
            climb.plan.view.root.as_path(),
            &format!("etc/{name}"),
        )?;
    }
    write_accounts(&root)?;
    huge_pages::tell(&root)?;
    for bind in &climb.plan.view.binds {
        show_bind(&root, bind)?;
    }
    climb.root = Some(root);
    Ok(())
}

/// Shows one entry of the target's root under its own name, if it is there. On most distributions
/// `bin`, `lib` and their kind are links into `usr`, and stay that.
fn show(root: &NewRoot, from: &Path, name: &str) -> Result<(), Fault> {
    let source = from.join(name);
    match kind_on_host(&source)? {
        None => Ok(()),
        Some(FileType::Symlink) => {
            let target =
                std::fs::read_link(&source).doing(format!("reading {}", source.display()))?;
            root.link(&target, name)
        }
        Some(_) => attach_read_only(root, &source, Path::new(name), access_of(name)),
    }
}

fn show_bind(root: &NewRoot, bind: &Bind) -> Result<(), Fault> {
    match bind.target.as_path().strip_prefix("/") {
        Ok(place) if !place.as_os_str().is_empty() => {
            attach_read_only(root, bind.source.as_path(), place, bind.access)
        }
        _ => Err(Fault::unfit(
            "a bind cannot take the place of the whole root",
        )),
    }
}

fn attach_read_only(root: &NewRoot, source: &Path, at: &Path, access: Access) -> Result<(), Fault> {
    let mount = Mount::copy_of_host(source)?;
    let kind = mount.kind()?;
    mount.harden(READ_ONLY | no_exec_unless(access))?;
    root.attach(&mount, at, kind)
}

/// Programs that ask who they are get a name; it says nothing about the host.
fn write_accounts(root: &NewRoot) -> Result<(), Fault> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    root.write(
        Path::new("etc/passwd"),
        &format!("build:x:{uid}:{gid}::/work/home:/bin/sh\n"),
    )?;
    root.write(Path::new("etc/group"), &format!("build:x:{gid}:\n"))
}

/// What may be done with an entry of the target's root.
pub(super) fn access_of(name: &str) -> Access {
    if name.starts_with("etc/") || name == "boot" {
        Access::Read
    } else {
        Access::ReadExecute
    }
}

fn no_exec_unless(access: Access) -> MountAttrFlags {
    match access {
        Access::Read => MountAttrFlags::MOUNT_ATTR_NOEXEC,
        Access::ReadExecute => MountAttrFlags::empty(),
    }
}

/// Nothing of the host can be changed, gain anybody a privilege, or stand for a device.
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);
