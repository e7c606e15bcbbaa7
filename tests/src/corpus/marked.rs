//! Processes that a case can tell from all others, because their command line holds a mark of its
//! own.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use rustix::process::Signal;
use stap_protocol::reply::Parts as Reply;

use super::service::Service;
use super::traces::MARK;
use crate::process::{self, Process};
use crate::wait;

/// A mark that was never used before.
#[must_use]
pub fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{MARK}-{}.", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The processes with this mark, in whatever namespace, that have not ended.
#[must_use]
pub fn with(mark: &str) -> Vec<Process> {
    let all = process::all().into_iter();
    all.filter(|process| process.command_line().contains(mark))
        .collect()
}

/// Ends all of them for certain.
pub fn end(mark: &str) {
    wait::until_true("the marked processes end", || {
        let left = with(mark);
        for process in &left {
            process::signal(process.pid, Signal::KILL);
        }
        left.is_empty()
    });
}

/// Has a server run a job, calls `meanwhile` when as many marked processes are there as it makes, and
/// returns what that returns, and the reply if there is one. Whatever still runs then is ended.
///
/// # Errors
/// When `meanwhile` fails.
pub fn meanwhile<T>(
    service: &Service,
    words: &[String],
    mark: &str,
    count: usize,
    meanwhile: impl FnOnce(&[Process]) -> anyhow::Result<T>,
) -> anyhow::Result<(T, anyhow::Result<Reply>)> {
    std::thread::scope(|scope| {
        let job = scope.spawn(|| service.run(words));
        let running = wait::within_patience(|| with(mark).len() >= count || job.is_finished());
        let done = if running && !job.is_finished() {
            meanwhile(&with(mark))
        } else {
            Err(anyhow::anyhow!("the job did not come to run"))
        };
        if done.is_err() {
            end(mark);
        }
        let reply = job.join().ok().context("the thread of a request")?;
        Ok((done?, reply))
    })
}
