//! `stap-stop-server PID`: makes sure that PID is a compile server and asks it to end.
//!
//! It neither waits nor checks that the server goes away.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rustix::io::Errno;

use crate::diagnostics::Diagnostics;
use crate::server_process::{ServerProcess, process_id};

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let diagnostics = Diagnostics::named(arguments.next().as_deref(), "stap-stop-server");
    let Some(pid) = arguments.next().filter(|pid| !pid.is_empty()) else {
        diagnostics.plain(format_args!("Usage: {} PROCESS_ID", diagnostics.program()));
        return ExitCode::FAILURE;
    };
    match stop(&pid) {
        Stop::Signalled => ExitCode::SUCCESS,
        // The status tells whether PID is a server, not whether it was ours to stop.
        Stop::NotPermitted => {
            diagnostics.plain(format_args!("{}: Operation not permitted", pid.display()));
            ExitCode::SUCCESS
        }
        Stop::NotAServer => {
            diagnostics.plain(format_args!("{} is not a systemtap server", pid.display()));
            ExitCode::FAILURE
        }
    }
}

enum Stop {
    Signalled,
    NotPermitted,
    NotAServer,
}

fn stop(text: &OsStr) -> Stop {
    let Some(server) = process_id(text.as_bytes()).and_then(ServerProcess::of) else {
        return Stop::NotAServer;
    };
    match server.ask_to_end() {
        Ok(()) => Stop::Signalled,
        Err(Errno::PERM) => Stop::NotPermitted,
        Err(_) => Stop::NotAServer,
    }
}
