//! The system calls that a running server makes, seen in traces of everything that it does: accepting,
//! TLS, announcing by mDNS, renewing its certificate, logging, talking to its worker, stopping. Beside
//! them stand the spellings that other C libraries and machines use for the same.

use libc::c_long;
use stap_filter::{Answer, Filter, FilterError, Is};

/// Leaves the calls that serving needs, for this thread and all that it starts.
pub(super) fn restrict() -> Result<String, FilterError> {
    let own_process = rustix::process::getpid().as_raw_nonzero().get();
    filter(own_process.unsigned_abs()).enforce()?;
    Ok("system calls: those of a server, no program is ever started again".to_owned())
}

/// What no library does by itself ends the process, loudly, because only an intruder does it. What a
/// library might try one day is refused, so that an update of the C library is no outage.
fn filter(own_process: u32) -> Filter {
    let refused = Answer::Refuse(libc::EPERM);
    Filter::otherwise(Answer::Refuse(libc::ENOSYS))
        .answer(Answer::Kill, FATAL.iter().chain(FATAL_HERE).copied())
        // A new process. Threads may be made; clone3, whose flags no filter can see, does not exist.
        .answer_when(Answer::Kill, libc::SYS_clone, &[&[Is::masked(0, THREAD, 0)]])
        // Memory is either written or executed, and no new memory is ever executed.
        .answer_when(refused, libc::SYS_mmap, &[&[EXECUTABLE]])
        .answer_when(refused, libc::SYS_mprotect, &[&[EXECUTABLE]])
        .answer(refused, REFUSED.iter().copied())
        .answer(Answer::Allow, ALLOWED.iter().chain(ALLOWED_HERE).copied())
        .answer_when(Answer::Allow, libc::SYS_socket, SOCKETS)
        .answer_when(Answer::Allow, libc::SYS_socketpair, &[&[LOCAL]])
        .answer_when(Answer::Allow, libc::SYS_ioctl, &QUERIES)
        .answer_when(Answer::Allow, libc::SYS_fcntl, &DESCRIPTORS)
        .answer_when(Answer::Allow, libc::SYS_prctl, &NAMES)
        .answer_when(Answer::Allow, libc::SYS_prlimit64, &[&[Is::equal(0, 0)]])
        // How a process aborts. Others can be signalled only through a descriptor, and there is one:
        // the worker's.
        .answer_when(Answer::Allow, libc::SYS_tgkill, &[&[Is::equal(0, own_process)]])
        .answer(refused, [libc::SYS_socket, libc::SYS_tgkill])
}

/// Announcements are datagrams, interfaces are listed over netlink and named over a local socket that
/// is not connected to anything. There is no stream: nobody is called from here.
const SOCKETS: &[&[Is]] = &[
    &[Is::equal(0, 2), DATAGRAM],
    &[Is::equal(0, 10), DATAGRAM],
    &[Is::equal(0, 1), DATAGRAM],
    // Of netlink, routes and (for who owns a local connection) sockets.
    &[Is::equal(0, 16), Is::equal(2, 0)],
    &[Is::equal(0, 16), Is::equal(2, 4)],
];
const DATAGRAM: Is = Is::masked(1, 0xf, 2);
const LOCAL: Is = Is::equal(0, 1);

/// FIONBIO, FIONREAD, FIOCLEX, TCGETS, its successor and TIOCGWINSZ, and SIOCGIFINDEX.
const QUERIES: [&[Is]; 7] = [
    &[Is::equal(1, 0x5421)],
    &[Is::equal(1, 0x541b)],
    &[Is::equal(1, 0x5451)],
    &[Is::equal(1, 0x5401)],
    &[Is::equal(1, 0x802c_542a)],
    &[Is::equal(1, 0x5413)],
    &[Is::equal(1, 0x8933)],
];

/// Copies, flags and locks of descriptors; none of the commands that make one send signals.
const DESCRIPTORS: [&[Is]; 12] = [
    &[Is::equal(1, 0)],
    &[Is::equal(1, 1)],
    &[Is::equal(1, 2)],
    &[Is::equal(1, 3)],
    &[Is::equal(1, 4)],
    &[Is::equal(1, 5)],
    &[Is::equal(1, 6)],
    &[Is::equal(1, 7)],
    &[Is::equal(1, 36)],
    &[Is::equal(1, 37)],
    &[Is::equal(1, 38)],
    &[Is::equal(1, 1030)],
];

/// PR_SET_NAME and PR_SET_VMA, with which threads and memory are named, and PR_GET_SECCOMP, which tells
/// that this filter is in force.
const NAMES: [&[Is]; 3] = [
    &[Is::equal(0, 15)],
    &[Is::equal(0, 0x5356_4d41)],
    &[Is::equal(0, 21)],
];

const EXECUTABLE: Is = Is::masked(2, 4, 4);
const THREAD: u32 = 0x0001_0000;

#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // What is open.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_flock, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64,
    libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_fchmod, libc::SYS_fchown, libc::SYS_pipe2,
    libc::SYS_copy_file_range, libc::SYS_memfd_create,
    // Files by name. Landlock says which.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs,
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat, libc::SYS_getdents64,
    libc::SYS_getcwd, libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_linkat,
    libc::SYS_renameat2, libc::SYS_fchmodat, libc::SYS_fchownat, libc::SYS_utimensat,
    libc::SYS_umask,
    // Waiting.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2, libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep, libc::SYS_futex, libc::SYS_restart_syscall,
    // Connections that come in, and datagrams.
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_listen, libc::SYS_bind, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_shutdown,
    libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg, libc::SYS_sendto,
    libc::SYS_sendmsg, libc::SYS_sendmmsg,
    // Memory and threads. The rest of `mmap`, `mprotect` and `clone` was answered before.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect,
    libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_clone, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_set_tid_address, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_getcpu, libc::SYS_gettid, libc::SYS_getpid,
    libc::SYS_getppid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_getrusage,
    // Signals, and the end of the worker.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_pidfd_send_signal,
    // The machine, the time, chance.
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_getrandom,
];

/// Calls that only this machine has: the older spellings that newer machines were spared.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink,
    libc::SYS_getdents, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_unlink, libc::SYS_link,
    libc::SYS_rename, libc::SYS_renameat, libc::SYS_chmod, libc::SYS_chown, libc::SYS_pipe,
    libc::SYS_dup2, libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_time,
    libc::SYS_getrlimit,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[libc::SYS_getrlimit];

/// Calls that a server never makes and nothing makes by accident: starting a program, becoming
/// somebody else, looking into others, changing what is mounted, loading code into the kernel.
#[rustfmt::skip]
const FATAL: &[c_long] = &[
    libc::SYS_execve, libc::SYS_execveat,
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd, libc::SYS_kcmp,
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_setns,
    libc::SYS_unshare, libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_fsopen,
    libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr,
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid,
    libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_setfsuid,
    libc::SYS_setfsgid, libc::SYS_capset,
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_add_key,
    libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init, libc::SYS_memfd_secret, libc::SYS_vmsplice,
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_kexec_load,
    libc::SYS_reboot, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct,
];
#[cfg(target_arch = "x86_64")]
const FATAL_HERE: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FATAL_HERE: &[c_long] = &[];

/// Calls that are answered with "not permitted", which is the truth, rather than with "no such call".
const REFUSED: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_open,
    libc::SYS_seccomp,
    libc::SYS_personality,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_has_two_answers_and_none_is_named_twice() {
        let lists = [ALLOWED, ALLOWED_HERE, FATAL, FATAL_HERE, REFUSED].concat();
        let calls: BTreeSet<_> = lists.iter().collect();
        assert_eq!(calls.len(), lists.len());
    }
}
