//! The system calls that neither the worker nor any jail ever makes.
//!
//! A list of what is refused, unlike the job's own: this filter holds for launchers and jobs, too,
//! and must not decide what their C libraries may do. Where the job's filter says something else,
//! the kernel takes the job's answer.

use std::collections::BTreeSet;

use libc::c_long;
use stap_filter::{Answer, Filter};

use crate::ladder::Fault;
use crate::layer::Layer;

pub(super) fn restrict(layers: &BTreeSet<Layer>) -> Result<String, Fault> {
    if !layers.contains(&Layer::Seccomp) {
        return Ok("no filter of system calls, as jobs have none here either".to_owned());
    }
    filter()
        .enforce()
        .map_err(|cause| Fault::unfit(format!("filtering system calls: {cause}")))?;
    Ok("system calls: no sockets, no tracing, no keys, nothing that changes the kernel".to_owned())
}

fn filter() -> Filter {
    Filter::otherwise(Answer::Allow).answer(
        Answer::Refuse(libc::EPERM),
        REFUSED.iter().chain(REFUSED_HERE).copied(),
    )
}

#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // Pairs of sockets are made and inherited; none is ever opened, named or connected.
    libc::SYS_socket, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4,
    libc::SYS_connect,
    // Looking into, or taking from, another process.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_process_madvise, libc::SYS_pidfd_getfd, libc::SYS_kcmp,
    // Namespaces are made, never entered; roots are changed by pivot_root only.
    libc::SYS_setns, libc::SYS_chroot,
    // Parts of the kernel with a history of holes and nothing for a compile service in them.
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_add_key,
    libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init, libc::SYS_fanotify_mark, libc::SYS_memfd_secret, libc::SYS_vmsplice,
    libc::SYS_move_pages, libc::SYS_migrate_pages,
    // The machine.
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot,
    libc::SYS_kexec_load, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl,
    libc::SYS_syslog, libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_adjtimex,
    libc::SYS_clock_adjtime, libc::SYS_vhangup, libc::SYS_personality,
];
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::jobs_calls;

    #[test]
    fn nothing_that_a_job_may_do_is_refused() {
        for call in jobs_calls() {
            assert!(!REFUSED.contains(&call), "{call}");
            assert!(!REFUSED_HERE.contains(&call), "{call}");
        }
    }
}
