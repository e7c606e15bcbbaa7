//! Gives each job what an equal one gave before, or is giving now.
//!
//! Who may ask for what has been decided when a job comes here, and a module is signed after it has left.
//! The order is the argument. First the worker says what the job would see: that and the request make
//! the key. Equal jobs under way make one [`flight`], whose first act is to look into the store, so that
//! nothing can be kept between a look and a start. After the job the worker is asked again, and only
//! what saw the same from its beginning to its end is kept. Whatever goes wrong with all this, the job
//! is done, and the log says why.

mod failures;
mod flight;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use stap_policy::Scope;
use stap_protocol::job::{Job, Outcome, Report};
use stap_protocol::options;
use stap_protocol::reply;
use stap_protocol::target::{TargetIdentity, TargetName};
use stap_store::{Key, Shelf, Tenant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::memory::weight;
use crate::module::{Verdict, judge};
use crate::peer::Peer;
use crate::scheduler::{Refusal, Scheduler, Standing, followed};
use crate::worker::Witness;

use self::failures::Failures;
use self::flight::{Flights, Landing, Runway};
pub use self::shelf::open;

/// Everything that is known of results.
#[derive(Clone, Debug)]
pub struct Results(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scheduler: Scheduler,
    witness: Witness,
    scope: Scope,
    shelf: Option<Arc<Shelf>>,
    failures: Failures,
    flights: Flights,
    /// One permit for each mebibyte of kept results that are read, or wait to be copied.
    reading: Arc<Semaphore>,
    /// The same for copies that nobody has been charged for. Whoever has one of these waits for neither, so that copies
    /// never stand behind what is read.
    copying: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// What a policy and a host make of it.
#[derive(Debug)]
pub struct Keeping {
    /// For whom results are kept.
    pub scope: Scope,
    /// Where; `None` when there is no place that only the server can reach.
    pub shelf: Option<Shelf>,
    /// How long a compile error is remembered.
    pub failures: Duration,
}

impl Keeping {
    /// What there is to say about it in the log.
    #[must_use]
    pub fn describe(&self) -> String {
        let whom = match self.scope {
            Scope::Off => return "results are not kept, as the policy wants it".to_owned(),
            Scope::Shared => "whoever asks the same",
            Scope::User => "the user or address that asked before",
        };
        match &self.shelf {
            Some(shelf) => format!("results are kept in {} for {whom}", shelf.path().display()),
            None => format!("results are shared only while they are made, with {whom}"),
        }
    }
}

/// A report, and where it is from.
#[derive(Debug)]
pub struct Found {
    /// The client's own copy.
    pub report: Report,
    /// Goes when the copy has been charged to somebody.
    pub turn: Option<Turn>,
    /// From the store, from another's job, or from a job of its own.
    pub origin: Origin,
}

/// Room for a result until somebody is charged for it.
pub type Turn = OwnedSemaphorePermit;

/// Where a result is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was kept.
    Hit,
    /// It was made now, and would have been found.
    Miss,
    /// It was made now, for somebody else who asked the same before.
    Joined,
    /// It was made now, and results like it are not kept: why.
    Off(String),
}

impl Results {
    /// Begins with what is in the store. `tasks` has the jobs that several wait for.
    #[must_use]
    pub fn new(
        scheduler: Scheduler,
        witness: Witness,
        keeping: Keeping,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner {
            scheduler,
            witness,
            scope: keeping.scope,
            shelf: keeping.shelf.map(Arc::new),
            failures: Failures::lasting(keeping.failures),
            flights: Flights::default(),
            reading: Arc::new(Semaphore::new(ROOM as usize)),
            copying: Arc::new(Semaphore::new(ROOM as usize)),
            tasks,
        }))
    }

    /// Has the worker look at its targets before anybody waits for that.
    pub async fn get_ready(&self, targets: impl Iterator<Item = TargetName>) {
        if self.0.scope == Scope::Off {
            return;
        }
        for target in targets {
            if let Err(reason) = self.0.witness.ask(&target).await {
                tracing::info!("results for {target} are not kept: {reason}");
            }
        }
    }

    /// Finds the result of a job that may be run, or has it run. Dropping the wait gives up the job
    /// unless somebody else waits for it, too. What becomes of a job that has to be run goes to `tell`.
    ///
    /// # Errors
    /// When there is no room for the job.
    pub async fn find(
        &self,
        peer: Peer,
        job: Job,
        tell: impl Fn(Standing),
    ) -> Result<Found, Refusal> {
        let (key, identity) = match self.key(peer, &job).await {
            Ok(found) => found,
            Err(reason) => return self.run_alone(peer, job, reason, tell).await,
        };
        let mut job = Some(job);
        let mut has_seen_a_fault = false;
        for _ in 0..MOST_FLIGHTS {
            let seat = self.0.flights.board(key, |landing, cancelled| {
                let job = job.take()?;
                let plan = Plan {
                    key,
                    identity,
                    target: job.target.clone(),
                };
                let flight = Arc::clone(&self.0).fly(plan, peer, job, landing, cancelled);
                self.0.tasks.spawn(flight.in_current_span());
                Some(())
            });
            let Some(seat) = seat else { break };
            let is_first = seat.is_first;
            match seat.landing(&tell).await {
                // What is wrong with the server or its worker is no answer for those who only waited.
                Landing::Flown(report) if !is_first && is_ours(&report) && !has_seen_a_fault => {
                    has_seen_a_fault = true;
                }
                Landing::Flown(report) => {
                    let origin = if is_first {
                        Origin::Miss
                    } else {
                        Origin::Joined
                    };
                    return self.copied(&report, origin).await;
                }
                Landing::Kept(report, _turn) => return self.copied(&report, Origin::Hit).await,
                // Boarding again would be one more wait for the same.
                Landing::Refused(full @ Refusal::CopiesFull { .. }) => return Err(full),
                // It was the first one's peer for whom there was no room.
                Landing::Refused(_) if !is_first => {}
                Landing::Refused(refusal) => return Err(refusal),
            }
        }
        match job {
            Some(job) => {
                let reason = "jobs like it failed to be run".to_owned();
                self.run_alone(peer, job, reason, tell).await
            }
            None => Err(Refusal::Stopped),
        }
    }

    async fn run_alone(
        &self,
        peer: Peer,
        job: Job,
        reason: String,
        tell: impl Fn(Standing),
    ) -> Result<Found, Refusal> {
        let report = self.0.run(peer, job, tell).await?;
        Ok(Found {
            report,
            turn: None,
            origin: Origin::Off(reason),
        })
    }

    /// A copy for one of those who wait for a result.
    async fn copied(&self, report: &Arc<Report>, origin: Origin) -> Result<Found, Refusal> {
        let turn = turn(&self.0.copying, weight(report)).await?;
        Ok(Found {
            report: Report::clone(report),
            turn: Some(turn),
            origin,
        })
    }

    /// The key of a job with what it will see, or why its result is not kept.
    async fn key(&self, peer: Peer, job: &Job) -> Result<(Key, TargetIdentity), String> {
        let name = peer.to_string();
        let tenant = match self.0.scope {
            Scope::Off => return Err("the policy keeps none".to_owned()),
            Scope::Shared => Tenant::Everybody,
            Scope::User => Tenant::One(&name),
        };
        if is_named_by_chance(job) {
            return Err("stap names such objects after its process; name them with -m".to_owned());
        }
        let asked = timeout(PATIENCE, self.0.witness.ask(&job.target)).await;
        let identity =
            asked.map_err(|_late| "looking at the target takes too long".to_owned())??;
        Ok((Key::of(job, &identity, tenant), identity))
    }
}

/// What is known of a flight before it begins.
#[derive(Debug)]
struct Plan {
    key: Key,
    /// What its job sees, if nothing changes.
    identity: TargetIdentity,
    target: TargetName,
}

impl Inner {
    /// One flight from its beginning to its end.
    async fn fly(
        self: Arc<Self>,
        plan: Plan,
        peer: Peer,
        job: Job,
        landing: Runway,
        cancelled: CancellationToken,
    ) {
        let landed = tokio::select! {
            landed = self.found_or_flown(&plan, peer, job, &landing) => landed,
            // Nobody waits any more; dropping the job's ticket cancels it.
            () = cancelled.cancelled() => Landing::Refused(Refusal::Stopped),
        };
        self.flights.land(plan.key, &landing, landed);
    }

    /// Has the scheduler run a job to its end.
    async fn run(&self, peer: Peer, job: Job, tell: impl Fn(Standing)) -> Result<Report, Refusal> {
        let ticket = self.scheduler.submit(peer, job).await?;
        let standings = ticket.standings();
        followed(ticket.report(), standings, tell).await
    }

    async fn found_or_flown(&self, plan: &Plan, peer: Peer, job: Job, runway: &Runway) -> Landing {
        match self.kept(plan.key).await {
            Ok(Some((report, turn))) => return Landing::Kept(Arc::new(report), turn),
            Ok(None) => {}
            Err(full) => return Landing::Refused(full),
        }
        let tell = |standing| {
            runway.standing.send_replace(standing);
        };
        let report = match self.run(peer, job, tell).await {
            Ok(report) => Arc::new(report),
            Err(refusal) => return Landing::Refused(refusal),
        };
        if is_keepable(&report, &plan.target) {
            self.keep(plan, &report).await;
        } else {
            self.failures.remember(plan.key, &report, Instant::now());
        }
        Landing::Flown(report)
    }

    /// With room for as long as anybody waits for a copy of it.
    async fn kept(&self, key: Key) -> Result<Option<(Report, Option<Arc<Turn>>)>, Refusal> {
        if let Some(failure) = self.failures.recall(&key, Instant::now()) {
            return Ok(Some((failure, None)));
        }
        let Some(shelf) = self.shelf.clone() else {
            return Ok(None);
        };
        let Some(size) = shelf.size(&key) else {
            return Ok(None);
        };
        // Its file, and what is decoded from that.
        let turn = turn(&self.reading, size.saturating_mul(2)).await?;
        // The room goes along, as the read goes on even if nobody waits for it any more.
        let read = move || (shelf.get(&key), Arc::new(turn));
        let read = tokio::task::spawn_blocking(read).await;
        let (got, turn) = read.expect("reading an entry does not panic on any input");
        Ok(match got {
            Ok(report) => report.map(|report| (report, Some(turn))),
            Err(flaw) => {
                tracing::warn!(%key, "a kept result is dropped, and the job is done again: {flaw}");
                None
            }
        })
    }

    /// Keeps a result if its job saw one and the same thing from before its beginning to its end.
    async fn keep(&self, plan: &Plan, report: &Arc<Report>) {
        let Some(shelf) = self.shelf.clone() else {
            return;
        };
        let (key, target) = (plan.key, &plan.target);
        let asked = timeout(PATIENCE, self.witness.ask(target)).await;
        if asked != Ok(Ok(plan.identity)) {
            tracing::info!(%target, "the result is not kept: the target changed while it was made");
            return;
        }
        let report = Arc::clone(report);
        let put = tokio::task::spawn_blocking(move || shelf.put(&key, &report)).await;
        match put.expect("writing an entry does not panic") {
            Ok(()) => tracing::debug!(%key, "the result is kept"),
            Err(error) => tracing::warn!(%key, "the result is not kept: {error}"),
        }
    }
}

impl Origin {
    /// As clients hear it.
    #[must_use]
    pub fn of_reply(&self) -> reply::Origin {
        match self {
            Self::Hit => reply::Origin::Hit,
            Self::Miss => reply::Origin::Miss,
            Self::Joined => reply::Origin::Joined,
            Self::Off(_) => reply::Origin::Off,
        }
    }

    /// One word for the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.of_reply().word()
    }
}

/// Whether the job had no chance to say anything: nobody else should hear of it.
fn is_ours(report: &Report) -> bool {
    matches!(
        report.outcome,
        Outcome::WorkerFault { .. } | Outcome::Cancelled | Outcome::Signalled { .. }
    )
}

/// Whether a report may be given to somebody who did not ask for it to be made.
fn is_keepable(report: &Report, target: &TargetName) -> bool {
    let mut modules = report.files.iter();
    stap_store::entry::is_worth_keeping(report)
        && modules.all(|file| !matches!(judge(file, &target.arch), Some(Verdict::Wrong(_))))
}

/// bpf objects are named after the number of stap's process, unless the client names them. What other
/// runtimes give is not known.
fn is_named_by_chance(job: &Job) -> bool {
    let Ok(line) = options::parse(&job.arguments) else {
        return true;
    };
    let mut runtimes = line.long_values("runtime");
    if runtimes.any(|runtime| !matches!(runtime, Some(b"kernel" | b"bpf"))) {
        return true;
    }
    let mut runtimes = line.long_values("runtime");
    let is_bpf = line.has_long("bpf") || runtimes.any(|runtime| runtime == Some(b"bpf"));
    is_bpf && !line.has_short('m')
}

/// Waits for so much room, or for too long.
async fn turn(room: &Arc<Semaphore>, bytes: u64) -> Result<Turn, Refusal> {
    let turn = Arc::clone(room).acquire_many_owned(permits(bytes));
    let full = Refusal::CopiesFull { retry: PATIENCE };
    let turn = timeout(PATIENCE, turn).await.map_err(|_late| full)?;
    Ok(turn.expect("the semaphore is never closed"))
}

/// What is larger than all the room is alone in it.
fn permits(bytes: u64) -> u32 {
    let mebibytes = bytes.div_ceil(1 << 20).clamp(1, u64::from(ROOM));
    u32::try_from(mebibytes).unwrap_or(ROOM)
}

/// Mebibytes, for reading and for copies each: some of the largest that the policies which come with the server allow, or
/// hundreds of the usual ones.
const ROOM: u32 = 256;
/// How often somebody waits for another's job that then tells him nothing.
const MOST_FLIGHTS: usize = 4;
/// How long a request waits to know what it could have found.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
