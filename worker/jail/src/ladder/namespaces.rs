//! One namespace of each kind, so that what other processes have cannot even be named.

use std::fs;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use super::{Climb, Doing, Fault};
use crate::layer::Layer;
use crate::sys;

/// The job's uid and gid inside its user namespace.
const INSIDE: u32 = 1000;
/// The job's host name.
const HOST_NAME: &str = "jail";

pub(super) fn user(climb: &mut Climb) -> Result<(), Fault> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    sys::unshare(UnshareFlags::NEWUSER).doing("making a user namespace")?;
    // An unprivileged process may map its own group only once it has given up changing groups.
    for (file, line) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{INSIDE} {uid} 1")),
        ("gid_map", format!("{INSIDE} {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), line)
            .doing(format!("writing the user namespace's {file}"))?;
    }
    climb.hold(
        Layer::User,
        format!("uid {INSIDE} inside is uid {uid} outside, nothing else maps"),
    );
    Ok(())
}

pub(super) fn mount(climb: &mut Climb) -> Result<(), Fault> {
    sys::unshare(UnshareFlags::NEWNS).doing("making a mount namespace")?;
    // Nothing that is mounted from here on may show on the host, and the other way round.
    mount_change(
        "/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )
    .doing("separating the mounts from the host's")?;
    climb.hold(Layer::Mount, "a read-only root of its own");
    Ok(())
}

/// Applies to the next child, which is pid 1.
pub(super) fn pid(climb: &mut Climb) -> Result<(), Fault> {
    sys::unshare(UnshareFlags::NEWPID).doing("making a pid namespace")?;
    climb.hold(Layer::Pid, "dies with its pid 1");
    Ok(())
}

pub(super) fn net(climb: &mut Climb) -> Result<(), Fault> {
    sys::unshare(UnshareFlags::NEWNET).doing("making a network namespace")?;
    climb.hold(Layer::Net, "no interface is up, not even loopback");
    Ok(())
}

pub(super) fn ipc(climb: &mut Climb) -> Result<(), Fault> {
    sys::unshare(UnshareFlags::NEWIPC).doing("making an IPC namespace")?;
    climb.hold(
        Layer::Ipc,
        "no shared memory, semaphores or queues of others",
    );
    Ok(())
}

pub(super) fn uts(climb: &mut Climb) -> Result<(), Fault> {
    sys::unshare(UnshareFlags::NEWUTS).doing("making a UTS namespace")?;
    rustix::system::sethostname(HOST_NAME.as_bytes()).doing("naming the host")?;
    climb.hold(Layer::Uts, format!("the host is called {HOST_NAME}"));
    Ok(())
}

/// Shows the cgroup that the worker chose as the root of the tree, which is why the launcher waits
/// for the worker first.
pub(super) fn cgroup(climb: &mut Climb) -> Result<(), Fault> {
    sys::unshare(UnshareFlags::NEWCGROUP).doing("making a cgroup namespace")?;
    climb.hold(Layer::CgroupNamespace, "its own cgroup looks like the root");
    Ok(())
}
