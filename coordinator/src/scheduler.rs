//! Decides which job runs next.
//!
//! One task owns the queue, the count of jobs of each peer and the running jobs. A job is cancelled
//! by dropping its [`Ticket`], whether it still waits or already runs.
//!
//! A peer may have half as many jobs waiting as there are free places in the queue: nobody can fill it
//! alone, and each further one who tries leaves two thirds of what he found.
//!
//! A job starts when there is a slot for it and, beside others, memory for all of them: as much as jobs took so far.

mod appetite;
mod expected;
mod place;
mod queue;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use stap_protocol::job::{Job, Outcome, Report};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::executor::{Executor, NotReady};
use crate::headroom::Headroom;
use crate::peer::Peer;

use appetite::Appetite;
pub use expected::Experience;
use expected::{Need, average};
pub(crate) use place::followed;
pub use place::{Place, Standing, Ticket};
use queue::Queue;

/// Takes jobs in.
#[derive(Clone, Debug)]
pub struct Scheduler {
    submissions: mpsc::Sender<Submission>,
    outlook: watch::Receiver<Duration>,
    slots: NonZeroUsize,
}

/// How many jobs may wait, and how many of them may be one peer's.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Jobs that wait for a slot.
    pub queue: usize,
    /// Jobs of one peer, waiting or running.
    pub per_peer: usize,
    /// Jobs that can run at the same time; for estimates only.
    pub slots: NonZeroUsize,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many jobs wait as may.
    QueueFull {
        /// When there is probably room again.
        retry: Duration,
    },
    /// The peer has as many jobs as it may.
    PeerBusy {
        /// How many that is.
        jobs: usize,
        /// When there is probably room again.
        retry: Duration,
    },
    /// The peer has half as many jobs waiting as there are free places for all others.
    ShareUsed {
        /// How many that is.
        waiting: usize,
        /// When there is probably room again.
        retry: Duration,
    },
    /// As many results as may are on their way to those who wait for them.
    CopiesFull {
        /// When there is probably room again.
        retry: Duration,
    },
    /// The server stops, or its worker is gone.
    Stopped,
}

impl Scheduler {
    /// Makes a scheduler and the task that serves it, which ends when `stop` is cancelled or the
    /// executor is gone. Ending drops all jobs.
    pub fn new<E: Executor>(
        executor: Arc<E>,
        bounds: Bounds,
        headroom: Headroom,
        experience: Experience,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, submissions) = mpsc::channel(SUBMISSIONS);
        let (outlook, watched) = watch::channel(experience.typical(false));
        let desk = Desk {
            executor,
            bounds,
            submissions,
            queue: Queue::default(),
            running: JoinSet::new(),
            owners: HashMap::new(),
            jobs: HashMap::new(),
            experience,
            appetite: Appetite::beside(headroom),
            outlook,
            next_look: Instant::now(),
        };
        (
            Self {
                submissions: sender,
                outlook: watched,
                slots: bounds.slots,
            },
            desk.run(stop),
        )
    }

    /// How many jobs can run at the same time.
    #[must_use]
    pub fn slots(&self) -> NonZeroUsize {
        self.slots
    }

    /// In what time a job of somebody who has several will probably have ended.
    #[must_use]
    pub fn outlook(&self) -> Duration {
        *self.outlook.borrow()
    }

    /// Puts a job into the queue.
    ///
    /// # Errors
    /// When there is no room for it.
    pub async fn submit(&self, peer: Peer, job: Job) -> Result<Ticket, Refusal> {
        let (accepted, answer) = oneshot::channel();
        let submission = Submission {
            peer,
            job,
            accepted,
        };
        self.submissions
            .send(submission)
            .await
            .map_err(|_closed| Refusal::Stopped)?;
        answer.await.map_err(|_dropped| Refusal::Stopped)?
    }
}

struct Submission {
    peer: Peer,
    job: Job,
    accepted: oneshot::Sender<Result<Ticket, Refusal>>,
}

/// A job that waits.
struct Waiting {
    job: Job,
    done: oneshot::Sender<Report>,
    standing: watch::Sender<Standing>,
    need: Option<Need>,
}

/// What is remembered of a job that runs.
struct Owner {
    peer: Peer,
    need: Option<Need>,
    is_long: bool,
    began: Instant,
}

struct Desk<E: Executor> {
    executor: Arc<E>,
    bounds: Bounds,
    submissions: mpsc::Receiver<Submission>,
    queue: Queue<Waiting>,
    running: JoinSet<Option<Ended>>,
    owners: HashMap<Id, Owner>,
    jobs: HashMap<Peer, usize>,
    experience: Experience,
    appetite: Appetite,
    outlook: watch::Sender<Duration>,
    /// When those that wait are told their places again.
    next_look: Instant,
}

impl<E: Executor> Desk<E> {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let has_room = self.queue.is_empty() || self.appetite.has_room(self.at_work());
            // Every arm is cancel-safe; waiting for a slot again only loses a place in a line that
            // nobody else stands in.
            tokio::select! {
                () = stop.cancelled() => return,
                submission = self.submissions.recv() => match submission {
                    Some(submission) => self.receive(submission),
                    None => return,
                },
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                slot = self.executor.ready(), if has_room && !self.queue.is_empty() => match slot {
                    Ok(slot) => self.dispatch(slot),
                    Err(NotReady) => return self.hear_the_rest().await,
                },
                // Others may give memory back at any time, and nobody says so.
                () = tokio::time::sleep(SOON), if !has_room => {}
                () = tokio::time::sleep_until(self.next_look), if !self.queue.is_empty() => self.tell_places(),
            }
        }
    }

    /// Without an executor, what it runs comes to its end by itself, and is told.
    async fn hear_the_rest(mut self) {
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn receive(&mut self, submission: Submission) {
        let Submission {
            peer,
            job,
            accepted,
        } = submission;
        self.forget_cancelled();
        let answer = self.admit(peer).map(|()| {
            let (done, report) = oneshot::channel();
            let (standing, standings) = watch::channel(Standing::Taken);
            let waiting = Waiting {
                need: Experience::need(&job),
                job,
                done,
                standing,
            };
            self.queue.push(peer, waiting);
            *self.jobs.entry(peer).or_default() += 1;
            Ticket { report, standings }
        });
        self.look_out();
        if accepted.send(answer).is_err() {
            tracing::debug!("a client left before its job was queued");
        }
    }

    fn admit(&self, peer: Peer) -> Result<(), Refusal> {
        let jobs = self.jobs.get(&peer).copied().unwrap_or_default();
        if jobs >= self.bounds.per_peer {
            let retry = self.turn_time();
            return Err(Refusal::PeerBusy { jobs, retry });
        }
        let free = self.bounds.queue.saturating_sub(self.queue.len());
        let waiting = self.queue.waiting(peer);
        match (free, waiting) {
            (0, _) => Err(Refusal::QueueFull {
                retry: self.drain_time(),
            }),
            (free, waiting) if waiting.saturating_mul(2) >= free => Err(Refusal::ShareUsed {
                waiting,
                retry: self.turn_time(),
            }),
            _ => Ok(()),
        }
    }

    /// When about half of the queue is done, if jobs take as long as they did.
    fn drain_time(&self) -> Duration {
        self.rounds(self.queue.len() / 2)
    }

    /// When everybody who waits has had a turn.
    fn turn_time(&self) -> Duration {
        self.rounds(self.queue.peers())
    }

    /// How long so many jobs take with all slots, if they take as long as the last ones did.
    fn rounds(&self, jobs: usize) -> Duration {
        let rounds = u32::try_from(jobs.div_ceil(self.bounds.slots.get())).unwrap_or(u32::MAX);
        let typical = average(self.queue.iter().map(|job| self.takes(job)));
        let typical = typical.unwrap_or_else(|| self.experience.typical(false));
        typical.saturating_mul(rounds.max(1)).clamp(SOON, LATE)
    }

    fn takes(&self, job: &Waiting) -> Duration {
        self.experience
            .typical(self.experience.is_long(job.need.as_ref()))
    }

    /// Compiles that hold memory now.
    fn at_work(&self) -> usize {
        self.running.len() + self.executor.kept()
    }

    fn look_out(&self) {
        self.outlook.send_replace(self.turn_time());
    }

    /// Tells each job that waits its place, and when its turn is.
    fn tell_places(&mut self) {
        self.next_look = Instant::now() + SOON;
        self.forget_cancelled();
        // Where memory is short, no more jobs run than do now.
        let slots = match self.appetite.is_short {
            true => self.running.len(),
            false => self.bounds.slots.get(),
        };
        let is_long = |job: &Waiting| self.experience.is_long(job.need.as_ref());
        let order = self.queue.in_order(is_long).into_iter();
        let order: Vec<_> = order.map(|job| (&job.standing, self.takes(job))).collect();
        let left = |owner: &Owner| {
            let typical = self.experience.typical(owner.is_long);
            typical.saturating_sub(owner.began.elapsed())
        };
        let others = std::iter::repeat_n(OTHERS, self.executor.kept());
        let running = average(self.owners.values().map(left).chain(others));
        place::tell(&order, running.unwrap_or_default(), slots);
    }

    fn forget_cancelled(&mut self) {
        for peer in self.queue.retain(|waiting| !waiting.done.is_closed()) {
            self.release(peer);
        }
    }

    fn dispatch(&mut self, slot: E::Slot) {
        // The slot may be that of a job whose end nobody has looked at, and whose turn it is depends on it.
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended(ended);
        }
        self.forget_cancelled();
        let is_long = |job: &Waiting| self.experience.is_long(job.need.as_ref());
        let Some((peer, waiting)) = self.queue.pop(is_long) else {
            return;
        };
        let is_long = is_long(&waiting);
        waiting.standing.send_replace(if is_long {
            Standing::Learning
        } else {
            Standing::Running
        });
        let owner = Owner {
            peer,
            is_long,
            need: waiting.need,
            began: Instant::now(),
        };
        let (job, mut done) = (waiting.job, waiting.done);
        let executor = Arc::clone(&self.executor);
        let span = tracing::info_span!("request", id = %job.request);
        let task = async move {
            // Dropping the execution when the ticket is gone is what cancels the job.
            tokio::select! {
                report = executor.execute(slot, job) => Some(Ended { report, done }),
                () = done.closed() => None,
            }
        };
        let handle = self.running.spawn(task.instrument(span));
        self.owners.insert(handle.id(), owner);
        if self.running.len() > 1 {
            tracing::info!("Processing {} concurrent requests...", self.running.len());
        }
    }

    fn ended(&mut self, ended: Result<(Id, Option<Ended>), tokio::task::JoinError>) {
        let (id, ended) = ended.unwrap_or_else(|error| (error.id(), None));
        if let Some(owner) = self.owners.remove(&id) {
            self.queue.ended(owner.peer);
            self.release(owner.peer);
            if let Some(Ended { report, done }) = ended {
                self.learn(owner, &report);
                // Last: whoever hears of it has room for the next one.
                if done.send(report).is_err() {
                    tracing::debug!("a client left when its job had ended");
                }
            }
        }
        self.look_out();
    }

    fn learn(&mut self, owner: Owner, report: &Report) {
        self.appetite.learn(report.usage.peak_memory);
        // One that could not be run says nothing of its target.
        if matches!(report.outcome, Outcome::Exited { .. }) {
            // What the worker does in front of a job is not the job's, and yet its user waits for it.
            let took = report.usage.wall.max(owner.began.elapsed());
            self.experience.learn(owner.need, owner.is_long, took);
        }
    }

    fn release(&mut self, peer: Peer) {
        if let Some(jobs) = self.jobs.get_mut(&peer) {
            *jobs -= 1;
            if *jobs == 0 {
                self.jobs.remove(&peer);
            }
        }
    }
}

/// A job that came to its end, and who waits for that.
struct Ended {
    report: Report,
    done: oneshot::Sender<Report>,
}

/// Submissions that wait for the desk; it answers at once, so a few are enough.
const SUBMISSIONS: usize = 16;
/// Bounds of what a refused client is told.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(120);
/// What is left on the average of what an executor does on its own account.
const OTHERS: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests;
