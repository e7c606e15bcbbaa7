//! The life of a worker: configured once, then jobs until the coordinator is gone.
//!
//! One task owns the table of jobs and the free slots. Each job is a task of its own that knows
//! nothing of the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use stap_protocol::examination::Question;
use stap_protocol::job::{
    Configuration, FromWorker, Job, JobId, Outcome, Report, ToWorker, Warming,
};
use stap_protocol::target::TargetName;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::jail::Fault;
use crate::job;
use crate::link::{Link, LinkError, Unopened};
use crate::slots::{Slot, Slots};
use crate::station::{Ground, Station};
use crate::warm::Variant;

/// Why a session ended otherwise than by the coordinator's leave.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The socket.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The coordinator does not follow the protocol.
    #[error("the coordinator sent {0}; all programs must come from the same build")]
    Unexpected(&'static str),
    /// No job can run any more.
    #[error("something of a job may be left in every slot; end it, and start the server again")]
    NoSlots,
}

/// What a coordinator wants of a worker.
#[derive(Debug)]
pub enum Errand {
    /// Jobs, until it is gone.
    Serve(Box<Configuration>),
    /// One answer about this host.
    Examine(Box<Question>),
}

/// Waits for what a coordinator says first; `None` when it is gone instead.
///
/// # Errors
///
/// When it says something else, or nothing that can be read.
pub fn errand(link: &Unopened) -> Result<Option<Errand>, SessionError> {
    match link.first()? {
        Some(ToWorker::Configure(configuration)) => Ok(Some(Errand::Serve(configuration))),
        Some(ToWorker::Examine(question)) => Ok(Some(Errand::Examine(question))),
        Some(_) => Err(SessionError::Unexpected(
            "something before the configuration",
        )),
        None => Ok(None),
    }
}

/// Serves one coordinator to the end. When this returns, no job and nothing of one is left.
///
/// # Errors
///
/// When the conversation broke off.
pub async fn serve(
    mut link: Link,
    configuration: Configuration,
    ground: Ground,
) -> Result<(), SessionError> {
    let slots = Slots::of(configuration.slots);
    let station = match Station::prepare(configuration, ground).await {
        Ok((station, readiness)) => {
            link.send(&FromWorker::Ready(readiness)).await?;
            Arc::new(station)
        }
        Err(error) => {
            let reason = job::sentence(&error);
            return Ok(link.send(&FromWorker::NotReady { reason }).await?);
        }
    };
    let mut session = Session {
        link,
        stop: station.stop.clone(),
        station,
        slots,
        waiting: VecDeque::new(),
        running: HashMap::new(),
        jobs: JoinSet::new(),
        questions: JoinSet::new(),
        warming: JoinSet::new(),
        recordings: JoinSet::new(),
    };
    let outcome = session.run().await;
    session.end().await;
    outcome
}

struct Session {
    link: Link,
    station: Arc<Station>,
    slots: Slots,
    waiting: VecDeque<(JobId, Box<Job>)>,
    running: HashMap<JobId, CancellationToken>,
    jobs: JoinSet<(JobId, Slot, job::Ended)>,
    questions: JoinSet<FromWorker>,
    /// At most one piece of work for all.
    warming: JoinSet<(Slot, Result<Warming, Fault>)>,
    /// At most one at a time, in the slot of a job that is done.
    recordings: JoinSet<(JobId, Slot, Result<(), Fault>)>,
    /// Ends both.
    stop: CancellationToken,
}

impl Session {
    async fn run(&mut self) -> Result<(), SessionError> {
        loop {
            // All are cancel-safe: a message is taken whole or not at all, and so is a result.
            tokio::select! {
                message = self.link.next() => match message? {
                    Some(message) => self.hear(message).await?,
                    None => return Ok(()),
                },
                Some(done) = self.jobs.join_next() => self.finish(done).await?,
                Some(answer) = self.questions.join_next() => {
                    let panicked = |_| SessionError::Unexpected("a question that cannot be answered");
                    self.link.send(&answer.map_err(panicked)?).await?;
                }
                Some(warmed) = self.warming.join_next() => self.warmed(warmed).await?,
                Some(recorded) = self.recordings.join_next() => self.recorded(recorded).await?,
            }
            self.start_waiting().await?;
        }
    }

    async fn hear(&mut self, message: ToWorker) -> Result<(), SessionError> {
        match message {
            ToWorker::Configure(_) | ToWorker::Examine(_) => {
                Err(SessionError::Unexpected("a second configuration"))
            }
            ToWorker::Run { id, job } if self.waiting.len() < MAX_WAITING => {
                self.waiting.push_back((id, job));
                Ok(())
            }
            ToWorker::Run { id, .. } => {
                let reason = format!("more than {MAX_WAITING} jobs wait in the worker");
                self.report(id, job::bare(Outcome::WorkerFault { reason }))
                    .await
            }
            ToWorker::Cancel { id } => self.cancel(id).await,
            ToWorker::Identify { number, target } => {
                self.identify(number, target);
                Ok(())
            }
            ToWorker::Warm { target, guru } => self.warm(target, guru),
        }
    }

    fn warm(&mut self, target: TargetName, guru: bool) -> Result<(), SessionError> {
        if !self.warming.is_empty() {
            return Err(SessionError::Unexpected("a second warm-up"));
        }
        let no_slot = SessionError::Unexpected("a warm-up while all slots have jobs");
        let slot = self.slots.take().ok_or(no_slot)?;
        let (station, stop) = (Arc::clone(&self.station), self.stop.clone());
        let variant = if guru { Variant::Guru } else { Variant::Plain };
        self.warming.spawn(async move {
            let warming = match station.catalogue.find(&target) {
                Some(served) => {
                    let warmth = &station.warmth;
                    warmth.advance(&station, served, variant, slot, &stop).await
                }
                None => Ok(Warming::Cold {
                    reason: format!("no target {target}"),
                }),
            };
            (slot, warming)
        });
        Ok(())
    }

    async fn warmed(
        &mut self,
        warmed: Result<(Slot, Result<Warming, Fault>), JoinError>,
    ) -> Result<(), SessionError> {
        let panicked = |_| SessionError::Unexpected("a target that cannot be warmed");
        let (slot, warming) = warmed.map_err(panicked)?;
        self.free(slot, warming.is_ok())?;
        let warming = warming.unwrap_or_else(|fault| Warming::Cold {
            reason: job::sentence(&fault),
        });
        Ok(self.link.send(&FromWorker::Warmed(warming)).await?)
    }

    /// Gives a slot back, or never again if something may be left in it.
    fn free(&mut self, slot: Slot, is_gone: bool) -> Result<(), SessionError> {
        if is_gone {
            self.slots.give_back(slot);
        } else if self.slots.lose(slot) == 0 {
            return Err(SessionError::NoSlots);
        }
        Ok(())
    }

    fn identify(&mut self, number: u64, target: TargetName) {
        let station = Arc::clone(&self.station);
        self.questions.spawn(async move {
            let identity = station.sights.identify(&station, &target).await;
            let identity = identity.map_err(|error| job::sentence(&error));
            FromWorker::Identity { number, identity }
        });
    }

    async fn cancel(&mut self, id: JobId) -> Result<(), SessionError> {
        if let Some(running) = self.running.get(&id) {
            running.cancel();
            return Ok(());
        }
        let Some(position) = self.waiting.iter().position(|(waiting, _)| *waiting == id) else {
            return Ok(());
        };
        self.waiting.remove(position);
        self.report(id, job::bare(Outcome::Cancelled)).await
    }

    async fn start_waiting(&mut self) -> Result<(), SessionError> {
        while !self.waiting.is_empty() {
            let Some(slot) = self.slots.take() else {
                return Ok(());
            };
            let Some((id, job)) = self.waiting.pop_front() else {
                return Ok(());
            };
            self.link.send(&FromWorker::Started { id }).await?;
            self.start(id, *job, slot);
        }
        Ok(())
    }

    fn start(&mut self, id: JobId, job: Job, slot: Slot) {
        let span = tracing::info_span!("request", id = %job.request);
        let cancelled = CancellationToken::new();
        self.running.insert(id, cancelled.clone());
        let station = Arc::clone(&self.station);
        let run = async move {
            let ended = job::run(&station, id, job, slot, &cancelled).await;
            let Report { outcome, usage, .. } = &ended.report;
            tracing::debug!(?outcome, ?usage, "the job ended");
            (id, slot, ended)
        };
        self.jobs.spawn(run.instrument(span));
    }

    async fn finish(
        &mut self,
        done: Result<(JobId, Slot, job::Ended), JoinError>,
    ) -> Result<(), SessionError> {
        match done {
            Ok((id, slot, ended)) => {
                self.running.remove(&id);
                // Others are for the next jobs to ask for: not all slots at once are to be without jobs.
                let may_record = ended.is_gone && self.recordings.is_empty();
                let due = ended.due.filter(|_| may_record);
                let keeps_slot = due.is_some();
                self.tell(id, ended.report, keeps_slot).await?;
                match due {
                    Some(due) => {
                        self.record(id, slot, due);
                        Ok(())
                    }
                    None => self.free(slot, ended.is_gone),
                }
            }
            // A job that panicked left its slot in an unknown state. Ending the worker ends all of
            // them, and the coordinator starts over.
            Err(error) => {
                tracing::error!(%error, "a job's task ended by a panic");
                Err(SessionError::Unexpected("a job that cannot be run"))
            }
        }
    }

    /// Makes what the job could not use yet, now that nobody waits for it.
    fn record(&mut self, id: JobId, slot: Slot, due: job::Due) {
        let (station, stop) = (Arc::clone(&self.station), self.stop.clone());
        self.recordings.spawn(async move {
            let recorded = due.record(&station, slot, &stop).await;
            (id, slot, recorded)
        });
    }

    async fn recorded(
        &mut self,
        recorded: Result<(JobId, Slot, Result<(), Fault>), JoinError>,
    ) -> Result<(), SessionError> {
        let panicked = |_| SessionError::Unexpected("a target that cannot be recorded");
        let (id, slot, recorded) = recorded.map_err(panicked)?;
        self.free(slot, recorded.is_ok())?;
        Ok(self.link.send(&FromWorker::Released { id }).await?)
    }

    /// Of a job that never ran.
    async fn report(&mut self, id: JobId, report: Report) -> Result<(), SessionError> {
        self.tell(id, report, false).await
    }

    async fn tell(
        &mut self,
        id: JobId,
        report: Report,
        keeps_slot: bool,
    ) -> Result<(), SessionError> {
        let done = FromWorker::Done {
            id,
            report: Box::new(report),
            keeps_slot,
        };
        Ok(self.link.send(&done).await?)
    }

    /// Kills what runs, waits until all of it is gone, and gives everything back.
    async fn end(mut self) {
        self.running.values().for_each(CancellationToken::cancel);
        self.stop.cancel();
        if let Some(Err(error)) = self.warming.join_next().await {
            tracing::error!(%error, "a warm-up ended by a panic");
        }
        while let Some(recorded) = self.recordings.join_next().await {
            if let Err(error) = recorded {
                tracing::error!(%error, "a recording ended by a panic");
            }
        }
        while let Some(ended) = self.jobs.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a job's task ended by a panic");
            }
        }
    }
}

/// The coordinator has the queue; this only keeps a coordinator that is wrong from filling memory.
const MAX_WAITING: usize = 1024;
