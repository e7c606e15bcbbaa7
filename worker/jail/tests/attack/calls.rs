//! Attacks that are one system call, on the parts of the kernel that a compile has no business in.
#![expect(
    unsafe_code,
    reason = "an attacker makes system calls that have no safe wrapper"
)]

use std::io;
use std::ptr::from_mut;

use libc::{c_int, c_long};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{Attempt, number, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["mount"] => call(
            libc::SYS_fsopen,
            &[c"tmpfs".as_ptr().expose_provenance(), 0],
        ),
        ["unshare-user"] => call(libc::SYS_unshare, &[USER_NAMESPACE]),
        ["clone-user"] => forked(
            libc::SYS_clone,
            &[USER_NAMESPACE | CHILD_SIGNAL, 0, 0, 0, 0],
        ),
        ["clone3-user"] => clone3(),
        ["socket", family, kind, protocol] => open_socket([family, kind, protocol]),
        ["add-key"] => call(libc::SYS_add_key, &add_key_arguments()),
        ["io-uring"] => io_uring(),
        ["io-uring-unpaid"] => io_uring_unpaid(),
        ["userfaultfd"] => call(libc::SYS_userfaultfd, &[USER_MODE_ONLY]),
        ["huge-pages"] => call(
            libc::SYS_mmap,
            &[0, 2 << 20, READ_WRITE, HUGE_PAGES, usize::MAX, 0],
        ),
        ["grow-pipe"] => call(libc::SYS_fcntl, &[1, GROW_PIPE, 1 << 20]),
        ["own-pipe"] => call(libc::SYS_fcntl, &[1, OWN_SIGNALS, 0]),
        ["async-pipe"] => call(libc::SYS_fcntl, &[1, SET_FLAGS, ASYNC]),
        ["adopt-orphans"] => call(libc::SYS_prctl, &[ADOPT_ORPHANS, 1]),
        ["personality"] => call(libc::SYS_personality, &[NO_RANDOM_ADDRESSES]),
        ["ptrace-child"] => trace_child(),
        ["limit-pid-1"] => limit_pid_1(),
        #[cfg(target_arch = "x86_64")]
        ["call-as-32-bit"] => call_as_32_bit(),
        ["bounding-set"] => bounding_set(),
        ["identity", "user", ids @ ..] => call(libc::SYS_setresuid, &ids_of(ids)),
        ["identity", "group", ids @ ..] => call(libc::SYS_setresgid, &ids_of(ids)),
        ["become-root"] => call(libc::SYS_setuid, &[0]),
        ["set-clock"] => set_clock(),
        ["set-host-name"] => set_host_name(),
        ["run-from-memory"] => run_from_memory(),
        _ => return None,
    })
}

/// Real, effective and saved: `keep`, `own`, which is the same number for user and group, or a number.
fn ids_of(words: &[&str]) -> Vec<usize> {
    let id = |word: &&str| match *word {
        "keep" => usize::MAX,
        "own" => rustix::process::geteuid().as_raw() as usize,
        word => number(word).unwrap_or_default(),
    };
    words.iter().map(id).collect()
}

/// A system call, as any program may make it.
pub(crate) fn call(which: c_long, arguments: &[usize]) -> Attempt {
    let result = raw(which, arguments);
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(format!("got {result}"))
    }
}

pub(crate) fn fork() -> io::Result<c_int> {
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(child)
    }
}

pub(crate) fn end() -> ! {
    // SAFETY: touches no memory of ours.
    unsafe { libc::_exit(0) }
}

fn raw(which: c_long, arguments: &[usize]) -> c_long {
    let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(argument);
    // SAFETY: what the arguments point to lives in the caller, and no call used here writes beyond
    // what it is given.
    unsafe { libc::syscall(which, a, b, c, d, e, f) }
}

/// A call that makes a process; the new one ends at once.
fn forked(which: c_long, arguments: &[usize]) -> Attempt {
    match raw(which, arguments) {
        0 => end(),
        child if child > 0 => Ok("a process in its own namespaces".to_owned()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn clone3() -> Attempt {
    let mut arguments = [0_usize; 11];
    arguments[0] = USER_NAMESPACE;
    arguments[4] = CHILD_SIGNAL;
    forked(
        libc::SYS_clone3,
        &[
            arguments.as_ptr().expose_provenance(),
            size_of_val(&arguments),
        ],
    )
}

fn open_socket(arguments: [&str; 3]) -> Attempt {
    let numbers: io::Result<Vec<_>> = arguments.into_iter().map(number).collect();
    call(libc::SYS_socket, &numbers?)
}

fn io_uring() -> Attempt {
    let parameters = [0_u8; 120];
    call(
        libc::SYS_io_uring_setup,
        &[4, parameters.as_ptr().expose_provenance()],
    )
}

/// With no locked memory allowed; whether that counts for anything depends on the kernel.
fn io_uring_unpaid() -> Attempt {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Memlock, none)?;
    io_uring()
}

fn add_key_arguments() -> [usize; 5] {
    let process_keyring = (-2_isize).cast_unsigned();
    let text = |text: &'static std::ffi::CStr| text.as_ptr().expose_provenance();
    [
        text(c"user"),
        text(c"attack"),
        text(c"x"),
        1,
        process_keyring,
    ]
}

fn trace_child() -> Attempt {
    let child = fork()?;
    if child == 0 {
        loop {
            std::thread::park();
        }
    }
    let child = usize::try_from(child).map_err(io::Error::other)?;
    let traced = call(libc::SYS_ptrace, &[SEIZE, child, 0, 0]);
    call(libc::SYS_kill, &[child, 9])?;
    traced
}

/// With no descriptors left, the process that watches the job could do nothing any more. This takes
/// something that it does not need, so that it can still tell how the attack went.
fn limit_pid_1() -> Attempt {
    let none = [0_u64; 2];
    call(
        libc::SYS_prlimit64,
        &[1, CORE_SIZE, none.as_ptr().expose_provenance(), 0],
    )
}

/// A filter that looks only at numbers would take this for another call.
#[cfg(target_arch = "x86_64")]
fn call_as_32_bit() -> Attempt {
    let getpid = 20_i32;
    let result: i32;
    // SAFETY: the old entry of the kernel keeps all registers but these.
    unsafe {
        core::arch::asm!("int 0x80", inlateout("eax") getpid => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if result > 0 {
        Ok(format!("pid {result}"))
    } else {
        stopped(result)
    }
}

fn bounding_set() -> Attempt {
    let holds = |capability: &usize| raw(libc::SYS_prctl, &[READ_BOUNDING_SET, *capability]) == 1;
    let left: Vec<usize> = (0..64).filter(holds).collect();
    if left.is_empty() {
        stopped("it is empty")
    } else {
        Ok(format!("{left:?}"))
    }
}

/// Sets the clock's estimate of its own error to what it is.
fn set_clock() -> Attempt {
    // SAFETY: every field of it is a number.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    call(
        libc::SYS_adjtimex,
        &[from_mut(&mut clock).expose_provenance()],
    )?;
    clock.modes = libc::ADJ_ESTERROR;
    call(
        libc::SYS_adjtimex,
        &[from_mut(&mut clock).expose_provenance()],
    )
}

/// Calls the host what it is called.
fn set_host_name() -> Attempt {
    let name = rustix::system::uname();
    let name = name.nodename().to_bytes();
    call(
        libc::SYS_sethostname,
        &[name.as_ptr().expose_provenance(), name.len()],
    )
}

/// Executes a program that never was in a file.
fn run_from_memory() -> Attempt {
    let memory = raw(
        libc::SYS_memfd_create,
        &[c"program".as_ptr().expose_provenance(), 0],
    );
    let memory = usize::try_from(memory).map_err(|_refused| io::Error::last_os_error())?;
    let program = std::fs::read("/usr/bin/true")?;
    call(
        libc::SYS_write,
        &[memory, program.as_ptr().expose_provenance(), program.len()],
    )?;
    let child = fork()?;
    if child == 0 {
        let nothing = [0_usize; 1];
        let list = nothing.as_ptr().expose_provenance();
        raw(
            libc::SYS_execveat,
            &[
                memory,
                c"".as_ptr().expose_provenance(),
                list,
                list,
                EMPTY_PATH,
            ],
        );
        // Only what was not replaced comes here.
        // SAFETY: touches no memory of ours.
        unsafe { libc::_exit(1) }
    }
    let child = usize::try_from(child).map_err(io::Error::other)?;
    let mut status = [0_i32; 1];
    call(
        libc::SYS_wait4,
        &[child, status.as_mut_ptr().expose_provenance(), 0, 0],
    )?;
    if status == [0] {
        Ok("it ran".to_owned())
    } else {
        stopped(format!("it did not run: status {}", status[0]))
    }
}

const USER_NAMESPACE: usize = 0x1000_0000;
const CHILD_SIGNAL: usize = 17;
const USER_MODE_ONLY: usize = 1;
const READ_WRITE: usize = 3;
/// Private, of no file, from the host's pool, and even where that is empty.
const HUGE_PAGES: usize = 0x4_4022;
const NO_RANDOM_ADDRESSES: usize = 0x004_0000;
const CORE_SIZE: usize = 4;
const EMPTY_PATH: usize = 0x1000;
const GROW_PIPE: usize = 1031;
const OWN_SIGNALS: usize = 8;
const SET_FLAGS: usize = 4;
const ASYNC: usize = 0x2000;
const ADOPT_ORPHANS: usize = 36;
const SEIZE: usize = 0x4206;
const READ_BOUNDING_SET: usize = 23;
