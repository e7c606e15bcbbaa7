//! The host as the process that starts jails goes on seeing it: nothing can be written but where it
//! has to, and some directories are empty.
//!
//! A worker of an ordinary user is the same user as the coordinator, and could read the server's key
//! and write to that user's home. Landlock, which would be the simpler way, forbids all mounts to
//! what is started under it.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount,
    open_tree,
};
use rustix::thread::UnshareFlags;

use super::Seclusion;
use crate::ladder::{Doing, Fault};
use crate::layer::Layer;
use crate::mounts::Mount;
use crate::sys::{self, Extent};

pub(super) fn change(seclusion: &Seclusion<'_>) -> Result<String, Fault> {
    let layers = seclusion.layers;
    if !layers.contains(&Layer::Mount) {
        return Ok("files as its user has them, as this host gives no mount namespace".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        become_the_same_user()?;
    }
    sys::unshare(UnshareFlags::NEWNS).doing("making a mount namespace")?;
    // What is mounted on the host later is still seen here, and nothing of here there.
    let downstream = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    mount_change("/", downstream).doing("separating the mounts from the host's")?;
    let own = [Path::new("/proc"), Path::new("/sys/fs/cgroup")];
    let writable = seclusion.writable.iter().map(PathBuf::as_path);
    let mut kept = Vec::new();
    for path in own.into_iter().chain(writable) {
        if path.is_dir() {
            kept.push((path, Mount::copy_of_host(path)?));
        }
    }
    let all = open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).doing("opening /")?;
    let read_only = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    sys::mount_setattr(all.as_fd(), Extent::Tree, read_only)
        .doing("making the host's files read-only")?;
    for (path, mount) in &kept {
        put(mount, path)?;
    }
    for path in seclusion.hidden {
        hide(path)?;
    }
    Ok("files read-only but for its own, the server's databases empty".to_owned())
}

/// A user namespace in which every uid and gid that counts is what it was.
fn become_the_same_user() -> Result<(), Fault> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    sys::unshare(UnshareFlags::NEWUSER).doing("making a user namespace")?;
    for (file, line) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{uid} {uid} 1")),
        ("gid_map", format!("{gid} {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), line)
            .doing(format!("writing the user namespace's {file}"))?;
    }
    Ok(())
}

/// Covers a directory with an empty one.
fn hide(path: &Path) -> Result<(), Fault> {
    let options = [("size", "4096"), ("nr_inodes", "1"), ("mode", "0")];
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    put(&Mount::fresh("tmpfs", &options, attributes)?, path)
}

fn put(mount: &Mount, path: &Path) -> Result<(), Fault> {
    let doing = || format!("mounting onto {}", path.display());
    let look = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = match rustix::fs::open(path, look, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        place => place.doing(doing())?,
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.descriptor(), "", place.as_fd(), "", flags).doing(doing())
}
