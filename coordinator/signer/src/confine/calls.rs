//! The system calls of a signer: it reads keys and one socket, writes to that socket and the log, and
//! computes. It has one thread and starts nothing.

use libc::c_long;
use stap_filter::{Answer, Filter, FilterError, Is};

/// Leaves those calls for good.
pub(super) fn restrict() -> Result<&'static str, FilterError> {
    let own_process = rustix::process::getpid().as_raw_nonzero().get();
    filter(own_process.unsigned_abs()).enforce()?;
    Ok("system calls: those of reading and computing")
}

/// What only an intruder does ends the process; what a library might try one day is refused, so that
/// an update of the C library is no outage.
fn filter(own_process: u32) -> Filter {
    let refused = Answer::Refuse(libc::EPERM);
    Filter::otherwise(Answer::Refuse(libc::ENOSYS))
        .answer(Answer::Kill, FATAL.iter().chain(FATAL_HERE).copied())
        .answer_when(refused, libc::SYS_mmap, &[&[EXECUTABLE]])
        .answer_when(refused, libc::SYS_mprotect, &[&[EXECUTABLE]])
        .answer(Answer::Allow, ALLOWED.iter().chain(ALLOWED_HERE).copied())
        .answer_when(Answer::Allow, libc::SYS_openat, &[&[READING]])
        .answer_when(Answer::Allow, libc::SYS_fcntl, &DESCRIPTORS)
        .answer_when(Answer::Allow, libc::SYS_prctl, &NAMES)
        // How a process aborts.
        .answer_when(Answer::Allow, libc::SYS_tgkill, &[&[Is::equal(0, own_process)]])
        .answer(refused, [libc::SYS_openat, libc::SYS_tgkill])
        .answer(refused, REFUSED.iter().copied())
}

const EXECUTABLE: Is = Is::masked(2, PROT_EXEC, PROT_EXEC);
const PROT_EXEC: u32 = 4;
/// O_ACCMODE, O_CREAT and O_TRUNC, none of which is set.
const READING: Is = Is::masked(2, 0o1103, 0);

/// F_DUPFD, F_GETFD, F_SETFD, F_GETFL and F_DUPFD_CLOEXEC.
const DESCRIPTORS: [&[Is]; 5] = [
    &[Is::equal(1, 0)],
    &[Is::equal(1, 1)],
    &[Is::equal(1, 2)],
    &[Is::equal(1, 3)],
    &[Is::equal(1, 1030)],
];

/// PR_SET_VMA, by which memory is named, and PR_GET_SECCOMP, which tells that this filter is in force.
const NAMES: [&[Is]; 2] = [&[Is::equal(0, 0x5356_4d41)], &[Is::equal(0, 21)]];

#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // The socket, the log, and keys. Landlock says which files.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_lseek, libc::SYS_close, libc::SYS_dup, libc::SYS_fstat, libc::SYS_newfstatat,
    libc::SYS_statx, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_recvfrom, libc::SYS_recvmsg,
    libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_ppoll, libc::SYS_restart_syscall,
    // Memory, and the end. The rest of `mmap` and `mprotect` was answered before.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect,
    libc::SYS_madvise, libc::SYS_futex, libc::SYS_sched_yield, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    // Who and where it is, the time, chance.
    libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_uname, libc::SYS_clock_gettime, libc::SYS_gettimeofday,
    libc::SYS_getrandom,
];
/// The older spellings that newer machines were spared.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_poll,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Starting something, becoming somebody else, looking into others, reaching the kernel.
#[rustfmt::skip]
const FATAL: &[c_long] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_clone,
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd, libc::SYS_kcmp,
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_setns,
    libc::SYS_unshare, libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_fsopen,
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setresuid, libc::SYS_setresgid,
    libc::SYS_setgroups, libc::SYS_capset,
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup,
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_open_by_handle_at,
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_kexec_load,
];
#[cfg(target_arch = "x86_64")]
const FATAL_HERE: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FATAL_HERE: &[c_long] = &[];

/// Calls that are answered with "not permitted", which is the truth, rather than with "no such call".
const REFUSED: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_seccomp,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{self, OpenOptions};
    use std::io;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn no_call_has_two_answers_and_none_is_named_twice() {
        let lists = [ALLOWED, ALLOWED_HERE, FATAL, FATAL_HERE, REFUSED].concat();
        let calls: BTreeSet<_> = lists.iter().collect();
        assert_eq!(calls.len(), lists.len());
    }

    #[test]
    fn a_file_is_read_and_neither_written_made_nor_sent() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        fs::write(&key, "secret").unwrap();
        let new = directory.path().join("new");
        let confined = std::thread::spawn(move || {
            restrict().unwrap();
            let read = fs::read_to_string(&key).map_err(|error| error.raw_os_error());
            let refused = |result: io::Result<()>| result.unwrap_err().raw_os_error();
            let write = refused(OpenOptions::new().write(true).open(&key).map(drop));
            let made = refused(fs::write(&new, "x"));
            let connected = refused(UnixStream::connect(&key).map(drop));
            let removed = refused(fs::remove_file(&key));
            (read, [write, made, connected, removed])
        });
        let (read, refused) = confined.join().unwrap();
        assert_eq!(read.as_deref(), Ok("secret"));
        let (denied, absent) = (Some(libc::EPERM), Some(libc::ENOSYS));
        assert_eq!(refused, [denied, denied, denied, absent]);
    }
}
