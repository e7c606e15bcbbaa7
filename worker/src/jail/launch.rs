//! Starts the launcher and holds the descriptors that lead to it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use stap_jail::handover::{self, HandoverError};
use stap_jail::plan::{self, JailPlan, descriptor};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::events::Events;

/// A launcher that waits for the word to start.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) child: Child,
    pub(super) pid: Pid,
    pub(super) lifeline: Lifeline,
    pub(super) events: Events,
    pub(super) workspace: OwnedFd,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// Holding it keeps the job alive; dropping it kills the job, also when that happens because this
/// process dies.
#[derive(Debug)]
pub(super) struct Lifeline(File);

/// Why the launcher could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The plan was refused before anything happened.
    #[error(transparent)]
    Plan(#[from] HandoverError),
    /// There are no descriptors or processes left, or the program is gone.
    #[error("starting stap-jail")]
    Start(#[from] io::Error),
}

impl Launch {
    pub(super) fn start(program: &Path, plan: &JailPlan) -> Result<Self, LaunchError> {
        let memory = handover::plan_descriptor(plan)?;
        let (their_lifeline, lifeline) = pipe_pair()?;
        let (status, their_status) = pipe_pair()?;
        let (workspace, their_workspace) = socket_pair()?;
        // What has not been sent when we look is not waited for.
        rustix::io::ioctl_fionbio(&workspace, true).map_err(io::Error::from)?;
        let mut command = Command::new(program);
        // A group of its own: what a terminal sends to the server's group is not for the jobs.
        command
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mapping = |parent_fd, child_fd| FdMapping {
            parent_fd,
            child_fd,
        };
        let mappings = vec![
            mapping(memory, descriptor::PLAN),
            mapping(their_lifeline, descriptor::LIFELINE),
            mapping(their_status, descriptor::STATUS),
            mapping(their_workspace, descriptor::WORKSPACE),
        ];
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let mut child = command.spawn()?;
        // The command still holds the launcher's ends; events would never end.
        drop(command);
        let gone = || io::Error::other("stap-jail ended at once");
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(Self {
            pid: pid.ok_or_else(gone)?,
            lifeline: Lifeline(File::from(lifeline)),
            events: Events::of(pipe::Receiver::from_owned_fd(status)?),
            workspace,
            stdout: child.stdout.take().ok_or_else(gone)?,
            stderr: child.stderr.take().ok_or_else(gone)?,
            child,
        })
    }
}

impl Lifeline {
    /// Lets the launcher start; it is in its control group by now.
    pub(super) fn go(&mut self) -> io::Result<()> {
        // One byte always fits into an empty pipe, so this cannot block.
        self.0.write_all(&[plan::GO])
    }
}

fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = (
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
    );
    Ok(rustix::net::socketpair(kind.0, kind.1, kind.2, None)?)
}
