//! Decides which job runs next.
//!
//! One task owns the queue, the count of jobs of each peer and the running jobs. A job is cancelled
//! by dropping its [`Ticket`], whether it still waits or already runs.
//!
//! A peer may have half as many jobs waiting as there are free places in the queue: nobody can fill it
//! alone, and each further one who tries leaves two thirds of what he found.
//!
//! A job starts when there is a slot for it and, beside others, memory for all of them: as much as jobs took so far.

mod place;
mod queue;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use stap_protocol::job::{Job, Report, Usage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::executor::{Executor, NotReady};
use crate::headroom::Headroom;
use crate::peer::Peer;

pub(crate) use place::followed;
pub use place::{Place, Standing};
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
    /// The server stops, or its worker is gone.
    Stopped,
}

/// A place in the queue, then in a slot. Dropping it cancels the job.
#[derive(Debug)]
pub struct Ticket {
    report: oneshot::Receiver<Report>,
    standings: watch::Receiver<Standing>,
}

impl Ticket {
    /// What becomes of the job until it ends. The place of one that waits is looked up once a second.
    #[must_use]
    pub fn standings(&self) -> watch::Receiver<Standing> {
        self.standings.clone()
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    /// [`Refusal::Stopped`] when the job was dropped because the server stops.
    pub async fn report(self) -> Result<Report, Refusal> {
        self.report.await.map_err(|_dropped| Refusal::Stopped)
    }
}

impl Scheduler {
    /// Makes a scheduler and the task that serves it, which ends when `stop` is cancelled or the
    /// executor is gone. Ending drops all jobs.
    pub fn new<E: Executor>(
        executor: Arc<E>,
        bounds: Bounds,
        headroom: Headroom,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, submissions) = mpsc::channel(SUBMISSIONS);
        let (outlook, watched) = watch::channel(FIRST_GUESS);
        let desk = Desk {
            executor,
            bounds,
            submissions,
            queue: Queue::default(),
            running: JoinSet::new(),
            owners: HashMap::new(),
            jobs: HashMap::new(),
            typical: FIRST_GUESS,
            headroom,
            appetite: FIRST_APPETITE,
            is_short: false,
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
}

struct Desk<E: Executor> {
    executor: Arc<E>,
    bounds: Bounds,
    submissions: mpsc::Receiver<Submission>,
    queue: Queue<Waiting>,
    running: JoinSet<Option<Usage>>,
    owners: HashMap<Id, Peer>,
    jobs: HashMap<Peer, usize>,
    /// A moving average of how long jobs take.
    typical: Duration,
    headroom: Headroom,
    /// How many bytes a job takes: as many as the largest did, forgotten slowly.
    appetite: u64,
    /// Whether jobs wait for memory, so that it is said once.
    is_short: bool,
    outlook: watch::Sender<Duration>,
    /// When those that wait are told their places again.
    next_look: Instant,
}

impl<E: Executor> Desk<E> {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let has_room = self.queue.is_empty() || self.has_room();
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
                    Err(NotReady) => return,
                },
                // Others may give memory back at any time, and nobody says so.
                () = tokio::time::sleep(SOON), if !has_room => {}
                () = tokio::time::sleep_until(self.next_look), if !self.queue.is_empty() => self.tell_places(),
            }
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
            self.queue.push(
                peer,
                Waiting {
                    job,
                    done,
                    standing,
                },
            );
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

    /// Whether one more job has its memory even if those that run take all of theirs only now. Where none runs, one
    /// always may: its own limit bounds it.
    fn has_room(&mut self) -> bool {
        let jobs = self.running.len() as u64;
        let needed = self.appetite.saturating_mul(jobs + 1);
        let available = self.headroom.available().filter(|_| jobs > 0);
        let is_short = available.is_some_and(|available| available < needed);
        if is_short && !self.is_short {
            tracing::warn!(
                "jobs wait for memory: {} MiB are available, and {} jobs take up to {} MiB each; free some, or lower --max-threads",
                available.unwrap_or_default() >> 20,
                jobs + 1,
                self.appetite >> 20
            );
        }
        self.is_short = is_short;
        !is_short
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
        self.typical.saturating_mul(rounds.max(1)).clamp(SOON, LATE)
    }

    fn look_out(&self) {
        self.outlook.send_replace(self.turn_time());
    }

    /// Tells each job that waits its place, and when its turn is.
    fn tell_places(&mut self) {
        self.next_look = Instant::now() + SOON;
        self.forget_cancelled();
        // Where memory is short, no more jobs run than do now.
        let slots = match self.is_short {
            true => self.running.len(),
            false => self.bounds.slots.get(),
        };
        let standings = self.queue.in_order().into_iter().map(|job| &job.standing);
        place::tell(standings, self.typical, slots);
    }

    fn forget_cancelled(&mut self) {
        for peer in self.queue.retain(|waiting| !waiting.done.is_closed()) {
            self.release(peer);
        }
    }

    fn dispatch(&mut self, slot: E::Slot) {
        self.forget_cancelled();
        let Some((peer, waiting)) = self.queue.pop() else {
            return;
        };
        let Waiting {
            job,
            mut done,
            standing,
        } = waiting;
        standing.send_replace(Standing::Running);
        let executor = Arc::clone(&self.executor);
        let span = tracing::info_span!("request", id = %job.request);
        let task = async move {
            // Dropping the execution when the ticket is gone is what cancels the job.
            let report = tokio::select! {
                report = executor.execute(slot, job) => report,
                () = done.closed() => return None,
            };
            let usage = report.usage;
            done.send(report).ok().map(|()| usage)
        };
        let handle = self.running.spawn(task.instrument(span));
        self.owners.insert(handle.id(), peer);
        if self.running.len() > 1 {
            tracing::info!("Processing {} concurrent requests...", self.running.len());
        }
    }

    fn ended(&mut self, ended: Result<(Id, Option<Usage>), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, usage)) => {
                if let Some(usage) = usage {
                    self.learn(usage);
                }
                id
            }
            Err(error) => error.id(),
        };
        if let Some(peer) = self.owners.remove(&id) {
            self.queue.ended(peer);
            self.release(peer);
        }
        self.look_out();
    }

    fn learn(&mut self, usage: Usage) {
        self.typical = (self.typical * 7 + usage.wall) / 8;
        // Where no host can tell, the first guess stays.
        let peak = usage.peak_memory.unwrap_or(self.appetite);
        self.appetite = peak.max(self.appetite / 8 * 7 + peak / 8);
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

/// Submissions that wait for the desk; it answers at once, so a few are enough.
const SUBMISSIONS: usize = 16;
/// How long a compile takes before one was seen.
const FIRST_GUESS: Duration = Duration::from_secs(4);
/// What a compile of a large script takes at its peak; most take less.
const FIRST_APPETITE: u64 = 340 << 20;
/// Bounds of what a refused client is told.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
