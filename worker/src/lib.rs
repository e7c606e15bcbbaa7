//! Runs passes 1-4 for the kernel targets of this host, each job in a jail.
//!
//! A worker is started by the coordinator and talks to nobody else. From the top down: [`session`]
//! is its life, [`station`] what it has, [`job`] one compile, [`jail`] one confined program.
//! [`targets`] knows what can be built for, [`sight`] what jobs see of it, [`layers`] and [`cgroup`] what
//! holds a job, [`warm`] and [`queries`] what need not be found out twice, [`driver`] how pass 4 is done without make,
//! [`pace`] how soon one job follows the other. A worker that is only asked to look does [`examine`]. It holds no keys and
//! parses nothing that a client sent; what the client's input can do to compilers is the jail's matter.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod driver;
pub mod examine;
pub mod jail;
pub mod job;
pub mod layers;
pub mod link;
pub mod pace;
pub mod queries;
pub mod session;
pub mod siblings;
pub mod sight;
pub mod slots;
pub mod station;
pub mod store;
pub mod targets;
pub mod uids;
pub mod warm;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use stap_protocol::examination::Question;
use stap_protocol::job::{Configuration, FromWorker};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use link::Unopened;
use session::Errand;
use station::{Ground, NotReady};

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
    let link = Unopened::inherited()?;
    let configuration = match session::errand(&link)? {
        Some(Errand::Serve(configuration)) => *configuration,
        Some(Errand::Examine(question)) => return Ok(link.answer(&examined(*question)?)?),
        None => return Ok(()),
    };
    let ground = match settle(&configuration)? {
        Ok(ground) => ground,
        Err(error) => return Ok(link.answer(&not_ready(&error))?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let serve = async { session::serve(link.open()?, configuration, ground).await };
    let served = runtime.block_on(serve);
    close(runtime);
    Ok(served?)
}

/// Ends all tasks, with which everything of this worker goes, and does not wait for what nobody wants to know any
/// more: a look at all of a root takes as long as its disk.
fn close(runtime: Runtime) {
    runtime.shutdown_timeout(LAST_MOMENT);
}

/// Looks at this host as somebody who serves would see it, and goes: nothing of a client's is near.
fn examined(question: Question) -> anyhow::Result<FromWorker> {
    let runtime = waiting()?;
    let examined = runtime.block_on(async {
        let _handled = ignore_signals();
        examine::examine(question).await
    });
    Ok(match examined {
        Ok(examination) => FromWorker::Examined(Box::new(examination)),
        Err(error) => not_ready(&error),
    })
}

fn not_ready(error: &NotReady) -> FromWorker {
    let reason = job::sentence(error);
    FromWorker::NotReady { reason }
}

/// Takes what takes rights, then gives these up. No thread is started before that: the kernel keeps
/// all of them per thread.
fn settle(configuration: &Configuration) -> anyhow::Result<Result<Ground, NotReady>> {
    let runtime = waiting()?;
    let ground = runtime.block_on(async {
        let _handled = ignore_signals();
        Ground::take(configuration).await
    });
    drop(runtime);
    Ok(ground.and_then(|ground| ground.seclude(configuration).map(|()| ground)))
}

/// A runtime without a thread of its own.
fn waiting() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("waiting for the probe of the layers")
}

/// The coordinator decides when jobs end, and its end is ours: a signal that a terminal or a service
/// manager sends to the whole group must not take the jobs from under it. Who took a signal over once
/// has it for good.
fn ignore_signals() -> [io::Result<Signal>; 3] {
    [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ]
    .map(signal)
}

/// Lines without time or colour: the coordinator reads them and writes them to the server's log.
fn log() {
    let filter = EnvFilter::try_from_env("STAP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // The library would panic when the coordinator, who reads this, has died.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}

/// Work here is waiting; the processors are for the compilers.
const THREADS: usize = 2;
/// How long tasks may take to end; the coordinator waits longer for the worker.
const LAST_MOMENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_takes_for_ever_does_not_keep_the_worker() {
        let runtime = waiting().unwrap();
        let (holding, held) = channel::<()>();
        runtime.spawn_blocking(move || held.recv());
        close(runtime);
        drop(holding);
    }
}
