//! `stap-start-server [SERVERD-OPTIONS]`: starts a `stap-serverd` that outlives the caller.
//!
//! Started means listening and announced: the server says so through a pipe, and only then its
//! process id is printed. Anything else leaves nothing running.

mod launch;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::process::ExitCode;

pub(crate) use self::launch::become_server;
use rustix::process::{Pid, Signal, kill_process};

use crate::diagnostics::{Diagnostics, print_result};

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let argv0 = arguments.next();
    if is_second_half(argv0.as_deref()) {
        return become_server(arguments);
    }
    let diagnostics = Diagnostics::named(argv0.as_deref(), "stap-start-server");
    match start(arguments.collect(), &diagnostics) {
        Ok(pid) => match print_result(format!("{pid}\n").as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // A failed start leaves no server behind that nobody knows how to stop.
                pid.stop();
                diagnostics.plain(format_args!(
                    "Unable to start a systemtap server: its process id cannot be written: {error}"
                ));
                ExitCode::FAILURE
            }
        },
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether this process was started by [`start`] to become the server.
pub(crate) fn is_second_half(argv0: Option<&OsStr>) -> bool {
    argv0 == Some(OsStr::new(launch::DETACHING))
}

/// Starts a server with these arguments, saying on standard error why when it cannot.
///
/// # Errors
///
/// Why there is no server now. It has been said.
pub(crate) fn start(
    arguments: Vec<OsString>,
    diagnostics: &Diagnostics,
) -> Result<ServerPid, StartError> {
    let started = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
        .and_then(|runtime| runtime.block_on(launch::launch(arguments)));
    started.inspect_err(|error| {
        diagnostics.plain(format_args!("Unable to start a systemtap server: {error}"));
    })
}

/// The process to give to `stap-stop-server`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerPid(u32);

impl ServerPid {
    /// Asks the server to end. Nobody has waited for it yet, so the number is still its own.
    fn stop(self) {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).unwrap_or(());
        }
    }
}

impl fmt::Display for ServerPid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why no server was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("this process cannot wait for a server: {0}")]
    Runtime(#[source] io::Error),
    #[error("stap-serverd did not start: it is neither beside this program nor in PATH")]
    NoProgram,
    #[error("stap-serverd did not start: {0}")]
    Spawn(#[source] io::Error),
    #[error("stap-serverd did not start: it ended before it was ready ({0})")]
    Ended(std::process::ExitStatus),
    #[error("stap-serverd did not start: it ended before it was ready; what it said is above")]
    Silent,
    #[error("{0}")]
    Refused(String),
    #[error("stap-serverd did not start: it was not ready within {} s", launch::DEADLINE.as_secs())]
    Late,
    #[error("interrupted")]
    Interrupted,
}
