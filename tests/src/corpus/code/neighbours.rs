//! Processes and services of others, and what they share by name.

use stap_jail::layer::Layer::{
    CgroupNamespace, Ipc, Landlock, Mount, Net, Pid, Rlimits, Seccomp, User, Uts,
};

use crate::corpus::payload::Payload;
use crate::corpus::{Case, Goal, Guard, Who, payload};

pub(super) fn cases() -> Vec<Case> {
    let families = [services(), processes(), shared(), names()];
    families.into_iter().flatten().map(Payload::case).collect()
}

fn services() -> Vec<Payload> {
    vec![
        payload(
            "connect-to-loopback",
            Goal::Reach("a service of the host"),
            "connect-tcp {tcp}",
        )
        .lesson("CVE-2024-29021")
        .covers("item:network")
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Landlock(4), "Permission denied")
        .held(Net, "Network is unreachable"),
        payload(
            "send-a-datagram",
            Goal::Reach("the network"),
            "send-udp {udp}",
        )
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Landlock(10), "Permission denied")
        .held(Net, "Network is unreachable"),
        payload(
            "connect-to-an-abstract-socket",
            Goal::Reach("a service of the host"),
            "connect-abstract {abstract}",
        )
        .covers("item:abstract sockets")
        .held(Seccomp, NOT_PERMITTED)
        .held(Net, "Connection refused")
        .held(Guard::Landlock(6), NOT_PERMITTED),
        payload(
            "connect-to-a-path-socket",
            Goal::Reach("a service of the host"),
            "connect-path {socket}",
        )
        .covers("item:path sockets")
        .held(Seccomp, NOT_PERMITTED)
        .held(Mount, "No such file")
        .held(Guard::Landlock(9), "Permission denied"),
        payload(
            "open-netlink",
            Goal::Reach("the kernel's configuration"),
            "socket 16 3 0",
        )
        .covers("item:netlink")
        .held(Seccomp, NOT_PERMITTED),
        payload("open-vsock", Goal::Reach("the hypervisor"), "socket 40 1 0")
            .covers("item:vsock")
            .held(Seccomp, NOT_PERMITTED),
        payload(
            "open-a-packet-socket",
            Goal::Read("the host's network traffic"),
            "socket 17 3 768",
        )
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Unprivileged, NOT_PERMITTED),
        payload(
            "open-crypto-sockets",
            Goal::Rule("a kernel surface without need"),
            "socket 38 5 0",
        )
        .held(Seccomp, NOT_PERMITTED),
    ]
}

#[expect(clippy::too_many_lines, reason = "a list, one case after the other")]
fn processes() -> Vec<Payload> {
    vec![
        payload(
            "signal-a-neighbour",
            Goal::Disturb("a process of the same user"),
            "signal {neighbour}",
        )
        .held(Pid, "No such process")
        .held(Guard::Landlock(6), NOT_PERMITTED),
        payload(
            "signal-the-worker",
            Goal::Disturb("the worker"),
            "signal {worker}",
        )
        .held(Pid, "No such process")
        .held(Guard::Landlock(6), NOT_PERMITTED)
        .held_as(Who::Root, Guard::Unprivileged, NOT_PERMITTED),
        payload(
            "signal-the-server",
            Goal::Disturb("the server"),
            "signal {server}",
        )
        .held(Pid, "No such process")
        .held(Guard::Landlock(6), NOT_PERMITTED)
        .held_as(Who::Root, Guard::Unprivileged, NOT_PERMITTED),
        payload(
            "trace-a-neighbour",
            Goal::Read("a process of the same user"),
            "trace {neighbour}",
        )
        .covers("item:ptrace")
        .held(Seccomp, NOT_PERMITTED)
        .held(Pid, "No such process")
        .held(User, NOT_PERMITTED)
        .held(Landlock, NOT_PERMITTED),
        payload(
            "trace-the-first-process",
            Goal::Rule("the process that watches the job"),
            "trace 1",
        )
        .covers("rung:hide")
        .without_a_jail("trace {neighbour}")
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Rung("hide"), NOT_PERMITTED),
        payload(
            "read-a-neighbours-memory",
            Goal::Read("a process of the same user"),
            "read-memory {neighbour} {address} {length}",
        )
        .covers("item:process_vm_readv")
        .held(Seccomp, NOT_PERMITTED)
        .held(Pid, "No such process")
        .held(User, NOT_PERMITTED)
        .held(Landlock, NOT_PERMITTED),
        payload(
            "compare-kernel-objects",
            Goal::Read("the kernel's addresses of another process"),
            "compare-kernel-objects {neighbour}",
        )
        .held(Seccomp, NOT_PERMITTED)
        .held(Pid, "No such process")
        .held(User, NOT_PERMITTED)
        .held(Landlock, NOT_PERMITTED),
        payload(
            "steal-a-descriptor",
            Goal::Read("what another process has open"),
            "steal-descriptor {neighbour}",
        )
        .held(Seccomp, "not")
        .held(Pid, "No such process")
        .held(User, NOT_PERMITTED)
        .held(Landlock, NOT_PERMITTED),
        payload(
            "read-a-neighbours-environment",
            Goal::Read("another process's secrets"),
            "search /proc/{neighbour}/environ the-secret-of-the-corpus",
        )
        .lesson("judge0#564")
        .held(Mount, "No such file")
        .held(User, "Permission denied")
        .held(Landlock, "Permission denied"),
        payload(
            "see-a-neighbour",
            Goal::Read("who runs what on the host"),
            "read /proc/{neighbour}/cmdline",
        )
        .covers("item:other processes")
        .held(Mount, "No such file")
        .held(Landlock, "Permission denied"),
        payload(
            "enter-a-neighbours-namespace",
            Goal::Reach("the host's network"),
            "enter-namespace /proc/{neighbour}/ns/net",
        )
        .held(Mount, "No such file")
        .held(Guard::Unprivileged, "Permission denied"),
        payload(
            "enter-a-namespace",
            Goal::Rule("which namespaces a job is in"),
            "enter-namespace /proc/self/ns/uts",
        )
        .covers("item:setns")
        .held(Seccomp, NOT_PERMITTED)
        .held(Guard::Unprivileged, NOT_PERMITTED),
        payload(
            "dump-core-to-the-host",
            Goal::Rule("the program of root that the host runs for every crash"),
            "core-limit",
        )
        .lesson("CVE-2025-4598; found with this corpus: a limit of 0 does not keep a handler from being run")
        .held(Rlimits, "of 1 byte"),
        payload(
            "outlast-the-server",
            Goal::Exhaust("the host's memory, and be ended after everybody else"),
            "outlast-the-host",
        )
        .covers("rung:expendable")
        .without_a_jail("outlast-the-host")
        .held(Guard::Rung("expendable"), "the first to go"),
        payload(
            "lower-the-limits-of-pid-1",
            Goal::Disturb("the process that watches the job"),
            "limit-pid-1",
        )
        .held(Seccomp, "Function not implemented"),
        payload(
            "share-the-servers-session",
            Goal::Disturb("the server's terminal and process group"),
            "session {session}",
        )
        .covers("rung:session")
        .held(Guard::Rung("session"), "is its own"),
        payload(
            "inherit-the-environment",
            Goal::Read("secrets in the server's environment"),
            "search-environment the-secret-of-the-corpus",
        )
        .lesson("PR14168, judge0#564")
        .covers("item:environment")
        .covers("rung:execute")
        .held(
            Guard::Check("environment from a list"),
            "no variable holds it",
        ),
    ]
}

fn shared() -> Vec<Payload> {
    vec![
        payload(
            "open-shared-memory",
            Goal::Read("memory of the same user's processes"),
            "shared-memory {shared}",
        )
        .covers("item:SysV IPC")
        .held(Seccomp, NOT_PERMITTED)
        .held(Ipc, "No such file"),
        payload(
            "open-semaphores",
            Goal::Disturb("the same user's processes"),
            "semaphores {shared}",
        )
        .held(Seccomp, NOT_PERMITTED)
        .held(Ipc, "No such file"),
        payload(
            "open-a-message-queue",
            Goal::Read("messages of the same user"),
            "open-queue {queue}",
        )
        .covers("item:POSIX IPC")
        .held(Seccomp, NOT_PERMITTED)
        .held(Ipc, "No such file")
        .held(Landlock, "Permission denied"),
        payload(
            "find-a-key",
            Goal::Read("keys of the same user"),
            "find-key {keyring-entry}",
        )
        .covers("item:keyrings")
        .held(Seccomp, NOT_PERMITTED)
        .held(User, "Required key not available"),
    ]
}

fn names() -> Vec<Payload> {
    vec![
        payload(
            "know-the-host",
            Goal::Read("the name of the host"),
            "host-name {host}",
        )
        .held(Uts, "jail"),
        payload(
            "know-the-groups",
            Goal::Read("the tree of control groups"),
            "namespace cgroup {cgroup-namespace}",
        )
        .held(CgroupNamespace, "cgroup:["),
        payload(
            "raise-the-own-limits",
            Goal::Exhaust("descriptors"),
            "open-files /dev/null 1500",
        )
        .held(Rlimits, "Too many open files"),
        payload(
            "be-root-outside",
            Goal::Rule("whatever root may"),
            "be-root-outside",
        )
        .covers("rung:slot-uid")
        .covers("rung:unprivileged")
        .lesson("PR11197")
        .held(Guard::Unprivileged, "on the host"),
        payload(
            "see-the-host-through-proc",
            Goal::Read("the host's processes"),
            "read /proc/cpuinfo",
        )
        .covers("rung:proc")
        .held(Mount, "No such file")
        .held(Landlock, "Permission denied"),
    ]
}

const NOT_PERMITTED: &str = "Operation not permitted";
