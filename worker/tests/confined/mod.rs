//! What a worker gave up before its first job, told by the kernel and tried from outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, PidfdFlags, PidfdGetfdFlags, Uid, pidfd_getfd, pidfd_open};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::support::{ORDINARY, Site, User};
use crate::{as_each_user, is_enforced, text};

/// `/proc/PID/status` or that of a thread.
fn status(path: &Path) -> Option<BTreeMap<String, String>> {
    let status = fs::read_to_string(path.join("status")).ok()?;
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    Some(
        lines
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
    )
}

fn set(status: &BTreeMap<String, String>, name: &str) -> u64 {
    u64::from_str_radix(&status[name], 16).unwrap()
}

#[test]
fn every_thread_of_a_worker_has_what_its_jails_need_and_no_more() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        // Whatever a job makes it start is there by now.
        worker.run_shell("exit 0");
        let tasks = fs::read_dir(format!("/proc/{}/task", worker.child.id())).unwrap();
        let threads: Vec<_> = tasks
            .filter_map(|task| status(&task.unwrap().path()))
            .collect();
        assert!(threads.len() > 1, "a worker has more than one thread");
        for thread in &threads {
            assert_eq!(thread["NoNewPrivs"], "1", "{thread:?}");
            assert_eq!(thread["Seccomp"], "2", "{thread:?}");
            for name in ["CapInh", "CapAmb"] {
                assert_eq!(set(thread, name), 0, "{thread:?}");
            }
            let [permitted, effective, bounding] =
                ["CapPrm", "CapEff", "CapBnd"].map(|name| set(thread, name));
            assert_eq!((permitted, bounding), (effective, effective), "{thread:?}");
            match site.user {
                User::Ordinary => assert_eq!(effective, 0),
                User::Root => {
                    let files = effective & !ROOTS;
                    assert!(
                        files == DAC_OVERRIDE || files == DAC_READ_SEARCH,
                        "{effective:x}"
                    );
                    assert_eq!(effective & ROOTS, ROOTS, "{effective:x}");
                }
            }
        }
        worker.hang_up();
    });
}

#[test]
fn a_worker_sees_no_key_of_the_server_and_writes_only_where_it_must() {
    as_each_user(|site| {
        let (hidden, shown) = (site.path("database"), site.path("cache"));
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("stap.key"), "the key").unwrap();
        let mut configuration = site.configuration(&[]);
        configuration.hidden = vec![hidden.clone(), site.path("there-is-none")];
        let worker = site.start(configuration);
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can look through a worker's eyes");
            return;
        }
        let root = PathBuf::from(format!("/proc/{}/root", worker.child.id()));
        let seen = |path: &Path| root.join(path.strip_prefix("/").unwrap());
        assert_eq!(fs::read_dir(seen(&hidden)).unwrap().count(), 0);
        assert_eq!(fs::read(hidden.join("stap.key")).unwrap(), b"the key");
        let planted = fs::write(seen(&site.path("planted")), "x").unwrap_err();
        assert_eq!(planted.kind(), ErrorKind::ReadOnlyFilesystem);
        fs::write(seen(&shown.join("planted")), "x").unwrap();
        fs::remove_file(shown.join("planted")).unwrap();
        worker.hang_up();
    });
}

#[test]
fn a_job_is_held_by_its_own_filter_and_by_the_workers() {
    as_each_user(|site| {
        let mut worker = site.start(site.configuration(&[]));
        assert!(is_enforced(&worker, "seccomp"));
        let report = worker.run_shell("grep -E '^(Seccomp_filters|NoNewPrivs):' /proc/self/status");
        let said = text(&report.stdout);
        let words: Vec<_> = said.split_whitespace().collect();
        assert_eq!(
            words,
            ["NoNewPrivs:", "1", "Seccomp_filters:", "2"],
            "{report:?}"
        );
        worker.hang_up();
    });
}

/// The user of the worker has other processes; one of them may be hostile.
#[test]
fn nobody_of_the_same_user_reaches_the_workers_socket() {
    let site = Site::of(User::Ordinary);
    let worker = site.start(site.configuration(&[]));
    let mut open = Command::new("sleep");
    open.arg("1000").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        open.uid(ORDINARY).gid(ORDINARY);
    }
    let mut open = open.spawn().unwrap();
    let (closed, opened) = (worker.child.id(), open.id());
    let tried = thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(ORDINARY), Gid::from_raw(ORDINARY));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
        }
        // Yama, where it is set so, would protect both, and then there is nothing to compare.
        [opened, closed].map(|pid| [0, SOCKET].map(|number| taken(pid, number)))
    });
    let [opened, closed] = tried.join().unwrap();
    open.kill().unwrap();
    open.wait().unwrap();
    if opened[0].is_err() {
        println!("skipped: this host protects all processes of a user from each other");
        return;
    }
    for attempt in closed {
        assert_eq!(attempt.unwrap_err(), Errno::PERM);
    }
    worker.hang_up();
}

fn taken(pid: u32, number: i32) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    pidfd_getfd(process, number, PidfdGetfdFlags::empty())
}

#[test]
fn a_coordinator_of_another_build_is_refused() {
    let site = Site::of(User::Root);
    let words: [&[u8]; 3] = [
        b"\0\0\0\x04\xff\xff\xff\xff",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n",
    ];
    for said in words {
        let (mut socket, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(site.path("stap-worker"));
        let mapping = FdMapping {
            parent_fd: OwnedFd::from(theirs),
            child_fd: SOCKET,
        };
        command.fd_mappings(vec![mapping]).unwrap();
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let sent = socket
            .write_all(said)
            .and_then(|()| socket.shutdown(std::net::Shutdown::Write));
        assert_eq!(sent.map_err(|error: io::Error| error.kind()), Ok(()));
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        let complaint = text(&output.stderr);
        assert!(complaint.contains("same build"), "{complaint}");
    }
}

const SOCKET: i32 = 3;
/// CAP_KILL, CAP_SETGID, CAP_SETUID.
const ROOTS: u64 = 1 << 5 | 1 << 6 | 1 << 7;
const DAC_READ_SEARCH: u64 = 1 << 2;
/// Instead of the other, where control groups are made at the top of a hierarchy.
const DAC_OVERRIDE: u64 = 1 << 1;
