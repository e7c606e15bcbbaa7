//! Parts of the kernel that no compile needs, and rights that no job has.

use stap_jail::layer::Layer::{Rlimits, Seccomp};

use crate::corpus::payload::Payload;
use crate::corpus::{Case, Goal, Guard, payload};

pub(super) fn cases() -> Vec<Case> {
    let families = [namespaces(), surfaces(), the_machine(), games()];
    families.into_iter().flatten().map(Payload::case).collect()
}

fn namespaces() -> Vec<Payload> {
    let goal = Goal::Rule("the kernel's surface for the root of a namespace");
    vec![
        payload("unshare-a-user-namespace", goal, "unshare-user")
            .covers("item:new namespaces")
            .held(Seccomp, NOT_PERMITTED),
        payload("clone-a-user-namespace", goal, "clone-user").held(Seccomp, NOT_PERMITTED),
        payload("clone3-a-user-namespace", goal, "clone3-user")
            .lesson("its flags lie where no filter can look")
            .held(Seccomp, ABSENT),
        nobody(
            "change-the-root",
            Goal::Read("files outside the root"),
            "reach chroot",
        ),
        nobody(
            "pivot-the-root",
            Goal::Read("files outside the root"),
            "reach pivot_root",
        ),
        nobody(
            "unmount-what-hides",
            Goal::Read("files below a mount"),
            "reach umount2",
        ),
        nobody("open-a-file-system", Goal::Rule("mounts"), "reach fsopen").covers("item:mount API"),
        nobody("copy-a-mount", Goal::Rule("mounts"), "reach open_tree"),
        nobody(
            "change-a-mount",
            Goal::Write("the read-only root"),
            "reach mount_setattr",
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a list, one case after the other")]
fn surfaces() -> Vec<Payload> {
    let goal = Goal::Rule("a kernel surface with a history of holes");
    vec![
        payload("io-uring", goal, "io-uring")
            .covers("item:io_uring")
            .held(Seccomp, NOT_PERMITTED)
            .held(Guard::LockedRings, "Cannot allocate memory"),
        payload("userfaultfd", goal, "userfaultfd")
            .covers("item:userfaultfd")
            .held(Seccomp, NOT_PERMITTED),
        nobody("bpf", goal, "reach bpf").covers("item:bpf"),
        payload("perf", Goal::Read("what other processes do"), "reach perf")
            .held(Seccomp, NOT_PERMITTED)
            .held(Guard::Unprivileged, "Permission denied")
            .covers("item:perf"),
        payload("add-a-key", goal, "add-key").held(Seccomp, NOT_PERMITTED),
        nobody(
            "fanotify",
            Goal::Read("which files others open"),
            "reach fanotify",
        ),
        nobody(
            "open-by-handle",
            Goal::Read("any file by its number"),
            "reach open_by_handle_at",
        )
        .lesson("the container escape called shocker"),
        payload(
            "name-a-handle",
            Goal::Read("numbers of files"),
            "reach name_to_handle_at",
        )
        .held(Seccomp, NOT_PERMITTED),
        payload("quotactl", goal, "reach quotactl").held(Seccomp, NOT_PERMITTED),
        payload(
            "call-as-32-bit",
            Goal::Deceive("a filter that knows 64-bit numbers"),
            "call-as-32-bit",
        )
        .covers("item:32-bit system calls")
        .held(Seccomp, "signal 31"),
        payload(
            "call-as-x32",
            Goal::Deceive("a filter that knows 64-bit numbers"),
            "reach x32",
        )
        .covers("item:x32 system calls")
        .held(Seccomp, ABSENT),
        payload(
            "huge-pages",
            Goal::Exhaust("memory that no limit counts"),
            "huge-pages",
        )
        .lesson("found while this jail was built")
        .held(Seccomp, NOT_PERMITTED),
        payload(
            "secret-memory",
            Goal::Exhaust("memory that cannot be swapped"),
            "reach memfd_secret",
        )
        .held(Seccomp, NOT_PERMITTED),
        payload(
            "lock-memory",
            Goal::Exhaust("memory that cannot be swapped"),
            "reach mlock",
        )
        .held(Seccomp, ABSENT)
        .held(Rlimits, NOT_PERMITTED),
        payload(
            "move-pages",
            Goal::Disturb("the placement of memory"),
            "reach mbind",
        )
        .held(Seccomp, NOT_PERMITTED),
    ]
}

fn the_machine() -> Vec<Payload> {
    vec![
        nobody(
            "load-a-module",
            Goal::Rule("the kernel"),
            "reach init_module",
        ),
        nobody(
            "load-a-module-by-descriptor",
            Goal::Rule("the kernel"),
            "reach finit_module",
        ),
        nobody(
            "unload-a-module",
            Goal::Disturb("the kernel"),
            "reach delete_module",
        )
        .lesson("CVE-2010-4171"),
        nobody("kexec", Goal::Rule("the next kernel"), "reach kexec_load"),
        nobody("reboot", Goal::Disturb("the machine"), "reach reboot"),
        nobody(
            "swap-on",
            Goal::Read("memory by way of a disk"),
            "reach swapon",
        ),
        nobody("swap-off", Goal::Disturb("the machine"), "reach swapoff"),
        nobody(
            "account",
            Goal::Write("a file of the kernel's choice"),
            "reach acct",
        ),
        nobody("kernel-log", Goal::Rule("the console"), "reach syslog"),
        nobody(
            "hang-up-terminals",
            Goal::Disturb("terminals"),
            "reach vhangup",
        ),
        nobody(
            "set-the-clock",
            Goal::Disturb("the machine's clock"),
            "set-clock",
        ),
        nobody(
            "name-the-host",
            Goal::Disturb("the machine's name"),
            "set-host-name",
        ),
    ]
}

fn games() -> Vec<Payload> {
    vec![
        payload(
            "become-root",
            Goal::Rule("whatever root may"),
            "become-root",
        )
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Unprivileged, "Invalid argument"),
        nobody(
            "join-groups",
            Goal::Read("files of a group"),
            "reach setgroups",
        ),
        payload(
            "take-precedence",
            Goal::Exhaust("processor time"),
            "reach setpriority",
        )
        .held(Seccomp, ABSENT)
        .held(Guard::Unprivileged, "Permission denied"),
        payload(
            "personality",
            Goal::Rule("addresses that are easy to guess"),
            "personality",
        )
        .held(Seccomp, NOT_PERMITTED),
        payload(
            "filter-own-calls",
            Goal::Deceive("programs with answers of its own"),
            "reach seccomp",
        )
        .covers("item:seccomp itself")
        .held(Seccomp, NOT_PERMITTED),
        payload(
            "trace-an-own-child",
            Goal::Rule("calls behind the filter's back"),
            "ptrace-child",
        )
        .lesson("tracers could change calls after they were filtered before Linux 4.8")
        .held(Seccomp, NOT_PERMITTED),
        payload(
            "run-from-memory",
            Goal::Rule("programs of the client's own"),
            "run-from-memory",
        )
        .held(Seccomp, ABSENT),
        payload(
            "type-into-the-terminal",
            Goal::Rule("the terminal of whoever started the server"),
            "reach tiocsti",
        )
        .lesson("CVE-2017-5226")
        .held(Seccomp, ABSENT),
        payload(
            "paste-into-the-console",
            Goal::Rule("the console"),
            "reach tioclinux",
        )
        .lesson("CVE-2023-28100")
        .held(Seccomp, ABSENT),
    ]
}

/// A call that the filter refuses, and the kernel to everybody but root.
fn nobody(name: &'static str, goal: Goal, order: &'static str) -> Payload {
    payload(name, goal, order)
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Unprivileged, NOT_PERMITTED)
}

const NOT_PERMITTED: &str = "Operation not permitted";
const ABSENT: &str = "Function not implemented";
