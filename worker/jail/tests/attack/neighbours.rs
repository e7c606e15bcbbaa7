//! Attacks on a process of somebody else.

use std::io;

use crate::calls::call;
use crate::{Attempt, number, say, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["hold-secret"] => hold_secret(),
        ["trace", pid] => number(pid).and_then(trace),
        ["read-memory", pid, address, length] => read_memory(pid, address, length),
        ["compare-kernel-objects", pid] => compare(pid),
        ["steal-descriptor", pid] => steal_descriptor(pid),
        ["enter-namespace", path] => enter_namespace(path),
        ["session", known] => shares_session(known),
        ["kill-the-watchers"] => kill_the_watchers(),
        ["search-environment", secret] => search_environment(secret),
        ["be-root-outside"] => be_root_outside(),
        _ => return None,
    })
}

/// Says where in its memory a secret is, and stays.
fn hold_secret() -> Attempt {
    let secret = std::env::var("SECRET").map_err(io::Error::other)?;
    say(&format!(
        "ready {} {}",
        secret.as_ptr().expose_provenance(),
        secret.len()
    ))?;
    loop {
        std::thread::park();
    }
}

fn trace(pid: usize) -> Attempt {
    let traced = call(libc::SYS_ptrace, &[SEIZE, pid, 0, 0]);
    if traced.is_ok() {
        call(libc::SYS_ptrace, &[DETACH, pid, 0, 0]).or_else(running)?;
    }
    traced
}

/// A process that was not stopped cannot be let go; it is when its tracer ends.
fn running(_refusal: io::Error) -> Attempt {
    Ok("it runs on".to_owned())
}

fn read_memory(pid: &str, address: &str, length: &str) -> Attempt {
    let (pid, address, length) = (number(pid)?, number(address)?, number(length)?);
    let mut found = vec![0_u8; length.min(256)];
    let ours = [found.as_mut_ptr().expose_provenance(), found.len()];
    let theirs = [address, found.len()];
    let arguments = [
        pid,
        ours.as_ptr().expose_provenance(),
        1,
        theirs.as_ptr().expose_provenance(),
        1,
        0,
    ];
    call(libc::SYS_process_vm_readv, &arguments)?;
    Ok(String::from_utf8_lossy(&found).into_owned())
}

fn compare(pid: &str) -> Attempt {
    let own = usize::try_from(std::process::id()).map_err(io::Error::other)?;
    call(libc::SYS_kcmp, &[own, number(pid)?, 0, 0, 0])
}

fn steal_descriptor(pid: &str) -> Attempt {
    let handle = call(libc::SYS_pidfd_open, &[number(pid)?, 0])?;
    let handle = number(handle.trim_start_matches("got "))?;
    call(libc::SYS_pidfd_getfd, &[handle, 0, 0])
}

fn enter_namespace(path: &str) -> Attempt {
    use std::os::fd::AsRawFd as _;
    let namespace = std::fs::File::open(path)?;
    let descriptor = usize::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    call(libc::SYS_setns, &[descriptor, 0])
}

/// A session whose leader is outside of the namespace has number 0 inside.
fn shares_session(known: &str) -> Attempt {
    let status = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = status.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    let own = fields.split_whitespace().nth(3).unwrap_or_default();
    if own == known {
        Ok(format!("session {own}, which is the server's"))
    } else {
        stopped(format!("session {own} is its own"))
    }
}

/// Whoever watches a job would take it along; so if there is anything to be said afterwards, it is
/// that they live.
fn kill_the_watchers() -> Attempt {
    let parent = rustix::process::getppid().map_or(1, |parent| parent.as_raw_nonzero().get());
    let parent = usize::try_from(parent).map_err(io::Error::other)?;
    for pid in [1, parent] {
        call(libc::SYS_kill, &[pid, KILL])?;
    }
    if call(libc::SYS_kill, &[parent, 0]).is_ok() {
        stopped("it was killed and lives on")
    } else {
        Ok("whoever watches is dead".to_owned())
    }
}

fn search_environment(secret: &str) -> Attempt {
    let found = std::env::vars().find(|(_, value)| value == secret);
    match found {
        Some((name, _)) => Ok(format!("{name} holds it")),
        None => stopped("no variable holds it"),
    }
}

/// Who this process is on the host, whatever it is called in here.
fn be_root_outside() -> Attempt {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let own = rustix::process::geteuid().as_raw();
    let mut found = format!("uid {own} inside of {}", map.trim());
    for line in map.lines() {
        let fields: Vec<u32> = line
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        if let [inside, outside, count] = fields[..]
            && own.checked_sub(inside).is_some_and(|offset| offset < count)
        {
            found = format!("it is uid {} on the host", outside + (own - inside));
        }
    }
    if found.ends_with("uid 0 on the host") {
        Ok(found)
    } else {
        stopped(found)
    }
}

const SEIZE: usize = 0x4206;
const DETACH: usize = 17;
const KILL: usize = 9;
