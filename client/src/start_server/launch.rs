//! The life of a server until it says that it is ready.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group, setsid, umask};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::{ServerPid, StartError};
use crate::siblings;

/// Starts the server, passes its warnings on, and waits until it is ready.
pub(super) async fn launch(arguments: Vec<OsString>) -> Result<ServerPid, StartError> {
    let program = siblings::find("stap-serverd").ok_or(StartError::NoProgram)?;
    let mut server = Starting::spawn(&program, arguments).map_err(StartError::Spawn)?;
    let outcome = tokio::select! {
        outcome = timeout(DEADLINE, server.verdict()) => outcome.unwrap_or(Err(StartError::Late)),
        () = interrupt() => Err(StartError::Interrupted),
    };
    server.pass_warnings_on();
    match outcome {
        Ok(()) => Ok(server.pid),
        Err(error) => {
            server.kill().await;
            Err(error)
        }
    }
}

/// Leaves the caller's session and becomes the server; the second half of a start.
///
/// A new session needs a process that leads no group. Only a child can be sure of that, so the tool
/// runs itself once more under the name [`DETACHING`]. The process keeps its id through `exec`.
pub(crate) fn become_server(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = arguments.next() else {
        return ExitCode::FAILURE;
    };
    if let Err(error) = setsid() {
        complain(&format!(
            "cannot leave the session of the caller: {error}\n"
        ));
        return ExitCode::FAILURE;
    }
    umask(Mode::WGRP | Mode::WOTH);
    let error = std::process::Command::new(&program).args(arguments).exec();
    complain(&format!("cannot run {}: {error}\n", program.display()));
    ExitCode::FAILURE
}

/// A server that has not yet said whether it can serve.
struct Starting {
    pid: ServerPid,
    process: Child,
    /// One line: `ready PORT` or `failed REASON`.
    readiness: Receiver,
    /// The server's standard error until it is ready.
    warnings: Receiver,
}

impl Starting {
    fn spawn(program: &Path, arguments: Vec<OsString>) -> io::Result<Self> {
        let (readiness, tell_readiness) = pipe_with(PipeFlags::CLOEXEC)?;
        let (warnings, tell_warnings) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(DETACHING)
            .arg(program)
            .args(with_ready_fd(arguments));
        // The server is started where the caller is, since file names on its command line may be
        // relative; it goes to `/` by itself when it has resolved them.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(tell_warnings);
        command
            .fd_mappings(vec![FdMapping {
                parent_fd: tell_readiness,
                child_fd: READY_FD,
            }])
            .map_err(io::Error::other)?;
        let process = command.spawn()?;
        Ok(Self {
            pid: ServerPid(
                process
                    .id()
                    .expect("a child that was not waited for has an id"),
            ),
            process,
            readiness: Receiver::from_owned_fd(readiness)?,
            warnings: Receiver::from_owned_fd(warnings)?,
        })
        // The command and its copies of the writing ends are dropped here, so that the end of the
        // server closes the pipes.
    }

    async fn verdict(&mut self) -> Result<(), StartError> {
        let mut word = Vec::new();
        loop {
            let mut warnings = [0; CHUNK];
            let mut buffer = [0; CHUNK];
            tokio::select! {
                read = self.readiness.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return verdict_of(&word).unwrap_or(Err(StartError::Silent)),
                    Ok(count) => word.extend_from_slice(&buffer[..count]),
                },
                Ok(count @ 1..) = self.warnings.read(&mut warnings) => {
                    pass_on(&warnings[..count]);
                }
                status = self.process.wait() => {
                    return self.last_word(word).unwrap_or_else(|| {
                        Err(status.map_or_else(StartError::Spawn, StartError::Ended))
                    });
                }
            }
            if word.contains(&b'\n') || word.len() > MAX_WORD {
                return verdict_of(&word).unwrap_or(Err(StartError::Silent));
            }
        }
    }

    /// A server that failed says why and ends; its end may be noticed before its word.
    fn last_word(&mut self, mut word: Vec<u8>) -> Option<Result<(), StartError>> {
        let mut buffer = [0; MAX_WORD];
        if let Ok(count) = self.readiness.try_read(&mut buffer) {
            word.extend_from_slice(&buffer[..count]);
        }
        // A server that has ended is not ready, whatever it said.
        verdict_of(&word).filter(Result::is_err)
    }

    /// What the server wrote before it was ready is in the pipe by now. What it writes later is for
    /// its log: the pipe has no reader when this process has ended.
    fn pass_warnings_on(&mut self) {
        let mut budget = MAX_WARNINGS;
        let mut buffer = [0; CHUNK];
        while budget > 0
            && let Ok(count @ 1..) = rustix::io::read(&self.warnings, &mut buffer)
        {
            pass_on(&buffer[..count]);
            budget = budget.saturating_sub(count);
        }
    }

    /// Ends everything that was started: the server leads a session and a group of its own.
    async fn kill(&mut self) {
        if let Some(group) = self
            .process
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
        {
            // The child is not reaped yet, so the number still means this group. It does not exist
            // while the child has not come to its own session: then the child alone is killed.
            kill_process_group(group, Signal::KILL).unwrap_or(());
        }
        // It may have ended by itself meanwhile, which is as good.
        self.process.kill().await.unwrap_or(());
    }
}

/// The first word of the 2009 form is a port, and must stay the first.
fn with_ready_fd(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let positional = arguments.first().is_some_and(|first| {
        !first.is_empty() && first.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    });
    let at = if positional { arguments.len() } else { 0 };
    arguments.insert(at, format!("--ready-fd={READY_FD}").into());
    arguments
}

fn verdict_of(word: &[u8]) -> Option<Result<(), StartError>> {
    let word = String::from_utf8_lossy(word);
    let line = word.lines().next()?;
    if line.starts_with("ready") {
        return Some(Ok(()));
    }
    line.strip_prefix("failed")
        .map(|reason| Err(StartError::Refused(reason.trim().to_owned())))
}

async fn interrupt() {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        // Without a handler the signal ends this process as it ends any other.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hangup.recv() => (),
    }
}

fn pass_on(bytes: &[u8]) {
    // When standard error is gone there is nobody left to tell.
    io::stderr().write_all(bytes).unwrap_or(());
}

fn complain(text: &str) {
    pass_on(text.as_bytes());
}

/// The name under which the tool runs itself to become the server.
pub(super) const DETACHING: &str = "stap-start-server: detaching";

/// First starts make a key, which takes seconds on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

const READY_FD: i32 = 3;
const CHUNK: usize = 4096;
const MAX_WORD: usize = 4096;
const MAX_WARNINGS: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Vec<OsString> {
        texts.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_port_in_first_place_stays_there() {
        let added = |texts: &[&str]| with_ready_fd(words(texts));
        assert_eq!(added(&[]), words(&["--ready-fd=3"]));
        assert_eq!(
            added(&["--port", "7"]),
            words(&["--ready-fd=3", "--port", "7"])
        );
        assert_eq!(
            added(&["65000", "db"]),
            words(&["65000", "db", "--ready-fd=3"])
        );
        assert_eq!(added(&[""]), words(&["--ready-fd=3", ""]));
    }

    #[test]
    fn only_the_words_of_the_pipe_are_a_verdict() {
        assert!(matches!(verdict_of(b"ready 1234\n"), Some(Ok(()))));
        assert!(verdict_of(b"").is_none());
        assert!(verdict_of(b"perhaps\n").is_none());
        match verdict_of(b"failed the port is busy\nmore\n") {
            Some(Err(StartError::Refused(reason))) => assert_eq!(reason, "the port is busy"),
            other => panic!("the reason was read as {other:?}"),
        }
    }
}
