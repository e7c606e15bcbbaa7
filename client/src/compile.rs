//! `stap-client`: has a server run passes 1 to 4, and runs the module here.
//!
//! This file is the order of work; each step lives in a module of its own.

mod choice;
mod command_line;
mod cpu_time;
mod exchange;
mod firmware;
mod one;
mod package;
mod privilege;
mod progress;
mod replay;
mod scratch;
mod several;
mod signals;
mod sources;
mod staprun;
mod trust;
mod wanted;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use stap_certs::{Environment, Paths, PathsError};
use stap_protocol::options::Order;
use stap_protocol::reply::{Origin, ReplyError};
use stap_protocol::request::MachineOwnerKeys;
use stap_protocol::target::TargetNameError;
use tokio::task::spawn_blocking;

use self::choice::NoAnswer;
use self::command_line::{CommandLineError, Plan, Question};
use self::cpu_time::CpuTime;
use self::exchange::Attempts;
use self::package::{Package, PackageError};
use self::progress::Display;
use self::replay::ReplayError;
use self::scratch::{Scratch, ScratchError};
use self::signals::{Interruption, Signals};
use self::staprun::RunEnd;
use self::trust::TrustedDatabase;
use self::wanted::{TargetError, Wanted};
use crate::diagnostics::{Diagnostics, print_result};
use crate::host::Host;
use crate::servers::{self, Errand};

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let diagnostics = Diagnostics::named(arguments.next().as_deref(), "stap-client");
    let words: Vec<Vec<u8>> = arguments.map(OsString::into_vec).collect();
    let posix = env::var_os("POSIXLY_CORRECT").is_some();
    let order = if posix { Order::Posix } else { Order::Permute };
    match Question::parse(&words, order) {
        Ok(Question::Help) => print(include_str!("compile/help.txt")),
        Ok(Question::Version) => print(VERSION),
        Ok(Question::Servers(plan)) => about_servers(*plan, &diagnostics),
        Ok(Question::Compile(plan)) => serve(Ok(*plan), &diagnostics),
        Err(error) => serve(Err(error), &diagnostics),
    }
}

/// Neither listing nor trusting needs a database, a temporary directory or a script.
fn about_servers(plan: Plan, diagnostics: &Diagnostics) -> ExitCode {
    let target = Host::this()
        .map_err(ClientError::from)
        .and_then(|host| Ok(wanted::target(&plan, &host)?));
    match target {
        Ok(target) => {
            let errand = Errand {
                list: plan.list_servers,
                trust: plan.trust_servers,
                named: plan.servers,
                target,
            };
            servers::run(&errand, diagnostics)
        }
        Err(error) => {
            error.tell(diagnostics);
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match print_result(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(plan: Result<Plan, CommandLineError>, diagnostics: &Diagnostics) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(session(plan, diagnostics));
            // A thread that still waits for standard input or for announcements is left behind: it
            // holds nothing, and the process ends now.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(ClientError::Runtime(error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.tell(diagnostics);
            ExitCode::FAILURE
        }
    }
}

/// Why not everything that was asked for was done.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("this process cannot wait for anything: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Paths(#[from] PathsError),
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    #[error(
        "No usable certificate databases found\n\
         Trust a server first: stap-start-server does it for a server of your own, \
         stap-authorize-server-cert CERTFILE for another"
    )]
    NoDatabase,
    #[error("The running kernel has a release that no server can be asked for: {0}")]
    Host(#[from] TargetNameError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("{error}")]
    NoAnswer { error: NoAnswer, attempts: Attempts },
    #[error("{error}")]
    Reply { error: ReplyError, server: String },
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the temporary directory cannot be written: {0}")]
    Keep(#[source] io::Error),
    /// The server's stap has said what is wrong.
    #[error("passes 1 to 4 failed")]
    Compile,
    /// The table says which, and why.
    #[error("{failed} of {targets} targets failed")]
    Some { failed: usize, targets: usize },
    #[error(transparent)]
    Several(#[from] several::SeveralError),
    /// It has been said how.
    #[error("pass 5 failed")]
    Run,
    #[error("interrupted")]
    Interrupted,
    #[error("terminated by signal")]
    Terminated,
    #[error("Too many interrupts received, exiting.")]
    GivenUp,
}

impl ClientError {
    /// Says it in the documented form, where it has not been said.
    fn tell(&self, diagnostics: &Diagnostics) {
        match self {
            Self::Interrupted | Self::Run => return,
            Self::Terminated => {
                diagnostics.plain(format_args!("{}: {self}", diagnostics.program()));
                return;
            }
            Self::GivenUp => {
                diagnostics.plain(self);
                return;
            }
            Self::Compile => (),
            Self::NoAnswer { attempts, .. } => {
                attempts
                    .lines()
                    .iter()
                    .for_each(|line| diagnostics.plain(line));
                diagnostics.error(self);
            }
            Self::Reply { error, server } => {
                let lead = "Cannot unpack server response";
                if error.to_string().starts_with(lead) {
                    diagnostics.error(format_args!("{error}\nThe reply came from {server}"));
                } else {
                    diagnostics.error(format_args!(
                        "{lead}: {error}\nThe reply came from {server}"
                    ));
                }
            }
            _ => diagnostics.error(self),
        }
        let failed_there = match self {
            Self::Compile | Self::NoAnswer { .. } | Self::Reply { .. } => true,
            Self::Replay(error) => error.is_the_server_s(),
            _ => false,
        };
        if failed_there {
            diagnostics.plain("Passes: via server failed.  Try again with another '-v' option.");
        }
    }
}

async fn session(
    plan: Result<Plan, CommandLineError>,
    diagnostics: &Diagnostics,
) -> Result<(), ClientError> {
    let mut signals = Signals::catch().map_err(ClientError::Runtime)?;
    let paths = Paths::discover(&Environment::current())?;
    let defaults = trust::default_databases(&paths, diagnostics);
    let scratch = Scratch::new()?;
    let plan = plan?;
    let mut databases = trust::named_databases(&plan.databases, diagnostics);
    databases.extend(defaults);
    if databases.is_empty() {
        return Err(ClientError::NoDatabase);
    }
    let ended = work(&plan, &databases, &scratch, &mut signals, diagnostics).await;
    if plan.keep {
        scratch.keep(diagnostics);
    }
    ended
}

async fn work(
    plan: &Plan,
    databases: &[TrustedDatabase],
    scratch: &Scratch,
    signals: &mut Signals,
    diagnostics: &Diagnostics,
) -> Result<(), ClientError> {
    let compiled = tokio::select! {
        biased;
        end = signals.next_end() => {
            // The connection is dropped with the other branch, and the server stops compiling.
            return Err(match end {
                Interruption::Terminate => ClientError::Terminated,
                Interruption::Interrupt | Interruption::Hangup => ClientError::Interrupted,
            });
        }
        compiled = compile(plan, databases, scratch, diagnostics) => compiled?,
    };
    let Compiled::ToRun(module) = compiled else {
        return Ok(());
    };
    match staprun::run(&plan.run, &module, signals, diagnostics).await {
        RunEnd::Completed => Ok(()),
        RunEnd::Failed => Err(ClientError::Run),
        RunEnd::Terminated => Err(ClientError::Terminated),
        RunEnd::GivenUp => Err(ClientError::GivenUp),
    }
}

/// What passes 1 to 4 gave.
enum Compiled {
    /// All that was asked for.
    Done,
    /// A module for pass 5.
    ToRun(PathBuf),
}

async fn compile(
    plan: &Plan,
    databases: &[TrustedDatabase],
    scratch: &Scratch,
    diagnostics: &Diagnostics,
) -> Result<Compiled, ClientError> {
    let start = (Instant::now(), CpuTime::of_self());
    let host = Host::this()?;
    let wanted = Wanted::of(plan, &host)?;
    let display = Display::new(plan.verbosity);
    let asked = Asked {
        plan,
        display: &display,
        host: &host,
        databases,
        scratch,
        diagnostics,
        start,
    };
    match &wanted {
        Wanted::One(target) => one::compile(&asked, target).await,
        Wanted::Several(_) => {
            several::compile(&asked, &wanted).await?;
            Ok(Compiled::Done)
        }
    }
}

/// What passes 1 to 4 are done with.
struct Asked<'a> {
    plan: &'a Plan,
    host: &'a Host,
    databases: &'a [TrustedDatabase],
    scratch: &'a Scratch,
    diagnostics: &'a Diagnostics,
    display: &'a Display,
    start: (Instant, CpuTime),
}

/// Where the result is from, and what it took.
fn tell_end(
    server: &str,
    origin: Option<Origin>,
    (began, before): (Instant, CpuTime),
    diagnostics: &Diagnostics,
) {
    if let Some(origin) = origin {
        diagnostics.plain(told(origin));
    }
    let spent = CpuTime::of_self().since(before).with_real(began.elapsed());
    diagnostics.plain(format_args!("Passes: via server {server} in {spent}."));
}

/// What a server that keeps results did, for somebody who wants to know why it was quick or slow.
fn told(origin: Origin) -> &'static str {
    match origin {
        Origin::Hit => "The server had this result already (store: hit).",
        Origin::Miss => "The server compiled this and keeps the result (store: miss).",
        Origin::Joined => "The server was compiling this for somebody else (store: joined).",
        Origin::Off => "The server compiled this and does not keep the result (store: off).",
    }
}

/// Reads the files on a thread of its own: standard input may keep it waiting for ever, and a signal
/// must end that.
async fn packaged(
    asked: &Asked<'_>,
    plan: &Plan,
    wanted: &Wanted,
    keys: MachineOwnerKeys,
) -> Result<Package, ClientError> {
    let diagnostics = asked.diagnostics;
    let (plan, wanted) = (plan.clone(), wanted.clone());
    let is_watched = asked.display.is_watched();
    let packaging = spawn_blocking(move || package::package(&plan, &wanted, keys, is_watched));
    let package = packaging
        .await
        .expect("packaging is neither cancelled nor does it panic")?;
    package
        .warnings
        .iter()
        .for_each(|warning| diagnostics.warning(warning));
    package
        .notices
        .iter()
        .for_each(|notice| diagnostics.plain(notice));
    Ok(package)
}

const VERSION: &str = concat!("stap-client version ", env!("CARGO_PKG_VERSION"), "\n");
