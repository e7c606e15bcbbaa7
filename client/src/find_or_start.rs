//! `stap-find-or-start-server [SERVERD-OPTIONS]`: makes sure that there is a compatible server.
//!
//! Prints `0` when one was found, the process id when one was started, `-1` when neither; its exit
//! status is 0 in all cases.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::diagnostics::{Diagnostics, print_result};
use crate::discovery::{self, Patience};
use crate::host::Host;
use crate::start_server;

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let argv0 = arguments.next();
    if start_server::is_second_half(argv0.as_deref()) {
        return start_server::become_server(arguments);
    }
    let diagnostics = Diagnostics::named(argv0.as_deref(), "stap-find-or-start-server");
    let answer = if a_compatible_server_is_announced() {
        "0".to_owned()
    } else {
        match start_server::start(arguments.collect(), &diagnostics) {
            Ok(pid) => pid.to_string(),
            Err(_) => "-1".to_owned(),
        }
    };
    // The status is 0 by promise, also when there is nowhere to print.
    print_result(format!("{answer}\n").as_bytes()).unwrap_or(());
    ExitCode::SUCCESS
}

/// Decided from announcements alone: whether this user trusts the server is not asked.
fn a_compatible_server_is_announced() -> bool {
    let Ok(host) = Host::this() else {
        return false;
    };
    discovery::search(Patience::UntilOneOf(&|one| {
        host.is_served_by(&one.announcement)
    }))
    .is_ok_and(|servers| {
        servers
            .iter()
            .any(|one| host.is_served_by(&one.announcement))
    })
}
