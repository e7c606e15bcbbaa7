//! Files: other people's, the server's, the host's; and ways around what hides them.

use stap_jail::layer::Layer::{Capabilities, Landlock, Mount, NoNewPrivs, User};

use crate::corpus::payload::Payload;
use crate::corpus::{Case, Goal, Guard, Who, payload};

pub(super) fn cases() -> Vec<Case> {
    let families = [others(), servers(), hosts(), ways_around()];
    families.into_iter().flatten().map(Payload::case).collect()
}

fn others() -> Vec<Payload> {
    vec![
        payload(
            "read-file-of-the-same-user",
            Goal::Read("another job's files"),
            "read {secret}",
        )
        .lesson("CVE-2024-28185")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "read-file-in-tmp",
            Goal::Read("what others keep in /tmp"),
            "read {in-tmp}",
        )
        .covers("item:private /tmp")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "write-file-of-the-same-user",
            Goal::Write("another job's files"),
            "append {secret}",
        )
        .lesson("DMOJ judge-server#318")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "link-file-of-the-same-user",
            Goal::Deceive("the collector with a second name for a file"),
            "make-handle {secret}",
        )
        .lesson("compiler-explorer#6026")
        .held(Mount, ABSENT)
        .held(Landlock, "cross-device link"),
    ]
}

fn servers() -> Vec<Payload> {
    vec![
        payload(
            "read-the-servers-key",
            Goal::Read("the server's TLS key"),
            "read {key}",
        )
        .lesson("stap-serverd keeps its key under the uid of its compilers")
        .covers("item:server keys")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held_as(Who::Root, Guard::Unprivileged, REFUSED),
        payload(
            "read-the-servers-log",
            Goal::Read("who asked for what"),
            "read {log}",
        )
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held_as(Who::Root, Guard::Unprivileged, REFUSED),
        payload(
            "read-the-warm-state",
            Goal::Read("what the server keeps warm"),
            "read {warm}",
        )
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held_as(Who::Root, Guard::Unprivileged, REFUSED),
        payload(
            "poison-the-warm-state",
            Goal::Write("what other jobs' compiles begin with"),
            "append {warm}",
        )
        .lesson("four ways to poison a shared stap cache")
        .covers("item:cache")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held_as(Who::Root, Guard::Unprivileged, REFUSED),
        payload(
            "poison-the-results",
            Goal::Write("what others get for the same request"),
            "append {kept}",
        )
        .lesson("four ways to poison a shared stap cache")
        .covers("item:cache")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held_as(Who::Root, Guard::Unprivileged, REFUSED),
    ]
}

#[expect(clippy::too_many_lines, reason = "a list, one case after the other")]
fn hosts() -> Vec<Payload> {
    vec![
        payload(
            "read-shadow",
            Goal::Read("the host's passwords"),
            "read /etc/shadow",
        )
        .lesson("compiler-explorer#6026")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held(Guard::Unprivileged, REFUSED),
        payload(
            "write-to-the-target-root",
            Goal::Write("the compiler that others use"),
            "plant {owned}/planted",
        )
        .covers("item:read-only target root")
        .held(Mount, READ_ONLY)
        .held(Landlock, REFUSED),
        payload(
            "write-to-the-own-root",
            Goal::Write("the root that the job sees"),
            "plant /planted",
        )
        .covers("rung:root")
        .held(Landlock, REFUSED)
        .held(Mount, READ_ONLY)
        .held(Guard::Unprivileged, REFUSED),
        payload(
            "list-sys",
            Goal::Read("the host's hardware and modules"),
            "list /sys/module",
        )
        .covers("item:no /sys")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "read-the-kernels-symbols",
            Goal::Read("what an exploit of the kernel needs"),
            "read /proc/kallsyms",
        )
        .covers("rung:proc")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "set-the-core-pattern",
            Goal::Rule("what the kernel runs as root"),
            "rewrite /proc/sys/kernel/core_pattern",
        )
        .covers("item:/proc")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held(Guard::Unprivileged, REFUSED),
        payload(
            "open-a-terminal",
            Goal::Reach("terminals of the host"),
            "open /dev/ptmx",
        )
        .covers("rung:devices")
        .covers("item:/dev")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "read-the-kernels-log",
            Goal::Read("the kernel's messages"),
            "open /dev/kmsg",
        )
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held(Guard::Unprivileged, "Operation not permitted"),
        payload(
            "make-a-device",
            Goal::Reach("disks of the host"),
            "make-device planted-device",
        )
        .lesson("mknodat is a call that make needs, for FIFOs")
        .held(Landlock, REFUSED)
        .held(Guard::Unprivileged, NOT_PERMITTED),
        payload(
            "join-the-servers-group",
            Goal::Exhaust("more than the job's control group allows"),
            "join-group {group}",
        )
        .covers("item:cgroup writes")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held(Guard::NamespaceOfGroups, ABSENT)
        .held(Guard::Undelegated, REFUSED),
        payload(
            "gain-by-a-setuid-program",
            Goal::Rule("whatever root may"),
            "setuid {setuid}",
        )
        .covers("item:setuid")
        .held(Mount, "it ran as uid")
        .held(NoNewPrivs, "it ran as uid")
        .held(User, "it ran as uid"),
        payload(
            "gain-by-capabilities",
            Goal::Rule("capabilities to be had again"),
            "bounding-set",
        )
        .held(Capabilities, "it is empty"),
    ]
}

#[expect(clippy::too_many_lines, reason = "a list, one case after the other")]
fn ways_around() -> Vec<Payload> {
    vec![
        payload(
            "climb-out-by-dots",
            Goal::Read("files outside the root"),
            "read ../../../../../../../../..{secret}",
        )
        .covers("rung:enter")
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "climb-out-by-the-first-process",
            Goal::Read("files by another process's root"),
            "read /proc/1/root{secret}",
        )
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held(Guard::Unprivileged, REFUSED),
        payload(
            "climb-out-by-a-neighbours-root",
            Goal::Read("files by another process's root"),
            "read /proc/{neighbour}/root{secret}",
        )
        .held(Mount, ABSENT)
        .held(User, REFUSED)
        .held(Landlock, REFUSED),
        payload(
            "climb-out-by-an-own-descriptor",
            Goal::Read("files by a directory that is open"),
            "read /proc/self/cwd/../../../../..{secret}",
        )
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED),
        payload(
            "read-the-environment-of-pid-1",
            Goal::Read("the plan of the jail"),
            "read /proc/1/environ",
        )
        .held(Mount, ABSENT)
        .held(Landlock, REFUSED)
        .held(Guard::Unprivileged, REFUSED),
        payload(
            "use-a-forgotten-descriptor",
            Goal::Read("what the server's starter had open"),
            "read-descriptor {descriptor}",
        )
        .covers("item:inherited descriptors")
        .held(Guard::Rung("descriptors"), "Bad file descriptor"),
        payload(
            "find-any-descriptor",
            Goal::Reach("whatever the worker has open"),
            "count-descriptors",
        )
        .covers("rung:handover")
        .held(Guard::Rung("descriptors"), "only its input and output"),
        payload(
            "forge-the-launchers-report",
            Goal::Deceive("the worker about the end of the job"),
            "write-descriptor 5",
        )
        .covers("rung:announce")
        .without_a_jail("write-descriptor {descriptor}")
        .held(Guard::Rung("descriptors"), "Bad file descriptor"),
        payload(
            "run-what-was-written",
            Goal::Rule("programs of the client's own"),
            "run-copy planted-program",
        )
        .covers("rung:workspace")
        .held(Mount, REFUSED)
        .held(Landlock, REFUSED),
    ]
}

const ABSENT: &str = "No such file";
const REFUSED: &str = "Permission denied";
const NOT_PERMITTED: &str = "Operation not permitted";
const READ_ONLY: &str = "Read-only file system";
