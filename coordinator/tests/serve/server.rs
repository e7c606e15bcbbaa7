//! A running server with a home of its own.

use std::fs;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server that has said that it is ready.
pub(crate) struct Server {
    child: Child,
    home: TempDir,
    port: u16,
}

/// What the server says at its readiness pipe.
pub(crate) enum Verdict {
    Ready(u16),
    Failed(String),
}

impl Server {
    /// Starts a server with its stand-in worker, and waits until it is ready.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), options)
    }

    /// The same, in a home that holds something already.
    pub(crate) fn start_in(home: TempDir, options: &[&str]) -> Self {
        let (child, verdict) = launch(&home, options);
        match verdict {
            Verdict::Ready(port) => Self { child, home, port },
            Verdict::Failed(reason) => panic!("the server did not start: {reason}"),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its certificate in DER, from the file that users are told to hand on.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        fs::read(database(&self.home).join("stap.cert")).unwrap()
    }

    /// Its log until now. What the worker, the signer or another task says may not be in it yet when the
    /// answer is there: for that, [`Server::wait_for_log`].
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_file(&self.home)).unwrap_or_default()
    }

    /// Waits until the log holds `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        until(|| self.log().contains(text))
            .unwrap_or_else(|| panic!("the log never said {text:?}:\n{}", self.log()));
    }

    /// What the kernel says of each of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
        // One that was only waiting for something to do may end meanwhile.
        statuses.filter_map(Result::ok).collect()
    }

    /// Where it is.
    pub(crate) fn working_directory(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/cwd", self.child.id())).unwrap()
    }

    /// Processes that it has started, by the role that they play here.
    pub(crate) fn child(&self, role: &str) -> Option<Pid> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let plays = |pid: &&str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(role)
        };
        let pid = children.split_whitespace().find(plays)?;
        Pid::from_raw(pid.parse().unwrap())
    }

    /// Where it was started.
    pub(crate) fn home(&self) -> &TempDir {
        &self.home
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let ended = until(|| self.child.try_wait().unwrap().is_some());
        ended.unwrap_or_else(|| panic!("the server does not end:\n{}", self.log()));
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that has ended is what was wanted.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// Starts a server that may fail.
pub(crate) fn launch(home: &TempDir, options: &[&str]) -> (Child, Verdict) {
    let (mut reader, writer) = io::pipe().unwrap();
    // As it is when the tool that started the server has ended.
    let (nobody, stderr) = io::pipe().unwrap();
    drop(nobody);
    let mut command = Command::new(&*PROGRAM);
    command
        .current_dir(home.path())
        .args(["--no-advertise", "--ready-fd=7", "--log", LOG, "--ssl", DATABASE])
        .args(options)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        // root's databases would be the machine's own.
        .env("STAP_SYSCONFDIR", home.path().join("etc"))
        .stdin(Stdio::null())
        .stderr(stderr);
    command
        .fd_mappings(vec![FdMapping {
            parent_fd: OwnedFd::from(writer),
            child_fd: 7,
        }])
        .unwrap();
    let child = command.spawn().unwrap();
    // Closes our copy of the writing end, so that the pipe ends with the server.
    drop(command);
    let mut line = String::new();
    reader.read_to_string(&mut line).unwrap();
    let verdict = match line.trim_end().split_once(' ') {
        Some(("ready", port)) => Verdict::Ready(port.parse().unwrap()),
        Some(("failed", reason)) => Verdict::Failed(reason.to_owned()),
        _ => panic!(
            "the server said {line:?}; its log:\n{}",
            fs::read_to_string(log_file(home)).unwrap_or_default()
        ),
    };
    (child, verdict)
}

/// The server looks for its worker beside itself: there it finds this test program. The place is made
/// once, before this process has any child: a child that is being started holds our descriptors, and
/// a program that somebody could still write to cannot be run.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let targets = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = targets.join("serve");
    fs::create_dir_all(&place).unwrap();
    let new = TempDir::new_in(targets).unwrap();
    let stand_in = std::env::current_exe().unwrap();
    for (program, role) in [
        ("stap-worker", "worker --exact --ignored --nocapture <&3"),
        ("stap-signer", "signer --exact --ignored --nocapture"),
    ] {
        let script = format!(
            "#!/bin/sh\nexec '{}' stand_in::{role}\n",
            stand_in.display()
        );
        let program = new.path().join(program);
        fs::write(&program, script).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let server = new.path().join(SERVER);
    fs::hard_link(env!("CARGO_BIN_EXE_stap-serverd"), server).unwrap();
    // Other processes of the same test run do the same. A second link to the server is not moved over the
    // first: it goes with the directory.
    for program in ["stap-worker", "stap-signer", SERVER] {
        fs::rename(new.path().join(program), place.join(program)).unwrap();
    }
    place.join(SERVER)
});

const SERVER: &str = "stap-serverd";

/// Relative to the home that the server is started in.
const DATABASE: &str = "db";
const LOG: &str = "log";

/// Where the server keeps its certificate.
pub(crate) fn database(home: &TempDir) -> PathBuf {
    home.path().join(DATABASE)
}

pub(crate) fn log_file(home: &TempDir) -> PathBuf {
    home.path().join(LOG)
}

/// Looks until it is so, for at most [`PATIENCE`].
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> Option<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(POLL);
    }
    Some(())
}

/// Lets other tasks go on until the log holds `text`; the test's own patience is the deadline.
pub(crate) async fn logged(server: &Server, text: &str) {
    logged_times(server, text, 1).await;
}

/// As [`logged`], `times` over.
pub(crate) async fn logged_times(server: &Server, text: &str, times: usize) {
    while server.log().matches(text).count() < times {
        tokio::time::sleep(POLL).await;
    }
}

/// On a machine that does six other things, a server has taken ten seconds to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a file is looked at, which gives no signal.
const POLL: Duration = Duration::from_millis(10);
