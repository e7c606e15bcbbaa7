//! Mounts as descriptors: made detached, hardened while nobody sees them, then attached.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::ladder::{Doing, Fault};
use crate::sys::{self, Extent};

/// A mount that is not yet, or no longer only, somewhere in the tree.
pub(crate) struct Mount(OwnedFd);

/// The file system that becomes the job's `/`.
pub(crate) struct NewRoot(OwnedFd);

/// What a mount is put onto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

impl Mount {
    /// A new file system of its own, for example `tmpfs`.
    pub(crate) fn fresh(
        kind: &'static str,
        options: &[(&str, &str)],
        attributes: MountAttrFlags,
    ) -> Result<Self, Fault> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(format!("opening {kind}"))?;
        for (key, value) in options {
            let option = || format!("setting {key}={value} for {kind}");
            fsconfig_set_string(context.as_fd(), *key, *value).doing(option())?;
        }
        fsconfig_create(context.as_fd()).doing(format!("making a {kind}"))?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map(Self)
            .doing(format!("mounting a {kind}"))
    }

    /// A copy of the mounts at and below a place, which is left as it is.
    pub(crate) fn copy_of(from: BorrowedFd<'_>, path: &Path) -> Result<Self, Fault> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let doing = || format!("opening {} for the jail", path.display());
        open_tree(from, path, flags).map(Self).doing(doing())
    }

    /// A copy of the mounts at and below a path of the host.
    pub(crate) fn copy_of_host(path: &Path) -> Result<Self, Fault> {
        Self::copy_of(CWD, path)
    }

    /// Adds attributes to the mount and all mounts inside it.
    pub(crate) fn harden(&self, attributes: MountAttrFlags) -> Result<(), Fault> {
        let bits = u64::from(attributes.bits());
        sys::mount_setattr(self.0.as_fd(), Extent::Tree, bits).doing("making a mount read-only")
    }

    /// Whether its root is a directory or a file; anything else is refused.
    pub(crate) fn kind(&self) -> Result<Kind, Fault> {
        let stat = rustix::fs::fstat(&self.0).doing("looking at a mount")?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Kind::Directory),
            FileType::RegularFile => Ok(Kind::File),
            other => Err(Fault::unfit(format!(
                "{other:?} is neither a file nor a directory"
            ))),
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

impl NewRoot {
    /// Makes the file system and puts it over `/`, where this process, whose root is below it, does
    /// not see it: no directory of the host needs to exist for it, and none is hidden by it.
    pub(crate) fn make(options: &[(&str, &str)]) -> Result<Self, Fault> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mount = Mount::fresh("tmpfs", options, attributes)?.into_descriptor();
        let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(mount.as_fd(), "", CWD, "/", empty).doing("putting the new root in place")?;
        Ok(Self(mount))
    }

    /// Attaches a mount at a path relative to the new root, making the way there where it is
    /// missing.
    pub(crate) fn attach(&self, mount: &Mount, path: &Path, kind: Kind) -> Result<(), Fault> {
        let doing = || format!("mounting onto /{}", path.display());
        let place = self.place(path, kind).doing(doing())?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount.0.as_fd(), "", place.as_fd(), "", flags).doing(doing())
    }

    /// Makes a symbolic link at the top of the new root.
    pub(crate) fn link(&self, target: &Path, name: &str) -> Result<(), Fault> {
        rustix::fs::symlinkat(target, &self.0, name).doing(format!("making the link /{name}"))
    }

    /// Makes a small file that everybody may read.
    pub(crate) fn write(&self, path: &Path, content: &str) -> Result<(), Fault> {
        let doing = || format!("writing /{}", path.display());
        let file = self.place(path, Kind::File).doing(doing())?;
        // A path-only descriptor cannot be written through; its file is opened again by name.
        drop(file);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat2(&self.0, path, flags, Mode::empty(), WITHIN).doing(doing())?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444)).doing(doing())?;
        io::Write::write_all(&mut std::fs::File::from(file), content.as_bytes()).doing(doing())
    }

    /// Opens a place inside the new root. Links are resolved as the job will see them.
    fn place(&self, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
        let look = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.0, path, look, Mode::empty(), WITHIN) {
            Err(rustix::io::Errno::NOENT) => {}
            found => return Ok(found?),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let parent = if parent.as_os_str().is_empty() {
            self.0.try_clone()?
        } else {
            self.place(parent, Kind::Directory)?
        };
        match kind {
            Kind::Directory => rustix::fs::mkdirat(&parent, name, Mode::RWXU)?,
            Kind::File => {
                let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::RUSR;
                drop(rustix::fs::openat(
                    &parent,
                    name,
                    new | OFlags::NOFOLLOW,
                    mode,
                )?);
            }
        }
        Ok(rustix::fs::openat(
            &parent,
            name,
            look | OFlags::NOFOLLOW,
            Mode::empty(),
        )?)
    }

    /// Makes the file system itself read-only; what is mounted inside keeps its own attributes.
    pub(crate) fn seal(&self) -> Result<(), Fault> {
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let bits = u64::from(attributes.bits());
        sys::mount_setattr(self.0.as_fd(), Extent::One, bits).doing("making the root read-only")
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether `path` of the host is a symbolic link, something else, or missing.
pub(crate) fn kind_on_host(path: &Path) -> Result<Option<FileType>, Fault> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause).doing(format!("looking at {}", path.display())),
    }
}

/// The new root is the whole world to every lookup in it.
const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
