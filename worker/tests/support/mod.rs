//! A coordinator that starts a real worker and says whatever a test wants.
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that needs it"
)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs};

use command_fds::{CommandFdExt, FdMapping};
use stap_protocol::job::{
    Configuration, FromWorker, Job, JobId, MAX_FRAME, Readiness, Report, ToWorker,
};

/// Who the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Each job gets a uid of its own.
    Root,
    /// Jobs are the worker's own user, in a user namespace.
    Ordinary,
}

impl User {
    /// Those that this test can be: root can be everybody.
    pub(crate) fn all() -> Vec<Self> {
        if rustix::process::geteuid().is_root() {
            return vec![Self::Root, Self::Ordinary];
        }
        vec![Self::Ordinary]
    }
}

/// Programs, a stand-in for stap, and directories for one worker.
/// Held while files are written that will be executed, and while processes are started: a child that
/// has such a file open for a moment would keep others from starting it.
static FORKING: Mutex<()> = Mutex::new(());

#[derive(Debug)]
pub(crate) struct Site {
    directory: tempfile::TempDir,
    pub(crate) user: User,
}

impl Site {
    pub(crate) fn of(user: User) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        // Jobs reach the stand-in under uids that own nothing here.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let programs = programs();
        let _forking = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        for program in ["stap-worker", "stap-jail"] {
            fs::copy(programs.join(program), path.join(program)).unwrap();
        }
        write_program(&path.join("stand-in"), STAND_IN);
        for (name, mode) in [("cache", 0o700), ("temporary", 0o711)] {
            let directory = path.join(name);
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            if user == User::Ordinary && rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(&directory, Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
        }
        Self { directory, user }
    }

    /// Makes or replaces one of the programs.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let _forking = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        write_program(&self.path(name), script);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A configuration with the stand-in, and the shared-host policy with some values changed.
    pub(crate) fn configuration(&self, changes: &[(&str, &str)]) -> Configuration {
        Configuration {
            roots: vec![PathBuf::from("/")],
            releases: Vec::new(),
            arch: None,
            stap: Some(self.path("stand-in")),
            server_options: Vec::new(),
            policy: policy(changes),
            slots: 2,
            cache: self.path("cache"),
            temporary: self.path("temporary"),
            keep: false,
            hidden: Vec::new(),
        }
    }

    /// A worker that is ready.
    pub(crate) fn start(&self, configuration: Configuration) -> Worker {
        let mut worker = self.spawn(configuration);
        match worker.hear() {
            FromWorker::Ready(readiness) => worker.readiness = Some(readiness),
            other => panic!("the worker is not ready: {other:?}"),
        }
        worker
    }

    /// A worker that was configured and has not answered yet.
    pub(crate) fn spawn(&self, configuration: Configuration) -> Worker {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(self.path("stap-worker"));
        command
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if self.user == User::Ordinary && rustix::process::geteuid().is_root() {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        let mapping = FdMapping {
            parent_fd: OwnedFd::from(theirs),
            child_fd: 3,
        };
        command.fd_mappings(vec![mapping]).unwrap();
        let forking = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn().unwrap();
        drop((command, forking));
        let mut worker = Worker {
            child,
            socket,
            readiness: None,
            last: 0,
        };
        worker.say(&ToWorker::Configure(Box::new(configuration)));
        worker
    }
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) child: Child,
    socket: UnixStream,
    readiness: Option<Readiness>,
    last: u64,
}

impl Worker {
    pub(crate) fn readiness(&self) -> &Readiness {
        self.readiness.as_ref().unwrap()
    }

    pub(crate) fn say(&mut self, message: &ToWorker) {
        let message = postcard::to_stdvec(message).unwrap();
        let length = u32::try_from(message.len()).unwrap();
        self.socket.write_all(&length.to_be_bytes()).unwrap();
        self.socket.write_all(&message).unwrap();
    }

    pub(crate) fn hear(&mut self) -> FromWorker {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
        assert!(length <= MAX_FRAME);
        let mut message = vec![0; length];
        self.socket.read_exact(&mut message).unwrap();
        postcard::from_bytes(&message).unwrap()
    }

    /// A job whose stand-in runs a piece of shell.
    pub(crate) fn job(&self, shell: &str) -> Job {
        Job {
            request: "test".to_owned(),
            target: self.readiness().targets[0].name.clone(),
            arguments: vec![shell.as_bytes().to_vec()],
            files: Vec::new(),
            locale: Vec::new(),
            to_be_signed: false,
        }
    }

    pub(crate) fn submit(&mut self, job: Job) -> JobId {
        self.last += 1;
        let id = JobId(self.last);
        self.say(&ToWorker::Run {
            id,
            job: Box::new(job),
        });
        id
    }

    pub(crate) fn started(&mut self) -> JobId {
        match self.hear() {
            FromWorker::Started { id } => id,
            other => panic!("no job started, but {other:?}"),
        }
    }

    pub(crate) fn done(&mut self) -> (JobId, Report) {
        match self.hear() {
            FromWorker::Done {
                id,
                report,
                keeps_slot: false,
            } => (id, *report),
            other => panic!("no job is done, but {other:?}"),
        }
    }

    pub(crate) fn run(&mut self, job: Job) -> Report {
        let id = self.submit(job);
        assert_eq!(self.started(), id);
        let (done, report) = self.done();
        assert_eq!(done, id);
        report
    }

    pub(crate) fn run_shell(&mut self, shell: &str) -> Report {
        let job = self.job(shell);
        self.run(job)
    }

    /// Hangs up, and waits until the worker is gone.
    pub(crate) fn hang_up(mut self) -> std::process::ExitStatus {
        let pid = self.child.id();
        self.close();
        let mut status = None;
        until("the worker ends after its coordinator", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(bases_of(pid), [""; 0], "control groups are left");
        status.unwrap()
    }
}

impl Worker {
    fn close(&self) {
        // A worker that is gone already has closed its end, and that is fine.
        if let Err(error) = self.socket.shutdown(Shutdown::Both) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        self.child.wait().unwrap();
    }
}

/// Control groups of the worker with this pid.
pub(crate) fn bases_of(pid: u32) -> Vec<String> {
    let name = format!("stap-worker-{pid}");
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == *name {
                    found.push(entry.path().display().to_string());
                }
                directories.push(entry.path());
            }
        }
    }
    found
}

/// Processes on this host, in whatever namespace, whose command line holds `mark`.
pub(crate) fn processes_with(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| *name != own && name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|name| {
            let line = fs::read(Path::new("/proc").join(name).join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(mark)
        })
        .collect()
}

/// Polls until something holds; panics when it does not for far too long.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// The shared-host policy with the values of some keys changed.
fn policy(changes: &[(&str, &str)]) -> String {
    let changed = |line: &str| {
        let key = line.split_whitespace().next();
        let change = changes.iter().find(|(name, _)| Some(*name) == key);
        change.map_or_else(
            || line.to_owned(),
            |(name, value)| format!("{name} = {value}"),
        )
    };
    let lines: Vec<_> = stap_policy::builtin::SHARED_HOST
        .lines()
        .map(changed)
        .collect();
    lines.join("\n")
}

/// Where the programs are. Cargo builds ours for this test; the jail's it builds only when asked.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_stap-worker"))
            .parent()
            .unwrap();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "stap-jail"]);
        assert!(
            build.status().unwrap().success(),
            "stap-jail does not build"
        );
        directory.to_owned()
    })
}

/// Runs the first of the client's arguments as shell, so that a test can do in a jail what it
/// likes. The server's own arguments are in `$server`, the results' directory is `$results`.
const STAND_IN: &str = r#"#!/bin/sh
server=
while [ $# -gt 0 ] && [ "$1" != --client-options ]; do
    server="$server$1 "
    case $1 in --tmpdir=*) results=${1#--tmpdir=} ;; esac
    shift
done
[ $# -gt 0 ] || exit 0
shift
eval "$1"
"#;

/// Some user that has nothing.
pub(crate) const ORDINARY: u32 = 64_321;
/// Longer than anything here takes on a very busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
