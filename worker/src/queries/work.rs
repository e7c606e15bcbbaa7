//! How the queries of a target are listed and built, one batch after the other.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use stap_driver::shim::{DEFERRED, MAKEFILE, NAME};
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answers};
use super::listing::{self, Batch, Kind};
use super::{Known, Missing, Ready, Step, missing, tapset_of};
use crate::driver::asking;
use crate::jail::{End, Errand, Fault, Finished, Room};
use crate::job::{RESULTS, Stage, file_left, last_line, sentence};
use crate::slots::Slot;
use crate::station::Station;
use crate::store::hexadecimal;
use crate::targets::Served;
use crate::warm::{PATIENCE, Variant, Warmth};

/// Where, for whom, and in whose turn queries are built.
pub(super) struct Worksite<'a> {
    pub(super) warmth: &'a Warmth,
    pub(super) station: &'a Station,
    pub(super) served: &'a Served,
    pub(super) variant: Variant,
    pub(super) slot: Slot,
    pub(super) cancelled: &'a CancellationToken,
    pub(super) key: String,
    pub(super) known: Arc<Known>,
}

/// How far it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was looked at.
    #[default]
    Unknown,
    /// What is left to build.
    Underway {
        left: VecDeque<Batch>,
        all: usize,
    },
    Complete,
    /// Not tried again for a while, for this reason.
    GivenUp {
        reason: String,
        since: Instant,
    },
}

/// Why a step came to nothing.
enum Stop {
    Cancelled,
    /// The next job may try again.
    Postponed(String),
    GivenUp(String),
}

impl Worksite<'_> {
    /// Lists the queries, or builds the next batch of those that are wanted. Whoever comes meanwhile waits for that.
    pub(super) async fn step(&self, is_wanted: impl Fn(&Batch) -> bool) -> Step {
        // Only waiting may be given up: whoever holds the lock ends its step in good order.
        let mut progress = tokio::select! {
            progress = self.known.progress.lock() => progress,
            () = self.cancelled.cancelled() => return Step::Cancelled,
        };
        self.advance(&mut progress, is_wanted).await
    }

    /// The same, or nothing while somebody else is at work.
    pub(super) async fn step_unless_busy(&self, is_wanted: impl Fn(&Batch) -> bool) -> Step {
        match self.known.progress.try_lock() {
            Ok(mut progress) => {
                if *progress == Progress::Unknown {
                    self.advance(&mut progress, &is_wanted).await;
                }
                self.advance(&mut progress, is_wanted).await
            }
            Err(_busy) => Step::Complete,
        }
    }

    async fn advance(&self, progress: &mut Progress, is_wanted: impl Fn(&Batch) -> bool) -> Step {
        if let Progress::GivenUp { since, .. } = progress
            && since.elapsed() >= PATIENCE
        {
            *progress = Progress::Unknown;
        }
        let stepped = match progress {
            Progress::Unknown => self.begin().await,
            Progress::Underway { left, all } => match left.iter().position(&is_wanted) {
                Some(next) => self.build(&left[next]).await.map(|()| {
                    left.remove(next);
                    Progress::underway(std::mem::take(left), *all)
                }),
                None => return Step::Complete,
            },
            Progress::Complete | Progress::GivenUp { .. } => return progress.step(is_wanted),
        };
        match stepped {
            Ok(next) => *progress = next,
            Err(Stop::Cancelled) => return Step::Cancelled,
            Err(Stop::Postponed(reason)) => return Step::GivenUp(reason),
            Err(Stop::GivenUp(reason)) => {
                let (target, variant) = (&self.served.target.name, self.variant.name());
                tracing::warn!(
                    "jobs for {target} ({variant}) compile queries themselves: {reason}"
                );
                *progress = Progress::given_up(reason);
            }
        }
        let step = progress.step(is_wanted);
        if step == Step::Complete {
            self.tell();
        }
        step
    }

    /// Takes what earlier workers left, without building anything, and without waiting.
    pub(super) fn recall(&self) {
        let Ok(mut progress) = self.known.progress.try_lock() else {
            return;
        };
        if *progress != Progress::Unknown {
            return;
        }
        let Some(batches) = listing::load(&self.warmth.store, &self.listing(), &self.known.seen)
        else {
            return;
        };
        match self.take(batches) {
            Ok(next) => *progress = next,
            Err(reason) => tracing::warn!(reason, "kept queries cannot be shown to jobs"),
        }
    }

    /// Finds out what there is to build, and takes what earlier workers have built of it.
    async fn begin(&self) -> Result<Progress, Stop> {
        let batches = match listing::load(&self.warmth.store, &self.listing(), &self.known.seen) {
            Some(batches) => batches,
            None => self.list().await?,
        };
        self.take(batches).map_err(Stop::GivenUp)
    }

    async fn list(&self) -> Result<Vec<Batch>, Stop> {
        let asking = asking(self.served).map_err(Stop::GivenUp)?;
        let deferring = [
            (NAME, stap_driver::PROGRAM, true),
            (MAKEFILE, &asking, false),
            (DEFERRED, b"" as &[u8], false),
        ];
        let shown = self.warmth.kits.shelf().put(&deferring);
        let shown = shown.map_err(|error| Stop::GivenUp(unwritable(&error)))?;
        let script = tapset_of(&self.known, self.served).script();
        let stage = self.stage(Some(shown.path()));
        let finished = self
            .run(&stage, |room| stage.listing(self.variant, &script, room))
            .await?;
        let batches = match &finished.workspace {
            Some(workspace) if matches!(finished.end, End::Exited(_)) => {
                listing::batches(workspace)
            }
            _ => Vec::new(),
        };
        if batches.is_empty() {
            let (end, said) = (finished.end, last_line(&finished.stderr.bytes));
            return Err(Stop::GivenUp(format!(
                "stap asked for no queries ({end:?}: {said})"
            )));
        }
        if let Err(error) = self.keep_listing(&batches) {
            tracing::warn!(%error, "the next start will have to list queries again");
        }
        Ok(batches)
    }

    /// Shows jobs what is in the store; the rest is left.
    fn take(&self, batches: Vec<Batch>) -> Result<Progress, String> {
        self.known.asked.know(&batches);
        let all = batches.len();
        let mut left = VecDeque::new();
        for batch in batches {
            match self.kept(&batch) {
                Some(answers) => self.show(&batch, &answers)?,
                None => left.push_back(batch),
            }
        }
        if !left.is_empty() {
            let (target, variant) = (&self.served.target.name, self.variant.name());
            let count = |kind| {
                let batches = left.iter().filter(|batch: &&Batch| batch.kind == kind);
                batches.map(|batch| batch.objects.len()).sum::<usize>()
            };
            let (traces, types) = (count(Kind::Tracepoints), count(Kind::Types));
            tracing::info!(
                "{target} ({variant}): not built yet are {traces} queries of tracepoints and {types} of types"
            );
        }
        Ok(Progress::underway(left, all))
    }

    async fn build(&self, batch: &Batch) -> Result<(), Stop> {
        let stage = self.stage(None);
        let finished = self
            .run(&stage, |room| {
                stage.query(&batch.directory, &batch.words, &batch.files, room)
            })
            .await?;
        let Some(workspace) = finished
            .workspace
            .as_ref()
            .filter(|_| matches!(finished.end, End::Exited(_)) && !finished.stderr.is_cut)
        else {
            let (end, said) = (finished.end, last_line(&finished.stderr.bytes));
            return Err(Stop::GivenUp(format!("kbuild ended with {end:?}: {said}")));
        };
        let place = Path::new(RESULTS).join(&batch.directory);
        let object = |name: &str| file_left(workspace, &place.join(name), answer::MAX_ANSWER);
        let said = String::from_utf8_lossy(&finished.stderr.bytes);
        let answers = answer::judge(batch, object, &said);
        self.known.add_cost(finished.usage.cpu);
        let unanswered = batch.objects.len() - answers.len();
        if unanswered > 0 {
            tracing::warn!(
                "{unanswered} queries have no answer, and jobs ask them again: {}",
                last_line(said.as_bytes())
            );
        }
        let entry = self.entry(batch);
        // First, as it has a bound that the store is to have, too.
        self.show(batch, &answers).map_err(Stop::GivenUp)?;
        if let Err(error) = self.keep(batch, &answers) {
            tracing::warn!(%error, "the next start will have to build queries again");
        }
        let missing = missing::of(batch, &answers, &entry, &self.served.target.root);
        if let Some(first) = missing.first() {
            let headers: Vec<_> = missing.iter().map(Missing::short_name).collect();
            let (target, headers) = (&self.served.target.name, headers.join(", "));
            let (error, told) = (&first.error, first.told.display());
            tracing::info!(
                "tracepoints of {headers} are missing for {target}: {error}; the compiler's words are beside {told}"
            );
        }
        Ok(())
    }

    /// Lets jobs use the answers from now on.
    fn show(&self, batch: &Batch, answers: &Answers) -> Result<(), String> {
        let missing = missing::of(batch, answers, &self.entry(batch), &self.served.target.root);
        let mut ready = self
            .known
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let so_far = match &*ready {
            Some(ready) => ready.clone(),
            None => self.nothing().map_err(|error| unwritable(&error))?,
        };
        let more = so_far.with(batch, answers, missing);
        *ready = Some(more.map_err(|error| unwritable(&error))?);
        self.known.asked.forget(batch);
        Ok(())
    }

    /// All variants of a target share a directory, as most of their answers are the same.
    fn nothing(&self) -> io::Result<Ready> {
        let mut shown = self.warmth.queries.shown();
        let seen = &self.known.seen;
        let shown = match shown.get(seen) {
            Some(shown) => shown.clone(),
            None => {
                let fresh = self.warmth.kits.shelf().put(&[])?;
                shown.insert(seen.clone(), fresh.clone());
                fresh
            }
        };
        Ready::nothing(shown)
    }

    fn tell(&self) {
        let (target, variant) = (&self.served.target.name, self.variant.name());
        let ready = self.known.ready();
        let ready = ready.as_ref();
        let known = ready.map_or(0, |ready| ready.links().len());
        let cost = self.known.cost();
        tracing::info!(
            "{target} ({variant}): {known} queries of tracepoints and types need not be compiled any more; that \
             took {cost:.1?} of CPU"
        );
    }

    fn stage<'a>(&'a self, driver: Option<&'a Path>) -> Stage<'a> {
        Stage {
            station: self.station,
            served: self.served,
            slot: self.slot,
            driver,
        }
    }

    async fn run(
        &self,
        stage: &Stage<'_>,
        errand: impl FnOnce(&Room) -> Result<Errand, Fault>,
    ) -> Result<Finished, Stop> {
        let jail = &self.station.jail;
        let ran = async {
            let room = jail.room(stage.identity())?;
            let errand = errand(&room)?;
            jail.run(errand, room, self.cancelled).await
        };
        let finished = ran.await.map_err(|fault| {
            let reason = sentence(&fault);
            self.warmth.leaks.note(self.slot, fault);
            Stop::GivenUp(reason)
        })?;
        if matches!(finished.end, End::Cancelled) {
            return Err(Stop::Cancelled);
        }
        let (station, target) = (self.station, &self.served.target.name);
        match station.sights.look_at(station, target).await {
            Ok(seen) if hexadecimal(&seen) == self.known.seen => Ok(finished),
            Ok(_other) => Err(Stop::GivenUp(
                "what jobs see changed while they were built".to_owned(),
            )),
            Err(error) => Err(Stop::Postponed(sentence(&error))),
        }
    }

    fn kept(&self, batch: &Batch) -> Option<Answers> {
        let entry = self.entry(batch);
        answer::load(&self.warmth.store, &entry, &self.known.seen, batch)
    }

    fn keep(&self, batch: &Batch, answers: &Answers) -> io::Result<()> {
        self.warmth.note_owner(self.served);
        let entry = self.entry(batch);
        answer::publish(&self.warmth.store, &entry, &self.known.seen, batch, answers)
    }

    fn keep_listing(&self, batches: &[Batch]) -> io::Result<()> {
        self.warmth.note_owner(self.served);
        let entry = self.listing();
        listing::publish(&self.warmth.store, &entry, &self.known.seen, batches)
    }

    /// Names the listing in the store.
    fn listing(&self) -> String {
        format!("{}-listing", self.key)
    }

    /// Names the answers of a batch in the store.
    fn entry(&self, batch: &Batch) -> String {
        let identity = self.warmth.identity(self.served);
        format!("{identity}-queries-{}", batch.digest())
    }
}

impl Progress {
    fn given_up(reason: String) -> Self {
        let since = Instant::now();
        Self::GivenUp { reason, since }
    }

    fn underway(left: VecDeque<Batch>, all: usize) -> Self {
        if left.is_empty() {
            Self::Complete
        } else {
            Self::Underway { left, all }
        }
    }

    fn step(&self, is_wanted: impl Fn(&Batch) -> bool) -> Step {
        match self {
            Self::Underway { left, all } if left.iter().any(is_wanted) => Step::More {
                done: all - left.len(),
                all: *all,
            },
            Self::Underway { .. } => Step::Complete,
            Self::GivenUp { reason, .. } => Step::GivenUp(reason.clone()),
            Self::Unknown | Self::Complete => Step::Complete,
        }
    }
}

fn unwritable(error: &io::Error) -> String {
    format!("what jobs are to see cannot be written: {error}")
}
