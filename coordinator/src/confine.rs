//! Gives up what this process does not need to face the network.
//!
//! The order is the argument: emptying the bounding set and changing the user need capabilities,
//! dropping capabilities ends that,
//! and the last three can never be taken back; the filter of system calls comes last because it
//! forbids what the others need. All of it happens while this process has one thread,
//! because the kernel keeps credentials, Landlock domains and filters per thread.

mod account;
mod calls;
mod filesystem;

use std::os::fd::BorrowedFd;
use std::path::Path;

use caps::CapSet;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

pub use account::{Account, AccountError};

/// What could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {reason}")]
pub struct ConfineError {
    step: &'static str,
    reason: String,
}

/// Confines this process to `writable` directories, one that is `open` already, its open descriptors and the
/// network. Returns what is in force, in words for the log.
///
/// # Errors
/// When a step fails that this kernel supports; the process must then not serve.
pub fn confine(
    account: Option<&Account>,
    writable: &[&Path],
    open: Option<BorrowedFd<'_>>,
) -> Result<Vec<String>, ConfineError> {
    let mut in_force = Vec::new();
    empty_bounding_set()?;
    if let Some(account) = account {
        become_account(account)?;
        in_force.push(format!("user {}", account.name));
    }
    drop_capabilities()?;
    in_force.push("no capabilities".to_owned());
    hide_memory()?;
    set_no_new_privs(true).map_err(|errno| failed("set no_new_privs", &errno))?;
    in_force.push("no_new_privs".to_owned());
    in_force.push(
        filesystem::restrict(writable, open)
            .map_err(|error| failed("restrict itself with Landlock", &error))?,
    );
    let calls = calls::restrict();
    in_force.push(calls.map_err(|error| failed("filter its system calls", &error))?);
    Ok(in_force)
}

fn become_account(account: &Account) -> Result<(), ConfineError> {
    let step = |step| move |errno: rustix::io::Errno| failed(step, &errno);
    set_thread_groups(&[]).map_err(step("leave the groups of root"))?;
    let gid = account.gid;
    set_thread_res_gid(gid, gid, gid).map_err(step("become the group of the service account"))?;
    let uid = account.uid;
    set_thread_res_uid(uid, uid, uid).map_err(step("become the service account"))
}

/// No program that this one could start would get a capability back. Only root can do that, and an
/// ordinary user is protected by `no_new_privs` alone.
fn empty_bounding_set() -> Result<(), ConfineError> {
    let may_bound = caps::has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP);
    if may_bound.map_err(|error| failed("read its capabilities", &error))? {
        caps::clear(None, CapSet::Bounding)
            .map_err(|error| failed("empty its bounding set", &error))?;
    }
    Ok(())
}

fn drop_capabilities() -> Result<(), ConfineError> {
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set).map_err(|error| failed("drop its capabilities", &error))?;
    }
    Ok(())
}

/// A core file, or a debugger of the same user, would show the private key.
fn hide_memory() -> Result<(), ConfineError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(|errno| failed("forbid core dumps", &errno))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| failed("forbid debuggers", &errno))
}

fn failed(step: &'static str, reason: &impl ToString) -> ConfineError {
    ConfineError {
        step,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
