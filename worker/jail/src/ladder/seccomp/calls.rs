//! Which system calls a compile makes, seen in traces of stap, make, gcc, binutils and kbuild, with
//! the older and newer spellings that other C libraries use for the same.

use libc::c_long;

/// Calls that the job may make with any arguments.
#[rustfmt::skip]
pub(super) const ALLOWED: &[c_long] = &[
    // Files that are open.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2,
    libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close, libc::SYS_close_range, libc::SYS_dup,
    libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_copy_file_range,
    libc::SYS_pipe2,
    // Files by name. The mount namespace and Landlock say which.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_fstat,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_chdir,
    libc::SYS_fchdir, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_renameat2, libc::SYS_truncate, libc::SYS_fchmod,
    libc::SYS_fchmodat, libc::SYS_fchownat, libc::SYS_fchown, libc::SYS_utimensat,
    libc::SYS_umask,
    // Waiting.
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_nanosleep, libc::SYS_clock_nanosleep,
    libc::SYS_futex, libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect,
    libc::SYS_madvise, libc::SYS_msync, libc::SYS_membarrier,
    // Signals. The pid namespace and Landlock say to whom.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigpending,
    libc::SYS_sigaltstack, libc::SYS_kill, libc::SYS_tgkill, libc::SYS_setitimer,
    libc::SYS_getitimer,
    // Processes. `clone` with a namespace is refused by the other filter.
    libc::SYS_clone, libc::SYS_execve, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid,
    libc::SYS_setpgid, libc::SYS_getsid, libc::SYS_setsid, libc::SYS_getuid, libc::SYS_geteuid,
    libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid,
    libc::SYS_getgroups, libc::SYS_set_tid_address, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_rseq,
    libc::SYS_getrusage, libc::SYS_times, libc::SYS_sched_yield, libc::SYS_sched_getaffinity,
    libc::SYS_getpriority, libc::SYS_getcpu,
    // The machine, the time, chance.
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_getrandom,
];

/// Calls that only this machine has: the older spellings that newer machines were spared.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access,
    libc::SYS_readlink, libc::SYS_getdents, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_mknod,
    libc::SYS_unlink, libc::SYS_link, libc::SYS_symlink, libc::SYS_rename, libc::SYS_chmod,
    libc::SYS_chown, libc::SYS_lchown, libc::SYS_utime, libc::SYS_utimes, libc::SYS_pipe,
    libc::SYS_dup2, libc::SYS_poll, libc::SYS_select, libc::SYS_pause, libc::SYS_alarm,
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_getpgrp, libc::SYS_arch_prctl, libc::SYS_time,
    libc::SYS_renameat, libc::SYS_getrlimit,
];
#[cfg(target_arch = "aarch64")]
pub(super) const ALLOWED_HERE: &[c_long] = &[libc::SYS_renameat, libc::SYS_getrlimit];
#[cfg(target_arch = "riscv64")]
/// `riscv_hwprobe` and `riscv_flush_icache`, which the `libc` crate does not name.
pub(super) const ALLOWED_HERE: &[c_long] = &[258, 259, libc::SYS_getrlimit];

/// Calls that are answered with "not permitted".
#[rustfmt::skip]
pub(super) const REFUSED: &[c_long] = &[
    // Sockets: no namespace keeps all families apart, netlink and vsock least.
    libc::SYS_socket, libc::SYS_socketpair, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept,
    libc::SYS_accept4, libc::SYS_connect, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg,
    // Looking into, or acting as, another process.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_process_madvise, libc::SYS_pidfd_getfd, libc::SYS_kcmp,
    // Mounts, roots and namespaces: each would open the large, privileged part of the kernel.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_setns,
    libc::SYS_unshare, libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_fsopen,
    libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr,
    // Identity and filters.
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid,
    libc::SYS_setgroups, libc::SYS_setfsuid, libc::SYS_setfsgid, libc::SYS_capset,
    libc::SYS_seccomp, libc::SYS_personality, libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
    // Parts of the kernel with a history of holes and nothing for a compiler in them.
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_add_key,
    libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at, libc::SYS_fanotify_init, libc::SYS_fanotify_mark,
    libc::SYS_execveat, libc::SYS_vmsplice, libc::SYS_memfd_secret,
    // Memory and queues shared beyond the job.
    libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_semget, libc::SYS_semop,
    libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_mq_open, libc::SYS_move_pages,
    libc::SYS_migrate_pages, libc::SYS_mbind, libc::SYS_set_mempolicy,
    // The machine.
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot,
    libc::SYS_kexec_load, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl,
    libc::SYS_syslog, libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_adjtimex,
    libc::SYS_clock_adjtime, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_vhangup,
];

/// Calls by which a program that is not setuid may give up what a setuid one would have, as make 4.3 has
/// the C library do before it starts anything: only the effective id is named. Without privilege that can
/// be none but the job's own. With any other argument they are refused.
pub(super) const RESETTING: [c_long; 2] = [libc::SYS_setresuid, libc::SYS_setresgid];
/// The id that such a call leaves as it is.
pub(super) const UNCHANGED: u32 = u32::MAX;

/// `clone` with one of these makes a namespace: of cgroups, mounts, host names, IPC, users, pids,
/// networks or clocks.
pub(super) const NAMESPACE_FLAGS: [u32; 8] = [
    0x0200_0000,
    0x0002_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
    0x0000_0080,
];

/// Commands of `fcntl` that reach beyond the job's own descriptors: whom a pipe or file sends signals
/// (`F_SETOWN`, `F_SETSIG`, `F_SETOWN_EX`), leases and notices on files of the host, and how much
/// memory of the worker's a pipe may take (`F_SETPIPE_SZ`).
pub(super) const REACHING: [u32; 6] = [8, 10, 15, 1024, 1026, 1031];
/// `F_SETFL`, and the flag that asks for signals.
pub(super) const SET_FLAGS: u32 = 4;
pub(super) const ASYNC: u32 = 0x2000;

/// What `prctl` is asked for by C libraries, shells and compilers: names, the parent's death, dumps,
/// timer slack, huge pages, the promise of no new privileges, and questions. To anything else it says
/// what a kernel that does not know it would say.
pub(super) const ABOUT_ITSELF: [u32; 20] = [
    1,
    2,
    3,
    4,
    7,
    15,
    16,
    21,
    23,
    27,
    29,
    30,
    38,
    39,
    41,
    42,
    54,
    55,
    56,
    0x5356_4d41,
];

/// `mmap` with this takes pages that the operator set aside for somebody else, and that no limit on
/// memory counts.
pub(super) const HUGE_PAGES: u32 = 0x4_0000;

/// The requests of `ioctl` that ask what a descriptor is, or change only the descriptor: TCGETS and
/// its successor, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
pub(super) const TERMINAL_QUERIES: [u32; 7] =
    [0x5401, 0x802c_542a, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451];
