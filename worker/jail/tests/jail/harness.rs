//! Starts real jails the way the worker does, and looks at what comes back.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use stap_jail::handover::{plan_descriptor, receive_workspace};
use stap_jail::layer::Layer;
use stap_jail::plan::{
    self, Access, Bind, GO, Identity, JailPlan, Limits, Place, View, Workspace, WorkspaceFile,
    descriptor,
};
use stap_jail::report::Event;
use tempfile::TempDir;

use crate::outcome::Outcome;

/// Who starts the launcher. Every promise is kept for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root, with a slot's uid for the job.
    Root,
    /// A user without any privilege.
    Ordinary,
}

/// A place on disk that both root and the job's user can reach, and the plan of one jail.
pub(crate) struct Trial {
    pub(crate) who: Who,
    pub(crate) uid: u32,
    pub(crate) plan: JailPlan,
    pub(crate) directory: TempDir,
}

/// A launcher that was told to go.
pub(crate) struct Running {
    pub(crate) launcher: Child,
    pub(crate) lifeline: Option<OwnedFd>,
    collector: OwnedFd,
    status: File,
    stdout: File,
    stderr: File,
    _directory: TempDir,
}

/// Those whom this test run can be: both if root runs it.
pub(crate) fn everybody() -> Vec<Who> {
    if is_root() {
        vec![Who::Root, Who::Ordinary]
    } else {
        vec![Who::Ordinary]
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Each trial has a user of its own, so that what is counted by user is counted by trial.
fn unused_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if is_root() {
        let own = std::process::id() % 1_000 * 100;
        FIRST_UID + own + NEXT.fetch_add(1, Ordering::Relaxed)
    } else {
        rustix::process::geteuid().as_raw()
    }
}

impl Trial {
    /// A jail with every layer around the attack program.
    pub(crate) fn new(who: Who, attack: &[&str]) -> Self {
        let uid = unused_uid();
        let directory = tempfile::Builder::new()
            .prefix("jail-")
            .tempdir_in("/var/tmp")
            .unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let program = reachable(&attack_program(), directory.path());
        let mut layers = BTreeSet::from(Layer::ALL);
        let identity = match who {
            Who::Root => Identity::Slot { uid, gid: uid },
            Who::Ordinary => Identity::Keep,
        };
        if identity == Identity::Keep {
            layers.remove(&Layer::SlotUid);
        }
        let bind = Bind {
            source: program.as_path().try_into().unwrap(),
            target: program.as_path().try_into().unwrap(),
            access: Access::ReadExecute,
        };
        let plan = JailPlan {
            layers,
            landlock_floor: 1,
            identity,
            view: View {
                root: "/".try_into().unwrap(),
                binds: vec![bind],
            },
            workspace: Workspace {
                place: Place::Tmpfs {
                    bytes: 16 << 20,
                    inodes: 500,
                },
                files: Vec::new(),
                links: Vec::new(),
            },
            limits: Limits {
                open_files: 256,
                processes: 64,
                file_bytes: 64 << 20,
                cpu: Duration::from_secs(60),
                address_space: None,
            },
            command: plan::Command {
                program: program.as_path().try_into().unwrap(),
                arguments: attack.iter().map(|word| word.as_bytes().to_vec()).collect(),
                environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
                directory: "/work".try_into().unwrap(),
            },
        };
        Self {
            who,
            uid,
            plan,
            directory,
        }
    }

    /// Runs a program of the host instead of the attack program.
    pub(crate) fn command(mut self, command: &[&str]) -> Self {
        self.plan.command.program = command[0].try_into().unwrap();
        let arguments = command[1..].iter();
        self.plan.command.arguments = arguments.map(|word| word.as_bytes().to_vec()).collect();
        self
    }

    /// Leaves only these layers, and the slot's uid.
    pub(crate) fn only(mut self, layers: &[Layer]) -> Self {
        let slot = self
            .plan
            .layers
            .contains(&Layer::SlotUid)
            .then_some(Layer::SlotUid);
        self.plan.layers = layers.iter().copied().chain(slot).collect();
        if !self.plan.layers.contains(&Layer::Mount) {
            let place = self.directory.path().join("workspace");
            fs::create_dir(&place).unwrap();
            self.give(&place);
            let place = place.as_path();
            self.plan.workspace.place = Place::Directory(place.try_into().unwrap());
            self.plan.command.directory = place.try_into().unwrap();
        }
        self
    }

    pub(crate) fn without(self, layer: Layer) -> Self {
        let mut layers: Vec<_> = self.plan.layers.iter().copied().collect();
        layers.retain(|kept| *kept != layer && !kept.needs().contains(&layer));
        self.only(&layers)
    }

    pub(crate) fn file(mut self, path: &str, content: &[u8]) -> Self {
        let path = path.try_into().unwrap();
        self.plan.workspace.files.push(WorkspaceFile {
            path,
            content: content.to_vec(),
        });
        self
    }

    /// A file that belongs to the job's user and that nobody else may read.
    pub(crate) fn secret(&self) -> PathBuf {
        let path = self.directory.path().join("secret");
        fs::write(&path, "the secret of another job").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        if is_root() {
            chown(path, Some(self.uid), Some(self.uid)).unwrap();
        }
    }

    /// The attack program, run outside any jail as the job's user.
    pub(crate) fn neighbour(&self, attack: &[&str]) -> Command {
        let mut command = Command::new(self.directory.path().join("attack"));
        command
            .args(attack)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if is_root() {
            command.uid(self.uid).gid(self.uid);
        }
        command
    }

    /// Starts the launcher and tells it to go.
    pub(crate) fn start(self) -> Running {
        let plan = plan_descriptor(&self.plan).unwrap();
        self.start_with(plan, &[GO])
    }

    pub(crate) fn start_with(self, plan: OwnedFd, word: &[u8]) -> Running {
        let (theirs, lifeline) = pipe();
        let (status, events) = pipe();
        let (stdout, job_stdout) = pipe();
        let (stderr, job_stderr) = pipe();
        let kind = SocketType::STREAM;
        let (collector, workspace) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let program = reachable(
            Path::new(env!("CARGO_BIN_EXE_stap-jail")),
            self.directory.path(),
        );
        let mut command = Command::new(program);
        command.env_clear().env("LEAKED", "from the worker");
        command
            .stdin(Stdio::piped())
            .stdout(job_stdout)
            .stderr(job_stderr);
        if self.who == Who::Ordinary && is_root() {
            command.uid(self.uid).gid(self.uid);
        }
        let leaked = File::open("/etc/hostname").unwrap();
        let handed = [
            (plan, descriptor::PLAN),
            (theirs, descriptor::LIFELINE),
            (events, descriptor::STATUS),
            (workspace, descriptor::WORKSPACE),
            (leaked.into(), LEAKED_DESCRIPTOR),
        ];
        let mappings = handed.map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command.fd_mappings(mappings.into()).unwrap();
        let launcher = command.spawn().unwrap();
        drop(command);
        File::from(lifeline.try_clone().unwrap())
            .write_all(word)
            .unwrap();
        Running {
            launcher,
            lifeline: Some(lifeline),
            collector,
            status: status.into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
            _directory: self.directory,
        }
    }

    /// Runs the jail to its end.
    pub(crate) fn run(self) -> Outcome {
        self.start().finish()
    }
}

impl Running {
    /// Reads from the job's stdout until it has said `word`.
    pub(crate) fn wait_for(&mut self, word: &str) {
        let mut said = Vec::new();
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(&said).contains(word) {
            wait_readable(&self.stdout);
            let count = self.stdout.read(&mut part).unwrap();
            assert!(
                count > 0,
                "the job ended and only said {:?}",
                String::from_utf8_lossy(&said)
            );
            said.extend_from_slice(&part[..count]);
        }
    }

    /// Waits for the end of the launcher and of everything that holds its descriptors.
    pub(crate) fn finish(mut self) -> Outcome {
        let stdout = read_to_end(&mut self.stdout);
        let stderr = read_to_end(&mut self.stderr);
        let mut bytes = read_to_end(&mut self.status);
        let mut events = Vec::new();
        while let Some(event) = Event::take(&mut bytes).unwrap() {
            events.push(event);
        }
        assert!(bytes.is_empty(), "half an event: {bytes:?}");
        self.launcher.wait().unwrap();
        Outcome {
            events,
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
            workspace: receive_workspace(&self.collector).unwrap(),
        }
    }
}

/// Waits until `what` holds, which something that already happened makes certain to come.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::yield_now();
    }
}

/// Processes that have `marker` among their arguments.
pub(crate) fn processes_with(marker: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap();
    let lines = entries.filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
    lines
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == marker.as_bytes())
        })
        .count()
}

fn read_to_end(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        wait_readable(file);
        match file.read(&mut part).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}

fn wait_readable(file: &File) {
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs().try_into().unwrap(),
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience)).unwrap();
    assert!(ready > 0, "nothing came from the jail within {PATIENCE:?}");
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// A copy of a program at a place where any user may execute it. Another process makes it: a file
/// that a fork of ours still has open for writing could not be executed.
pub(crate) fn reachable(program: &Path, directory: &Path) -> PathBuf {
    let copy = directory.join(program.file_name().unwrap());
    let copied = Command::new("cp").args([program, &copy]).status().unwrap();
    assert!(copied.success(), "{} cannot be copied", program.display());
    copy
}

/// Built by cargo as an example, beside the program under test.
pub(crate) fn attack_program() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_stap-jail")).parent().unwrap();
    beside.join("examples/attack")
}

/// A descriptor that the worker forgot to close.
pub(crate) const LEAKED_DESCRIPTOR: i32 = 9;
/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
const FIRST_UID: u32 = 200_000;
