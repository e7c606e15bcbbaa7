//! Runs passes 1-4 for the kernel targets of this host, each job in a jail.
//!
//! A worker is started by the coordinator and talks to nobody else. From the top down: [`session`]
//! is its life, [`station`] what it has, [`job`] one compile, [`jail`] one confined program.
//! [`targets`] knows what can be built for, [`layers`] and [`cgroup`] what holds a job, [`warm`] what
//! need not be found out twice. A worker that is only asked to look does [`examine`]. It holds no keys and parses nothing that a client sent; what the
//! client's input can do to compilers is the jail's matter.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod examine;
pub mod jail;
pub mod job;
pub mod layers;
pub mod link;
pub mod session;
pub mod siblings;
pub mod slots;
pub mod station;
pub mod store;
pub mod targets;
pub mod warm;

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The descriptor on which the coordinator leaves its socket.
pub const SOCKET: i32 = 3;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    log();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let link = link::Link::inherited()?;
        // The coordinator decides when jobs end, and its end is ours: a signal that a terminal or a
        // service manager sends to the whole group must not take the jobs from under it.
        let _handled = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .map(signal);
        Ok(session::serve(link).await?)
    })
}

/// Lines without time or colour: the coordinator reads them and writes them to the server's log.
fn log() {
    let filter = EnvFilter::try_from_env("STAP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // The library would panic when the coordinator, who reads this, has died.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}

/// Work here is waiting; the processors are for the compilers.
const THREADS: usize = 2;
