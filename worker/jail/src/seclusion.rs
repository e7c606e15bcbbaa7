//! What the process that starts jails gives up itself, before it starts one.
//!
//! The worker parses nothing that a client sent, but it is between the jobs and the server's keys,
//! and whatever it gives up its jails never had. The order is the argument: the view needs
//! capabilities, giving those up needs one of them, hiding comes when nothing more is written to the
//! process's own files, and the filter of system calls is last because it forbids what the others
//! need. All of it is kept per thread, so this process must have only one.

mod calls;
mod domain;
mod rights;
mod view;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(crate) use self::rights::NO_CORE;
use rustix::io::Errno;
use rustix::process::DumpableBehavior;

use crate::ladder::{Doing, Fault};
use crate::layer::Layer;
use crate::sys;

/// What is known of the jails that will be started.
#[derive(Clone, Copy, Debug)]
pub struct Seclusion<'a> {
    /// The layers that every one of them will have. What they need stays possible.
    pub layers: &'a BTreeSet<Layer>,
    /// Directories in which the process goes on writing, besides control groups and `/proc`.
    pub writable: &'a [PathBuf],
    /// Whether it writes in directories whose mode forbids that even to their owner, as those at the
    /// top of control groups are.
    pub overrides_modes: bool,
    /// Directories of which it sees nothing any more. Those that do not exist are left out.
    pub hidden: &'a [PathBuf],
}

/// Something that could not be given up; the process must then start nothing.
#[derive(Debug, thiserror::Error)]
#[error("the worker cannot confine itself: {0}")]
pub struct SeclusionError(Fault);

impl Seclusion<'_> {
    /// Gives everything up, and returns what is in force, in words for the log.
    ///
    /// # Errors
    /// When something fails that this host offers.
    pub fn enter(self) -> Result<Vec<String>, SeclusionError> {
        self.enter_in_order().map_err(SeclusionError)
    }

    fn enter_in_order(self) -> Result<Vec<String>, Fault> {
        let mut in_force = vec![keyring()?];
        in_force.push(view::change(&self)?);
        in_force.push(rights::lower(&self)?);
        rights::forbid_cores()?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .doing("forbidding debuggers")?;
        rustix::thread::set_no_new_privs(true).doing("promising no new privileges")?;
        in_force.push("no_new_privs".to_owned());
        in_force.push(domain::enter()?);
        in_force.push(calls::restrict(self.layers)?);
        Ok(in_force)
    }
}

/// Whoever started the server may have keys in a keyring that all his processes share.
fn keyring() -> Result<String, Fault> {
    match sys::join_new_session_keyring() {
        Ok(()) => Ok("an empty keyring".to_owned()),
        // Such a kernel has none, or whoever contains this process forbids them; then nobody below
        // can use one either.
        Err(cause)
            if matches!(
                Errno::from_io_error(&cause),
                Some(Errno::NOSYS | Errno::PERM)
            ) =>
        {
            Ok("no keyrings".to_owned())
        }
        Err(cause) => Err(cause).doing("starting an empty keyring"),
    }
}
