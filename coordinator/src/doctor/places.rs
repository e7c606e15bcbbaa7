//! The directories of a server: the cache, the databases, and what is temporary.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, Uid, access};

use stap_certs::{ClientDatabase, DatabaseError, Environment, OwnerRule, Paths, ServerDatabase};
use stap_protocol::job::Configuration;

use super::{Finding, State};
use crate::confine::Account;
use crate::options::Options;
use crate::settings::{absolute, results_beside};

pub(super) fn findings(
    options: &Options,
    environment: &Environment,
    configuration: &Configuration,
) -> Vec<Finding> {
    let mut findings = vec![
        private(
            "cache",
            &configuration.cache,
            State::Bad,
            "no server starts",
        ),
        private(
            "results",
            &results_beside(&configuration.cache),
            State::Warn,
            "results are not kept",
        ),
        temporary(&configuration.temporary),
    ];
    match Paths::discover(environment) {
        Ok(paths) => {
            let named = options
                .database
                .as_deref()
                .and_then(|path| absolute(path).ok());
            let server = named.as_deref().unwrap_or_else(|| paths.server());
            findings.push(database(
                "server database",
                server,
                ServerDatabase::examine(server),
            ));
            let client = paths.own_client();
            let opened = match ClientDatabase::open(client, OwnerRule::EffectiveUser) {
                Ok(opened) => Ok(Some(opened.warnings)),
                Err(DatabaseError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            };
            findings.push(database("client database", client, opened));
        }
        Err(error) => findings.push(Finding::new(
            "databases",
            State::Bad,
            error.to_string(),
            "set HOME, or name one with --ssl",
        )),
    }
    findings
}

/// A directory that nobody but the server may reach; where it is otherwise, `consequence`.
fn private(
    name: &'static str,
    directory: &Path,
    state: State,
    consequence: &'static str,
) -> Finding {
    let shown = directory.display();
    let metadata = match fs::symlink_metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::ok(name, format!("{shown} is not there yet and will be made"));
        }
        Err(error) => {
            return Finding::new(
                name,
                state,
                format!("{shown}: {error}; {consequence}"),
                "make it accessible to the server's user",
            );
        }
    };
    let own = rustix::process::geteuid();
    // What root's server keeps belongs to the account that it becomes.
    let account = Account::of_service().ok().flatten();
    let account = account.filter(|_| own.is_root()).map(|account| account.uid);
    let owner = Uid::from_raw(metadata.uid());
    let ours = owner == own || Some(owner) == account;
    if metadata.is_dir() && ours && metadata.mode() & 0o077 == 0 {
        return Finding::ok(name, format!("{shown} is the server's alone"));
    }
    Finding::new(
        name,
        state,
        format!(
            "{shown} is not a directory of the server's user that is closed to everybody else; {consequence}"
        ),
        format!("chown it to the server's user and chmod 700 {shown}, or remove it"),
    )
}

fn temporary(directory: &Path) -> Finding {
    let (name, shown) = ("temporary files", directory.display());
    if !directory.is_dir() || access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Finding::new(
            name,
            State::Warn,
            format!("{shown} is not a directory that this user can write to"),
            "set TMPDIR to one",
        );
    }
    let free = rustix::fs::statvfs(directory)
        .map(|room| room.f_bavail.saturating_mul(room.f_frsize) >> 20);
    match free {
        Ok(free) => Finding::ok(name, format!("{shown}, {free} MiB free")),
        Err(error) => Finding::note(name, format!("{shown}: {error}")),
    }
}

fn database(
    name: &'static str,
    path: &Path,
    examined: Result<Option<Vec<String>>, DatabaseError>,
) -> Finding {
    let shown = path.display();
    match examined {
        Ok(None) => Finding::ok(name, format!("{shown} is not there yet and will be made")),
        Ok(Some(warnings)) if warnings.is_empty() => {
            Finding::ok(name, format!("{shown} has safe modes"))
        }
        Ok(Some(warnings)) => Finding::new(
            name,
            State::Warn,
            warnings.join("; "),
            "correct what is named",
        ),
        Err(error) => {
            let lines = error.lines();
            let first = lines.first().map(String::as_str).unwrap_or_default();
            // A line may have a second row that says what to do.
            let (what, remedy) = first.split_once('\n').unwrap_or((first, "correct that"));
            let more = lines.len().saturating_sub(2);
            let more = if more == 0 {
                String::new()
            } else {
                format!(", and {more} more faults")
            };
            Finding::new(
                name,
                State::Bad,
                format!("{what}{more}; no server starts"),
                remedy.trim().trim_start_matches("try: "),
            )
        }
    }
}
