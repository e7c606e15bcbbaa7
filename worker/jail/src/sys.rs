//! The system calls for which no safe wrapper exists: one call, one function, one reason.
#![expect(
    unsafe_code,
    reason = "the only file of the workspace that may; each block says why"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use crate::report::TreeUsage;

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The one that forked.
    Parent { child: Pid },
    /// The new process.
    Child,
}

/// Makes a process that is a copy of this one. The program never starts a thread, so the copy may
/// do all that the original may.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: fork leaves the child only the calling thread; there is no other one that could hold
    // a lock or half a value.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match Pid::from_raw(child) {
        None => Fork::Child,
        Some(child) => Fork::Parent { child },
    })
}

/// Ends the process without running anything that the parent registered for its own end.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: _exit takes any status and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Becomes another program. Returns only when that failed.
pub(crate) fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let arguments = null_ended(arguments);
    let environment = null_ended(environment);
    // SAFETY: both arrays end with a null pointer, and they and their strings live until here.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

fn null_ended(words: &[CString]) -> Vec<*const c_char> {
    words
        .iter()
        .map(|word| word.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Takes ownership of a descriptor that this process was started with. Each number is given out
/// once; a number that is not open is an error.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let bit = u32::try_from(number)
        .ok()
        .and_then(|number| 1_u64.checked_shl(number));
    let bit = bit.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    if TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(io::Error::other("the descriptor was taken before"));
    }
    // SAFETY: the flags of a number that is not open are refused by the kernel; nothing is closed.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, `TAKEN` gives each number away once, and the launcher takes its own
    // before it opens anything, so no other value owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor from `first` to `last`, open or not. The caller owns none of them.
pub(crate) fn close_range(first: c_uint, last: c_uint) -> io::Result<()> {
    // SAFETY: closing touches no memory; that no value owns one of these is the caller's promise,
    // and a broken one shows as EBADF.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Leaves namespaces of the parent for new ones.
pub(crate) fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    assert!(
        !namespaces.contains(UnshareFlags::FILES),
        "descriptors stay where they are"
    );
    // SAFETY: the call is unsafe for the descriptor table only, which is not asked for.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(io::Error::from)
}

/// Leaves the session keyring of whoever started this process for a new one without a name.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    // SAFETY: a null pointer stands for no name; nothing is read or written through it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Which mounts below a descriptor a change applies to.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    /// The one that it names.
    One,
    /// That one and all that are mounted inside it.
    Tree,
}

/// Adds attributes (`MOUNT_ATTR_*`) to the mount that `mount` is the root of.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, extent: Extent, add: u64) -> io::Result<()> {
    let recursive = match extent {
        Extent::One => 0,
        Extent::Tree => libc::AT_RECURSIVE,
    };
    let attributes = libc::mount_attr {
        attr_set: add,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string and the structure has the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Blocks SIGCHLD and returns a descriptor that is readable while one is pending.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises what it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was just initialised, and SIGCHLD is a signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: initialised above.
    let set = unsafe { set.assume_init() };
    block(&set)?;
    // SAFETY: -1 asks for a new descriptor; the set is only read.
    let number =
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn block(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is only read, and a null pointer asks for no old one.
    let result =
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, ptr::from_ref(set), ptr::null_mut()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Lets every signal through again.
pub(crate) fn unblock_signals() -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises what it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    block(&unsafe { set.assume_init() })
}

/// Gives every signal its default action. An ignored one would stay ignored in the program that we
/// become, and Rust ignores SIGPIPE.
pub(crate) fn default_signal_actions() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. The kernel refuses SIGKILL and SIGSTOP
        // and the C library its own two, which are at their default anyway.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// What all children that were waited for used, and all of theirs.
pub(crate) fn children_usage() -> TreeUsage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes a whole rusage where it is told.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    // SAFETY: zeroes are a valid rusage, and so is what the kernel wrote.
    let usage = unsafe { usage.assume_init() };
    TreeUsage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        largest_process: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u32::try_from(time.tv_usec).unwrap_or(0);
    Duration::new(seconds, micros * 1000)
}
