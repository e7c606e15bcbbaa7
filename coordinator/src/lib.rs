//! `stap-serverd`: accepts compile requests, checks them, and hands them to the worker.
//!
//! It faces the network and therefore does nothing that could hurt: it runs no compiler, parses
//! nothing with foreign code, and while it serves it starts no program; `stap-worker` and `stap-signer`
//! were started before, once. The way of a request is [`listener`], [`seats`], [`session`], [`intake`],
//! [`results`], [`scheduler`], [`worker`], [`reply`].
#![forbid(unsafe_code)]

pub mod announcer;
pub mod catalogue;
mod check;
pub mod confine;
pub mod console;
pub mod database;
mod doctor;
pub mod door;
pub mod dry_run;
pub mod executor;
pub mod headroom;
pub mod intake;
pub mod listener;
mod listing;
pub mod log;
pub mod memory;
pub mod module;
pub mod options;
mod page;
pub mod peer;
pub mod progress;
pub mod readiness;
pub mod refusal;
pub mod reply;
pub mod request_id;
pub mod results;
pub mod scheduler;
pub mod seats;
pub mod server;
pub mod session;
pub mod settings;
pub mod signals;
pub mod signing;
mod signing_key;
pub mod startup;
mod warming;
pub mod worker;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use console::{Console, print};
use options::{HELP, Invocation, Options};
use readiness::Readiness;
use server::End;
use stap_protocol::job::Unusable;

/// Reads the wall clock; only `main` has one.
pub type Clock = fn() -> SystemTime;

/// Why there is no server, or no answer on the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be meant.
    #[error("{0}; see --help")]
    Options(#[from] options::OptionError),
    /// `--ready-fd` cannot be used.
    #[error(transparent)]
    Readiness(#[from] readiness::ReadinessError),
    /// There is no log.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// The policy or the environment cannot be used.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    /// The user has no place for databases.
    #[error(transparent)]
    Paths(#[from] stap_certs::PathsError),
    /// No signing key was made; every finding is a line.
    #[error("{0}")]
    SigningKey(String),
    /// The certificate cannot be used; the findings were told already.
    #[error("{0}")]
    Database(String),
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] listener::BindError),
    /// There is no worker.
    #[error(transparent)]
    Worker(#[from] worker::StartError),
    /// There is nothing to serve.
    #[error(
        "there is no kernel to build for{}; install systemtap and the headers of this kernel, or make a root that has \
         them with deploy/target-root and add it with --root; --list-targets says what was found", listed(.0)
    )]
    NoTargets(Vec<Unusable>),
    /// The server cannot leave the directory that it was started in.
    #[error("cannot change to /: {0}")]
    WorkingDirectory(io::Error),
    /// The service account cannot be used.
    #[error(transparent)]
    Account(#[from] confine::AccountError),
    /// The process cannot give up what it must give up.
    #[error("the server does not serve unconfined: {0}")]
    Confine(#[from] confine::ConfineError),
    /// The runtime of the server does not start.
    #[error("cannot start threads: {0}")]
    Runtime(io::Error),
    /// Serving failed.
    #[error("{0:#}")]
    Serve(anyhow::Error),
    /// The worker went away while the server was serving; the log says why.
    #[error("the worker is gone")]
    WorkerGone,
    /// A question about a command line for a kernel that has no name.
    #[error("the name of this host's kernel cannot be read; name one with --target RELEASE:ARCH")]
    NoTarget,
    /// The result cannot be written.
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
}

/// Does what the command line says. The first argument is the program's name.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>, clock: Clock) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let console = Console::named(arguments.next().as_deref());
    let arguments: Vec<_> = arguments.collect();
    let is_question = Invocation::is_question(&arguments);
    invoke(arguments, clock, &console).unwrap_or_else(|failure| {
        console.error(failure);
        if is_question {
            ExitCode::from(NO_ANSWER)
        } else {
            ExitCode::FAILURE
        }
    })
}

fn invoke(arguments: Vec<OsString>, clock: Clock, console: &Console) -> Result<ExitCode, Failure> {
    let (text, is_yes) = match Invocation::parse(arguments)? {
        Invocation::Serve(options) => return Ok(serve(&options, clock, console)),
        Invocation::ListTargets { options, json } => {
            (listing::list_targets(&options, json, clock)?, true)
        }
        Invocation::CheckPolicy {
            choice,
            options,
            json,
        } => check::check_policy(&choice, &options, json)?,
        Invocation::May(inquiry) => dry_run::answer(&inquiry, page::is_colored())?,
        Invocation::Doctor { options, json } => doctor::examine(&options, json)?,
        Invocation::Warm { options, json } => warming::warm(&options, json, clock)?,
        Invocation::MakeSigningKey(options) => (signing_key::make(&options, clock)?, true),
        Invocation::Help => (HELP.to_owned(), true),
        Invocation::Version => (
            format!("stap-serverd {}\n", env!("CARGO_PKG_VERSION")),
            true,
        ),
    };
    print(&text).map_err(Failure::Stdout)?;
    Ok(if is_yes {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn serve(options: &Options, clock: Clock, console: &Console) -> ExitCode {
    let mut readiness = None;
    let ended = Readiness::adopt(options.ready_fd)
        .map_err(Failure::from)
        .and_then(|adopted| {
            readiness = Some(adopted);
            let prepared = startup::prepare(options, clock, console)?;
            run(prepared, &mut readiness)
        });
    let Err(failure) = ended else {
        return ExitCode::SUCCESS;
    };
    if options.log.is_some() {
        tracing::error!("{failure}");
    }
    match readiness {
        // Who waits at the pipe tells the person.
        Some(readiness) if options.ready_fd.is_some() => readiness.failed(&failure.to_string()),
        _ => console.error(&failure),
    }
    ExitCode::FAILURE
}

/// From here on there are threads.
fn run(prepared: server::Prepared, readiness: &mut Option<Readiness>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let end = runtime.block_on(server::run(prepared, readiness));
    // A second signal does not wait for what is still under way.
    runtime.shutdown_timeout(SHUTDOWN);
    match end.map_err(Failure::Serve)? {
        End::Asked => Ok(()),
        End::WorkerGone => Err(Failure::WorkerGone),
    }
}

/// The build trees that were found, with what is missing for each.
fn listed(unusable: &[Unusable]) -> String {
    unusable
        .iter()
        .take(MOST_LISTED)
        .map(|one| format!("; not for {}: {}", one.build_tree.display(), one.reason))
        .collect()
}

/// The exit status of a question that cannot be answered; 1 means no.
const NO_ANSWER: u8 = 2;
/// Build trees that one message names.
const MOST_LISTED: usize = 3;
const SHUTDOWN: Duration = Duration::from_millis(100);
