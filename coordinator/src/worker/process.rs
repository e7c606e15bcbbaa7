//! Starts `stap-worker` and hears from it what it can do.
//!
//! This happens once, before this process has a second thread and before it has read a foreign byte;
//! nothing is started ever after. The worker stays in a process group of its own: a Ctrl-C on the
//! terminal asks the server to stop, and the server then stops the worker in good order.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use stap_protocol::examination::{Examination, Question};
use stap_protocol::job::{Configuration, FromWorker, Readiness, ToWorker, Warming};
use stap_protocol::target::TargetName;

use super::introduction::{BrokenOff, introduce};

/// A worker that has said what it serves.
#[derive(Debug)]
pub struct Spawned {
    /// The program.
    pub process: Program,
    /// The conversation with it.
    pub socket: UnixStream,
    /// What it writes for the log.
    pub stderr: ChildStderr,
    /// What it serves, and how jobs are confined.
    pub readiness: Readiness,
}

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither beside this program nor in PATH.
    #[error("{program} is not installed: it is expected beside {}", here.display())]
    Missing {
        /// The program.
        program: &'static str,
        /// This one.
        here: PathBuf,
    },
    /// It could not be started.
    #[error("{} cannot be started: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel gives no hold on it.
    #[error("{0} cannot be watched: {1}; a kernel of Linux 5.4 or newer is needed")]
    Watch(&'static str, rustix::io::Errno),
    /// It ended or broke off before it was ready.
    #[error("{program} ended before it was ready ({ended}; {source}): {last_line}")]
    BrokeOff {
        /// The program.
        program: &'static str,
        /// How it ended.
        ended: String,
        /// What reading from it gave.
        source: io::Error,
        /// The last line that it wrote, which most likely says why.
        last_line: String,
    },
    /// It said that it cannot work.
    #[error("{0}")]
    NotReady(String),
    /// It answered something else.
    #[error(
        "stap-worker or stap-signer does not speak our language; install them and stap-serverd of the same version"
    )]
    Language,
}

/// Starts the worker and waits until it is ready.
///
/// # Errors
/// When there is no worker, or it cannot work under this configuration.
pub fn start(configuration: Configuration) -> Result<Spawned, StartError> {
    let (asked, answer) = ask(&ToWorker::Configure(Box::new(configuration)))?;
    match answer {
        FromWorker::Ready(readiness) => Ok(Spawned {
            process: Program::new(NAME, asked.child)?,
            socket: asked.socket,
            stderr: asked.stderr,
            readiness,
        }),
        FromWorker::NotReady { reason } => Err(StartError::NotReady(reason)),
        _ => Err(StartError::Language),
    }
}

/// Starts a worker that looks at this host, and waits until it has ended.
///
/// # Errors
/// When there is no worker, or it cannot look.
pub fn examine(question: Question) -> Result<Examination, StartError> {
    let (asked, answer) = ask(&ToWorker::Examine(Box::new(question)))?;
    asked.end();
    match answer {
        FromWorker::Examined(examination) => Ok(*examination),
        FromWorker::NotReady { reason } => Err(StartError::NotReady(reason)),
        _ => Err(StartError::Language),
    }
}

/// A worker that serves nobody, and is asked one thing after the other.
#[derive(Debug)]
pub struct Conversation(Asked);

impl Conversation {
    /// Starts the worker and waits until it has said what it could serve.
    ///
    /// # Errors
    /// When there is no worker, or it cannot work under this configuration.
    pub fn begin(configuration: Configuration) -> Result<(Self, Readiness), StartError> {
        let (asked, answer) = ask(&ToWorker::Configure(Box::new(configuration)))?;
        match answer {
            FromWorker::Ready(readiness) => Ok((Self(asked), readiness)),
            FromWorker::NotReady { reason } => Err(StartError::NotReady(reason)),
            _ => Err(StartError::Language),
        }
    }

    /// Has it do the next piece of work for a target, and waits until that is done.
    ///
    /// # Errors
    /// When the worker is gone.
    pub fn warm(&mut self, target: TargetName, guru: bool) -> Result<Warming, StartError> {
        let asked = &mut self.0;
        let question = ToWorker::Warm { target, guru };
        match introduce(&asked.socket, &mut asked.stderr, &question) {
            Ok(FromWorker::Warmed(warming)) => Ok(warming),
            Ok(_) => Err(StartError::Language),
            Err(BrokenOff { source, last_line }) => Err(StartError::BrokeOff {
                program: NAME,
                ended: "while it worked".to_owned(),
                source,
                last_line,
            }),
        }
    }

    /// Lets it go, and waits until nothing of it is left.
    pub fn end(self) {
        self.0.end();
    }
}

/// A worker that has answered.
#[derive(Debug)]
struct Asked {
    child: Child,
    socket: UnixStream,
    stderr: ChildStderr,
}

impl Asked {
    /// The end of the conversation makes a worker exit that has not done so by itself.
    fn end(mut self) -> String {
        drop(self.socket);
        self.child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

fn ask(first: &ToWorker) -> Result<(Asked, FromWorker), StartError> {
    let program = find(NAME)?;
    let (socket, theirs) = UnixStream::pair().map_err(|source| StartError::Spawn {
        program: program.clone(),
        source,
    })?;
    let mut child =
        spawn(&program, theirs.into()).map_err(|source| StartError::Spawn { program, source })?;
    let stderr = child.stderr.take().expect("the worker's stderr is a pipe");
    let mut asked = Asked {
        child,
        socket,
        stderr,
    };
    match introduce(&asked.socket, &mut asked.stderr, first) {
        Ok(answer) => Ok((asked, answer)),
        Err(BrokenOff { source, last_line }) => Err(StartError::BrokeOff {
            program: NAME,
            ended: asked.end(),
            source,
            last_line,
        }),
    }
}

/// Beside this program, else in PATH, as all our programs find each other.
pub(crate) fn find(program: &'static str) -> Result<PathBuf, StartError> {
    let here = std::env::current_exe().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = here.parent().map(Path::to_owned);
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).filter(|directory| directory.is_absolute()))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(StartError::Missing { program, here })
}

fn spawn(program: &Path, socket: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .current_dir("/");
    command
        .fd_mappings(vec![FdMapping {
            parent_fd: socket,
            child_fd: SOCKET,
        }])
        .expect("a single mapping cannot collide");
    command.spawn()
}

/// One message, without its length.
pub(super) fn encode(message: &ToWorker) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(io::Error::other)
}

/// The process of a program that this one started.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Child,
    process: OwnedFd,
}

impl Program {
    /// The descriptor stands for this very process, also after its number was given away. It is opened
    /// now, because a server that serves may not open any.
    pub(crate) fn new(name: &'static str, child: Child) -> Result<Self, StartError> {
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        Ok(Self {
            name,
            process: process.map_err(|errno| StartError::Watch(name, errno))?,
            child,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until it has ended, for at most `patience`; then ends it.
    ///
    /// # Errors
    /// When the kernel does not let us wait.
    pub async fn end(mut self, patience: Duration) -> io::Result<ExitStatus> {
        let name = self.name;
        let mut ended = tokio::task::spawn_blocking(move || self.child.wait());
        if let Ok(ended) = tokio::time::timeout(patience, &mut ended).await {
            return ended.map_err(io::Error::other)?;
        }
        tracing::warn!("{name} does not end by itself and is killed");
        pidfd_send_signal(&self.process, Signal::KILL)?;
        ended.await.map_err(io::Error::other)?
    }
}

const NAME: &str = "stap-worker";
/// Where the worker expects its end of the socket pair.
const SOCKET: i32 = 3;
