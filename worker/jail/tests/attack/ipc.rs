//! Attacks on what processes of one user share by name: memory, queues and keys. Each has its
//! counterparts that make the thing and take it away, for whoever prepares the attack.

use std::ffi::{CString, c_int};
use std::io;

use crate::calls::call;
use crate::{Attempt, number};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["make-shared-memory", key] => shared_memory(key, 0o600 | libc::IPC_CREAT),
        ["shared-memory", key] => shared_memory(key, 0),
        ["remove-shared-memory", key] => remove_shared_memory(key),
        ["make-semaphores", key] => semaphores(key, 0o600 | libc::IPC_CREAT),
        ["semaphores", key] => semaphores(key, 0),
        ["remove-semaphores", key] => remove_semaphores(key),
        ["make-queue", name] => queue(name, libc::O_RDWR | libc::O_CREAT),
        ["open-queue", name] => queue(name, libc::O_RDONLY),
        ["remove-queue", name] => text(name)
            .and_then(|name| call(libc::SYS_mq_unlink, &[name.as_ptr().expose_provenance()])),
        ["make-key", name] => make_key(name),
        ["find-key", name] => find_key(name),
        ["remove-key", name] => {
            find_key(name).and_then(|key| call(libc::SYS_keyctl, &[INVALIDATE, got(&key)?]))
        }
        _ => return None,
    })
}

fn shared_memory(key: &str, flags: c_int) -> Attempt {
    call(libc::SYS_shmget, &[number(key)?, 4096, flag_bits(flags)?])
}

fn remove_shared_memory(key: &str) -> Attempt {
    let id = got(&shared_memory(key, 0)?)?;
    call(libc::SYS_shmctl, &[id, 0])
}

fn semaphores(key: &str, flags: c_int) -> Attempt {
    call(libc::SYS_semget, &[number(key)?, 1, flag_bits(flags)?])
}

fn remove_semaphores(key: &str) -> Attempt {
    let id = got(&semaphores(key, 0)?)?;
    call(libc::SYS_semctl, &[id, 0, 0])
}

fn queue(name: &str, flags: c_int) -> Attempt {
    let name = text(name)?;
    let arguments = [
        name.as_ptr().expose_provenance(),
        flag_bits(flags)?,
        0o600,
        0,
    ];
    call(libc::SYS_mq_open, &arguments)
}

fn make_key(name: &str) -> Attempt {
    let (kind, name) = (text("user")?, text(name)?);
    let (kind, name) = (
        kind.as_ptr().expose_provenance(),
        name.as_ptr().expose_provenance(),
    );
    let payload = b"secret";
    let value = [payload.as_ptr().expose_provenance(), payload.len()];
    call(
        libc::SYS_add_key,
        &[kind, name, value[0], value[1], USER_KEYRING],
    )
}

/// Whoever has a session of somebody else's, as a service has, does not possess his own user's keys.
fn possess_own_keys() -> io::Result<()> {
    call(libc::SYS_keyctl, &[JOIN_SESSION, 0])?;
    call(libc::SYS_keyctl, &[LINK, USER_KEYRING, SESSION_KEYRING])?;
    Ok(())
}

fn find_key(name: &str) -> Attempt {
    possess_own_keys()?;
    let (kind, name) = (text("user")?, text(name)?);
    let (kind, name) = (
        kind.as_ptr().expose_provenance(),
        name.as_ptr().expose_provenance(),
    );
    call(libc::SYS_keyctl, &[SEARCH, USER_KEYRING, kind, name, 0])
}

fn text(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

/// The number in what a call says that it got.
fn got(said: &str) -> io::Result<usize> {
    number(said.trim_start_matches("got "))
}

fn flag_bits(flags: c_int) -> io::Result<usize> {
    usize::try_from(flags).map_err(io::Error::other)
}

const JOIN_SESSION: usize = 1;
const LINK: usize = 8;
const SEARCH: usize = 10;
const INVALIDATE: usize = 21;
const SESSION_KEYRING: usize = (-3_isize).cast_unsigned();
/// The keyring that all processes of a user share.
const USER_KEYRING: usize = (-4_isize).cast_unsigned();
