//! The one place that the job may write to, the files put into it, and its way to the worker.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Climb, Doing, Fault};
use crate::handover::send_workspace;
use crate::mounts::{Kind, Mount};
use crate::plan::{Place, WORKSPACE_DIRECTORIES};

pub(super) fn make(climb: &mut Climb) -> Result<(), Fault> {
    let workspace = match &climb.plan.workspace.place {
        Place::Tmpfs { bytes, inodes } => in_memory(climb, *bytes, *inodes)?,
        Place::Directory(path) => {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let path = path.as_path();
            rustix::fs::open(path, flags, Mode::empty())
                .doing(format!("opening the workspace {}", path.display()))?
        }
        Place::Nowhere => return Ok(()),
    };
    for name in WORKSPACE_DIRECTORIES {
        rustix::fs::mkdirat(&workspace, name, Mode::RWXU).doing(format!("making {name}"))?;
    }
    if matches!(climb.plan.workspace.place, Place::Tmpfs { .. }) {
        let temporary = Mount::copy_of(workspace.as_fd(), Path::new("tmp"))?;
        climb
            .new_root()?
            .attach(&temporary, Path::new("tmp"), Kind::Directory)?;
    }
    climb.workspace = Some(workspace);
    Ok(())
}

/// Its pages are charged to the job's cgroup, its quota needs no disk, and it is gone with the last
/// descriptor: nothing is ever left to be removed.
fn in_memory(climb: &Climb, bytes: u64, inodes: u64) -> Result<OwnedFd, Fault> {
    let (bytes, inodes) = (bytes.to_string(), inodes.to_string());
    let options = [
        ("size", bytes.as_str()),
        ("nr_inodes", &inodes),
        ("mode", "0700"),
    ];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = Mount::fresh("tmpfs", &options, attributes)?;
    climb
        .new_root()?
        .attach(&mount, Path::new("work"), Kind::Directory)?;
    Ok(mount.into_descriptor())
}

/// Writes the plan's files, whose paths may come from a client, and then its links, so that no file is
/// written through one.
pub(super) fn fill(climb: &mut Climb) -> Result<(), Fault> {
    for file in std::mem::take(&mut climb.plan.workspace.files) {
        let workspace = climb.workspace.as_ref();
        let workspace = workspace.ok_or_else(|| Fault::unfit("there is no workspace yet"))?;
        let path = file.path.as_path();
        write_new(workspace, path, &file.content)
            .doing(format!("writing {} into the workspace", path.display()))?;
    }
    let mut above = None;
    for link in std::mem::take(&mut climb.plan.workspace.links) {
        let workspace = climb.workspace.as_ref();
        let workspace = workspace.ok_or_else(|| Fault::unfit("there is no workspace yet"))?;
        let path = link.path.as_path();
        link_new(workspace, path, link.target.as_path(), &mut above)
            .doing(format!("linking {} in the workspace", path.display()))?;
    }
    Ok(())
}

/// A directory that was opened, and its path below the workspace.
type Opened = (PathBuf, OwnedFd);

/// There are some hundred links, two levels below one directory: `above`, which is only found once.
fn link_new(
    workspace: &OwnedFd,
    path: &Path,
    target: &Path,
    above: &mut Option<Opened>,
) -> io::Result<()> {
    let irregular = || io::Error::from(io::ErrorKind::InvalidInput);
    let name = path.file_name().ok_or_else(irregular)?;
    let parent = path.parent().ok_or_else(irregular)?;
    let grandparent = parent.parent().unwrap_or_else(|| Path::new(""));
    let known = above.take().filter(|(path, _)| path == grandparent);
    let opened = match known {
        Some(opened) => opened,
        None => (grandparent.to_owned(), directory(workspace, grandparent)?),
    };
    let below = parent.strip_prefix(grandparent).map_err(io::Error::other)?;
    let directory = directory(&opened.1, below)?;
    *above = Some(opened);
    // It fails where there is anything of that name.
    Ok(rustix::fs::symlinkat(target, directory, name)?)
}

fn write_new(workspace: &OwnedFd, path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = directory(workspace, parent)?;
    // Never through or over anything that is there already.
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::openat2(&directory, name, new, mode, INSIDE)?;
    File::from(file).write_all(content)
}

/// Opens a directory below the workspace, making what is missing on the way, one name at a time.
fn directory(workspace: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let mut directory = workspace.try_clone()?;
    for component in path.components() {
        let Component::Normal(name) = component else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        match rustix::fs::mkdirat(&directory, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause.into()),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = rustix::fs::openat2(&directory, name, flags, Mode::empty(), INSIDE)?;
    }
    Ok(directory)
}

/// Gives the worker its own way into the workspace, which lasts longer than the job, and keeps
/// none.
pub(super) fn hand_over(climb: &mut Climb) -> Result<(), Fault> {
    let socket = climb.workspace_socket.take();
    let socket = socket.ok_or_else(|| Fault::unfit("the workspace was handed over before"))?;
    let Some(workspace) = climb.workspace.take() else {
        return Ok(());
    };
    send_workspace(&socket, workspace.as_fd()).doing("handing the workspace to the worker")
}

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
