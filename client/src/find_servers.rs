//! `stap-find-servers [--all]`: lists the servers that announce themselves on the local network.

use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;

use crate::diagnostics::{Diagnostics, print_result};
use crate::discovery::{self, Patience, Server};
use crate::host::Host;

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let diagnostics = Diagnostics::named(arguments.next().as_deref(), "stap-find-servers");
    // Everything but `--all` is ignored, by promise.
    let all = arguments.any(|argument| argument == "--all");
    match list(all) {
        Ok(lines) if lines.is_empty() => ExitCode::FAILURE,
        Ok(lines) => match print_result(lines.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                diagnostics.error(format_args!("the list cannot be written: {error}"));
                ExitCode::FAILURE
            }
        },
        Err(reason) => {
            diagnostics.error(reason);
            ExitCode::FAILURE
        }
    }
}

fn list(all: bool) -> Result<String, String> {
    let host = Host::this().map_err(|error| error.to_string())?;
    let fits = |server: &Server| all || host.is_served_by(&server.announcement);
    let servers = discovery::search(Patience::UntilComplete).map_err(|error| error.to_string())?;
    let mut lines = String::new();
    for server in servers.iter().filter(|server| fits(server)) {
        writeln!(lines, "{server}").expect("a String accepts every write");
    }
    Ok(lines)
}
