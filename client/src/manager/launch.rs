//! Starts one server as the user whose it shall be.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, geteuid};
use stap_certs::account::{self, Account};

use super::places::SERVICE;
use super::settings::{Setting, Settings};
use crate::diagnostics::Diagnostics;
use crate::server_process::process_id;
use crate::{siblings, start_server};

/// Why a server was not started. What the server itself said has been passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("the server said why")]
    Server,
    #[error("there is no account '{0}'; make it, or name another user with -u")]
    NoAccount(String),
    #[error(
        "a server does not run as root; name another user with -u, or make the account {SERVICE}"
    )]
    Root,
    #[error("only root can start a server as '{0}'; run this as root or as that user")]
    NotRoot(String),
    #[error(
        "'{0}' is not in the group {SERVICE}, whose members servers may run as; add it with \
         `usermod -aG {SERVICE} {0}`"
    )]
    NotMember(String),
    #[error("the log's directory {path} cannot be made: {source}")]
    Log { path: String, source: io::Error },
    #[error("stap-start-server is neither beside this program nor in PATH")]
    NoProgram,
    #[error("stap-start-server cannot be run: {0}")]
    Start(#[source] io::Error),
    #[error("stap-start-server printed no process id")]
    NoPid,
}

/// Starts a server and returns its process.
///
/// # Errors
/// Why there is none.
pub(super) fn launch(
    settings: &Settings,
    user: Option<&str>,
    diagnostics: &Diagnostics,
) -> Result<Pid, LaunchError> {
    let account = user.map(account_for).transpose()?.flatten();
    if account.is_none() && geteuid().is_root() {
        return Err(LaunchError::Root);
    }
    if let Some(log) = settings.one(Setting::Log) {
        make_directory_of(Path::new(log), account.as_ref())?;
    }
    let arguments = settings.arguments();
    let Some(account) = account else {
        let started = start_server::start(arguments, diagnostics);
        let pid = started.map_err(|_was_said| LaunchError::Server)?;
        return process_id(pid.to_string().as_bytes()).ok_or(LaunchError::NoPid);
    };
    let program = siblings::find("stap-start-server").ok_or(LaunchError::NoProgram)?;
    let output = as_account(Command::new(program).args(arguments), &account)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(LaunchError::Start)?;
    if !output.status.success() {
        return Err(LaunchError::Server);
    }
    process_id(output.stdout.trim_ascii()).ok_or(LaunchError::NoPid)
}

/// The account to change to; `None` when it is the one that runs already.
fn account_for(name: &str) -> Result<Option<Account>, LaunchError> {
    let own = geteuid();
    if account::name(own.as_raw()) == name && !own.is_root() {
        return Ok(None);
    }
    let account = Account::named(name).ok_or_else(|| LaunchError::NoAccount(name.to_owned()))?;
    if account.uid == 0 || account.gid == 0 {
        return Err(LaunchError::Root);
    }
    if !own.is_root() {
        return Err(LaunchError::NotRoot(account.name));
    }
    if account.name != SERVICE && !account.belongs_to(SERVICE) {
        return Err(LaunchError::NotMember(account.name));
    }
    Ok(Some(account))
}

/// With that account's ids, no group of root's, and nothing of root's environment.
fn as_account<'a>(command: &'a mut Command, account: &Account) -> &'a mut Command {
    command
        .uid(account.uid)
        .gid(account.gid)
        .current_dir("/")
        .env_clear()
        .env("HOME", &account.home)
        .env("USER", &account.name)
        .env("LOGNAME", &account.name)
        .env("PATH", SAFE_PATH);
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn make_directory_of(log: &Path, owner: Option<&Account>) -> Result<(), LaunchError> {
    let Some(directory) = log.parent().filter(|directory| !directory.exists()) else {
        return Ok(());
    };
    let made = (|| {
        if let Some(above) = directory.parent() {
            fs::create_dir_all(above)?;
        }
        DirBuilder::new().mode(0o755).create(directory)?;
        if let Some(owner) = owner {
            chown(directory, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(())
    })();
    made.map_err(|source| LaunchError::Log {
        path: directory.display().to_string(),
        source,
    })
}

const SAFE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What an administrator may set for servers that he starts.
const PASSED_ON: [&str; 3] = ["SYSTEMTAP_STAP", "TMPDIR", "LANG"];
