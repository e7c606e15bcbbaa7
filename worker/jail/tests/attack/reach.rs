//! Attacks that only have to get past the kernel's door: calls that mean nothing as they are made
//! here, so that they do no harm to a host that lets them in.

use std::io;

use libc::c_long;

use crate::Attempt;
use crate::calls::call;

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    let ["reach", name] = arguments else {
        return None;
    };
    let (which, with) = CALLS
        .iter()
        .find(|(known, _, _)| known == name)
        .map(|(_, which, with)| (*which, *with))?;
    let with: Vec<usize> = with.iter().map(Argument::value).collect();
    Some(got_in(call(which, &with)))
}

/// Refused is who may not; whoever is told that he asks for nonsense might have asked for sense.
pub(crate) fn got_in(attempt: Attempt) -> Attempt {
    match attempt {
        Err(error) if !is_refusal(&error) => Ok(format!("the kernel looked at it: {error}")),
        other => other,
    }
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EAFNOSUPPORT];
    error
        .raw_os_error()
        .is_some_and(|code| refusals.contains(&code))
}

/// What is handed to a call.
#[derive(Clone, Copy)]
enum Argument {
    Number(usize),
    /// Text that ends with NUL.
    Text(&'static std::ffi::CStr),
    /// Bytes that the call reads.
    Bytes(&'static [u8]),
}

impl Argument {
    fn value(&self) -> usize {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.as_ptr().expose_provenance(),
            Self::Bytes(bytes) => bytes.as_ptr().expose_provenance(),
        }
    }
}

use Argument::{Bytes, Number, Text};

#[rustfmt::skip]
const CALLS: &[(&str, c_long, &[Argument])] = &[
    // Nothing may be moved onto itself.
    ("pivot_root", libc::SYS_pivot_root, &[Text(c"/"), Text(c"/")]),
    ("chroot", libc::SYS_chroot, &[Text(c"/")]),
    // Nothing is mounted there.
    ("umount2", libc::SYS_umount2, &[Text(c"/usr"), Number(0)]),
    ("fsopen", libc::SYS_fsopen, &[Text(c"tmpfs"), Number(0)]),
    // A copy that nobody keeps.
    ("open_tree", libc::SYS_open_tree, &[Number(AT_FDCWD), Text(c"/usr"), Number(CLONE_TREE)]),
    ("mount_setattr", libc::SYS_mount_setattr, &[Number(AT_FDCWD), Text(c"/usr"), Number(0), Bytes(&[0; 32]), Number(32)]),
    ("init_module", libc::SYS_init_module, &[Bytes(b"no module"), Number(9), Text(c"")]),
    ("finit_module", libc::SYS_finit_module, &[Number(usize::MAX), Text(c""), Number(0)]),
    ("delete_module", libc::SYS_delete_module, &[Text(c"no_such_module"), Number(NONBLOCK)]),
    // Segments of no kernel, for an architecture that does not exist.
    ("kexec_load", libc::SYS_kexec_load, &[Number(0), Number(0), Number(0), Number(0xffff_0000)]),
    ("reboot", libc::SYS_reboot, &[Number(0xfee1_dead), Number(672_274_793), Number(0x7777_7777)]),
    ("swapon", libc::SYS_swapon, &[Text(c"/no/such/file"), Number(0)]),
    ("swapoff", libc::SYS_swapoff, &[Text(c"/no/such/file")]),
    ("acct", libc::SYS_acct, &[Text(c"/no/such/file")]),
    ("quotactl", libc::SYS_quotactl, &[Number(GET_QUOTA), Text(c"/dev/null"), Number(0), Bytes(&[0; 128])]),
    // A console level that there is not.
    ("syslog", libc::SYS_syslog, &[Number(8), Number(0), Number(0)]),
    ("vhangup", libc::SYS_vhangup, &[]),
    ("iopl", IOPL, &[Number(3)]),
    ("fanotify", libc::SYS_fanotify_init, &[Number(CONTENT), Number(0)]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, &[Number(AT_FDCWD), Bytes(&HANDLE), Number(0)]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, &[Number(AT_FDCWD), Text(c"/usr"), Bytes(&HANDLE), Bytes(&[0; 8]), Number(0)]),
    // A map that nobody keeps, of a kind that is for the privileged whatever the host's settings.
    ("bpf", libc::SYS_bpf, &[Number(0), Bytes(&MAP), Number(72)]),
    // The time of all processes on the first processor.
    ("perf", libc::SYS_perf_event_open, &[Bytes(&CPU_CLOCK), Number(usize::MAX), Number(0), Number(usize::MAX), Number(0)]),
    // A filter without instructions.
    ("seccomp", libc::SYS_seccomp, &[Number(1), Number(0), Bytes(&[0; 16])]),
    ("landlock", libc::SYS_landlock_create_ruleset, &[Bytes(&[0; 8]), Number(8), Number(0)]),
    ("memfd_secret", libc::SYS_memfd_secret, &[Number(0)]),
    ("mbind", libc::SYS_mbind, &[Number(0), Number(0), Number(0), Number(0), Number(0), Number(0)]),
    ("migrate_pages", libc::SYS_migrate_pages, &[Number(0), Number(0), Number(0), Number(0)]),
    ("setgroups", libc::SYS_setgroups, &[Number(1), Bytes(&[0; 4])]),
    ("setpriority", libc::SYS_setpriority, &[Number(0), Number(0), Number((-20_isize).cast_unsigned())]),
    ("mlock", libc::SYS_mlockall, &[Number(1)]),
    // Typing into whatever stdin is.
    ("tiocsti", libc::SYS_ioctl, &[Number(0), Number(0x5412), Text(c"x")]),
    ("tioclinux", libc::SYS_ioctl, &[Number(0), Number(0x541c), Bytes(&[2])]),
    // Telling the time of x32 programs.
    ("x32", libc::SYS_getpid | 0x4000_0000, &[]),
];

const AT_FDCWD: usize = (-100_isize).cast_unsigned();
const CLONE_TREE: usize = 1;
const NONBLOCK: usize = 0o4000;
const CONTENT: usize = 4;
const GET_QUOTA: usize = 0x8000_0700;
/// Room for eight bytes, of the most common type.
const HANDLE: [u8; 16] = [8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `union bpf_attr` for a map: its type, the sizes of keys and values, and how many.
const MAP: [u8; 72] = {
    let mut map = [0; 72];
    map[0] = 9;
    map[4] = 4;
    map[8] = 4;
    map[12] = 1;
    map
};
/// `struct perf_event_attr`: software, its size, the processor's clock.
const CPU_CLOCK: [u8; 112] = {
    let mut attributes = [0; 112];
    attributes[0] = 1;
    attributes[4] = 112;
    attributes
};
#[cfg(target_arch = "x86_64")]
const IOPL: c_long = libc::SYS_iopl;
#[cfg(not(target_arch = "x86_64"))]
const IOPL: c_long = libc::SYS_vhangup;
