//! What runs jobs, seen from the scheduler.

use stap_protocol::job::{Job, Report};

/// Runs jobs somewhere: in the local worker, or on another host.
pub trait Executor: Send + Sync + 'static {
    /// Room for one job. It is given back when the job's last process is gone, which can be later
    /// than the end of [`Executor::execute`].
    type Slot: Send + 'static;

    /// Waits for room. An executor that is not ready is given no job, so that a broken one cannot
    /// eat the queue.
    fn ready(&self) -> impl Future<Output = Result<Self::Slot, NotReady>> + Send;

    /// Runs a job. There is no `Result`: a failed compile is an outcome, and so is a worker that
    /// broke. Dropping the future cancels the job.
    fn execute(&self, slot: Self::Slot, job: Job) -> impl Future<Output = Report> + Send;

    /// Slots in which it works on its own account, behind jobs that are done.
    fn kept(&self) -> usize {
        0
    }
}

/// The executor will never be ready again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker is gone")]
pub struct NotReady;
