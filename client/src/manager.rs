//! `stap-server ACTION [OPTIONS]`: the manager of several servers.
//!
//! It remembers what it has started in one file for each server, and is otherwise
//! `stap-start-server` and `stap-stop-server` for many: from [`arguments`] and [`places`] to
//! [`actions`].

mod actions;
mod arguments;
mod launch;
mod places;
mod registry;
mod settings;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::actions::Manager;
use self::arguments::{Action, CommandLine, Description};
use self::places::Places;
use self::settings::{InvalidLine, Setting};
use crate::diagnostics::{Diagnostics, print_result};
use crate::start_server;

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let argv0 = arguments.next();
    if start_server::is_second_half(argv0.as_deref()) {
        return start_server::become_server(arguments);
    }
    let diagnostics = Diagnostics::named(argv0.as_deref(), "stap-server");
    let line = match CommandLine::parse(arguments) {
        Ok(line) => line,
        Err(error) => {
            diagnostics.plain(format_args!("Error: Argument parse error: {error}\n{HELP}"));
            return ExitCode::from(2);
        }
    };
    if line.action == Action::Usage {
        return match print_result(HELP.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_full_disk) => ExitCode::FAILURE,
        };
    }
    match manage(line, &diagnostics) {
        Ok(outcome) => ExitCode::from(outcome.status()),
        Err(failure) => {
            diagnostics.plain(failure);
            ExitCode::FAILURE
        }
    }
}

fn manage(line: CommandLine, diagnostics: &Diagnostics) -> Result<Outcome, Failure> {
    // Nicknames are looked for where the configuration says, so all of it is read first.
    let places = Places::discover(&line.configurations)?;
    let servers = line.servers.into_iter().map(with_absolute_files);
    let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
    let manager = Manager {
        places: &places,
        diagnostics,
    };
    manager.perform(line.action, &servers)
}

/// A restart may come from another directory.
fn with_absolute_files(description: Description) -> Result<Description, Failure> {
    let changes = description.changes.map(|setting: Setting, value| {
        if !setting.names_a_file(&value) {
            return Ok(value);
        }
        let absolute = std::path::absolute(&value).map_err(|_gone| Failure::NoDirectory(value))?;
        Ok(absolute.display().to_string())
    })?;
    Ok(Description {
        changes,
        ..description
    })
}

/// What came of an action, the worst for several servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// A server did not start or stop, or was started and has died.
    Failed,
    /// Nothing failed, but something does not run.
    NotRunning,
}

impl Outcome {
    /// As the Linux Standard Base has it for programs of this kind.
    const fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotRunning => 3,
        }
    }

    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotRunning, _) | (_, Self::NotRunning) => Self::NotRunning,
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Done, Self::Done) => Self::Done,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Done => "OK",
            Self::Failed | Self::NotRunning => "FAILED",
        }
    }
}

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{what}, in {}", file.display())]
    Invalid { what: InvalidLine, file: PathBuf },
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error(
        "{} decides what is started, and others can write to it; give it to root or yourself and \
         remove the others' right with `chmod go-w`", .0.display()
    )]
    Untrusted(PathBuf),
    #[error(
        "the state of servers cannot be kept in {}: {source}; set STAT_PATH in a configuration, \
         or run this as root", directory.display()
    )]
    States {
        directory: PathBuf,
        source: io::Error,
    },
    #[error("No stap-server running as pid {0}")]
    NoSuchPid(u32),
    #[error("No configuration found for the nickname '{}'", .0.escape_debug())]
    NoSuchNickname(String),
    #[error("the server {0} has ended at once; its log says why")]
    DiedAtOnce(i32),
    #[error("{0}")]
    Home(String),
    #[error("this host's kernel cannot be named: {0}")]
    Host(String),
    #[error("the current directory is gone, so {0} cannot be found; use absolute paths")]
    NoDirectory(String),
    #[error("the result cannot be printed: {0}")]
    Stdout(io::Error),
}

impl Failure {
    fn invalid(line: &str, file: &Path) -> Self {
        InvalidLine::new(line).in_file(file)
    }

    fn unreadable(file: &Path, source: &io::Error) -> Self {
        Self::Unreadable {
            file: file.to_owned(),
            source: io::Error::new(source.kind(), source.to_string()),
        }
    }

    fn states(directory: &Path, source: io::Error) -> Self {
        Self::States {
            directory: directory.to_owned(),
            source,
        }
    }
}

impl InvalidLine {
    fn in_file(self, file: &Path) -> Failure {
        Failure::Invalid {
            what: self,
            file: file.to_owned(),
        }
    }
}

const HELP: &str = include_str!("manager/help.txt");
