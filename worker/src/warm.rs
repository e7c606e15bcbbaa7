//! What stap learns about a kernel by trying, kept so that no client waits for it twice.
//!
//! The first module for a kernel makes stap compile some two hundred small probes of the kernel's
//! features. Their result is one header. It is built here by a job without any user's input, in the
//! same view of the world that clients' jobs get, because stap names it after the paths, sizes and
//! times that it sees. Jobs get a copy in their private workspace; nothing that a job writes ever
//! comes back.

mod leaks;
mod owner;
mod variant;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use stap_protocol::job::{Pass4, Warming, Way};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use self::leaks::Leaks;
use self::owner::Owner;
pub use self::variant::Variant;
use crate::driver::{Kits, Learner, Offer, Shown};
use crate::jail::{End, Fault};
use crate::job::{MAX_SEED, Stage, collect_seed, is_seed, last_line, sentence};
use crate::queries::{Queries, Ready, Step};
use crate::slots::Slot;
use crate::station::Station;
use crate::store::{Store, hexadecimal};
use crate::targets::{Catalogue, Served};

/// The feature probes of every target, as far as they were needed.
#[derive(Debug)]
pub struct Warmth {
    pub(crate) store: Store,
    /// Names everything about jails that decides how stap names its probes.
    view: Vec<u8>,
    /// What it takes to replay pass 4.
    pub(crate) kits: Kits,
    pub(crate) queries: Queries,
    /// Of trusted jobs.
    pub(crate) leaks: Leaks,
    /// One permit for a warm-up whose client has left.
    alone: Semaphore,
    states: StdMutex<BTreeMap<String, Arc<Mutex<State>>>>,
}

/// Files for stap's cache, by their path below it.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// Few and small.
    pub files: Arc<Vec<(PathBuf, Vec<u8>)>>,
    /// What replays kbuild, where that is proven.
    pub driver: Option<Shown>,
    /// Whether it is time to [record](Warmth::record) what would do so.
    pub is_due: bool,
    /// What stap need not compile to learn of tracepoints and types.
    pub queries: Option<Ready>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    Warm {
        seed: Seed,
        site: Site,
    },
    /// Tried and failed, for this reason; jobs run cold for a while rather than each try again.
    Cold {
        reason: String,
        since: Instant,
    },
}

/// What a target was when its probes were made.
#[derive(Clone, Debug)]
struct Site {
    /// What jobs saw, where that can be known.
    seen: Option<[u8; 32]>,
    build_id: String,
}

impl Warmth {
    /// Starts with what earlier workers left in the store.
    #[must_use]
    pub fn new(store: Store, view: Vec<u8>, kits: Kits) -> Self {
        Self {
            store,
            view,
            kits,
            queries: Queries::default(),
            leaks: Leaks::default(),
            alone: Semaphore::new(1),
            states: StdMutex::default(),
        }
    }

    /// Returns the seed for a job, building it at the first need. Other jobs of the same target wait
    /// for that one; a job that is cancelled while it waits gets nothing. What is built is not lost with the job
    /// that came first.
    pub async fn seed(
        &self,
        station: &Station,
        served: &Served,
        arguments: &[Vec<u8>],
        slot: Slot,
        cancelled: &CancellationToken,
    ) -> Seed {
        match Variant::needed_by(arguments).filter(|_| served.can_be_warmed) {
            None => Seed::default(),
            Some(variant) => {
                let seed = self.seed_of(station, served, variant, slot, cancelled);
                seed.await.unwrap_or_default()
            }
        }
    }

    /// Does the next piece of all that makes the jobs of a target cheaper.
    ///
    /// # Errors
    ///
    /// When something may be left in the slot.
    pub async fn advance(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
        slot: Slot,
        cancelled: &CancellationToken,
    ) -> Result<Warming, Fault> {
        let advanced = async {
            let cold = |reason: String| Ok(Warming::Cold { reason });
            if !served.can_be_warmed {
                return cold("its stap is a replacement, of which nothing is known".to_owned());
            }
            let seed = self.seed_of(station, served, variant, slot, cancelled);
            match seed.await {
                Ok(Seed { is_due: true, .. }) => {
                    let record = self.record(station, served, variant, slot, cancelled);
                    record.await?;
                }
                Ok(_) => {}
                Err(reason) => return cold(reason),
            }
            match self.step(station, served, variant, slot, cancelled).await {
                Step::More { done, all, .. } => Ok(Warming::Underway { done, all }),
                Step::Complete => match self.obstacle(station, served, variant).await {
                    Some(reason) => cold(format!("pass 4 runs make as usual: {reason}")),
                    None => Ok(Warming::Warm),
                },
                Step::GivenUp(reason) => cold(reason),
                Step::Cancelled => cold("it was stopped".to_owned()),
            }
        };
        let warming: Result<Warming, Fault> = advanced.await;
        // What a trusted job on the way may have left is the slot's, whatever became of the rest.
        self.leaks.take(slot).map_or(warming, Err)
    }

    /// The same for a way of calling stap; `Err` says why there is none.
    async fn seed_of(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
        slot: Slot,
        cancelled: &CancellationToken,
    ) -> Result<Seed, String> {
        let looked = station.sights.look_at(station, &served.target.name);
        let seen = looked.await.ok();
        let shared = self.state(&self.key(served, variant));
        // Only waiting may be given up: whoever holds the lock ends its warm-up in good order.
        let mut state = tokio::select! {
            state = shared.lock() => state,
            () = cancelled.cancelled() => return Err("it was stopped".to_owned()),
        };
        if cancelled.is_cancelled() {
            return Err("it was stopped".to_owned());
        }
        state.reconsider(served, seen).await;
        if matches!(*state, State::Unknown) {
            let site = Site::of(served, seen).await;
            let first = First {
                cancelled,
                state: &shared,
            };
            let warmed = self.warmed(station, served, variant, site, slot, first);
            *state = warmed.await;
        }
        let seed = match &*state {
            State::Warm { seed, .. } => seed.clone(),
            State::Unknown => return Err("it was stopped".to_owned()),
            State::Cold { reason, .. } => return Err(reason.clone()),
        };
        drop(state);
        if station.keeps_from_replaying(served).is_some() {
            return Ok(seed);
        }
        let learner = self.learner(station, served, variant, slot, &seed, cancelled);
        Ok(match self.kits.offer(&self.store, &learner).await {
            Offer::Kit(shown) => Seed {
                driver: Some(shown),
                ..seed
            },
            Offer::Make => seed,
            Offer::Due => Seed {
                is_due: true,
                ..seed
            },
        })
    }

    /// Records what replays kbuild, where a [seed](Self::seed) said that this is due. It takes a slot's time, so nobody
    /// should wait for it who has not asked for it.
    ///
    /// # Errors
    ///
    /// When something may be left in the slot.
    pub async fn record(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
        slot: Slot,
        cancelled: &CancellationToken,
    ) -> Result<(), Fault> {
        let seed = self.seed_of(station, served, variant, slot, cancelled);
        let seed = seed.await;
        if let Some(leak) = self.leaks.take(slot) {
            return Err(leak);
        }
        let Ok(seed) = seed else { return Ok(()) };
        let learner = self.learner(station, served, variant, slot, &seed, cancelled);
        self.kits.record(&self.store, &learner).await
    }

    fn learner<'a>(
        &'a self,
        station: &'a Station,
        served: &'a Served,
        variant: Variant,
        slot: Slot,
        seed: &'a Seed,
        cancelled: &'a CancellationToken,
    ) -> Learner<'a> {
        Learner {
            stage: Stage {
                station,
                served,
                slot,
                driver: None,
            },
            variant,
            seed,
            shelf: self.kits.shelf(),
            cancelled,
        }
    }

    /// Why pass 4 is not replayed, where the policy wants it.
    async fn obstacle(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
    ) -> Option<String> {
        if station.keeps_from_replaying(served).is_some() {
            return None;
        }
        if self.kits.lacks_room() {
            return Some(
                "compile.kept of the policy has no room for the recordings of all targets"
                    .to_owned(),
            );
        }
        let ways = self.pass_4(None, station, served).await;
        let own = ways.into_iter().find(|way| way.flags == variant.name())?;
        match own.way {
            Way::Replayed => None,
            Way::Make => Some(own.reason),
            Way::Untried => {
                Some(
                    "it could not be recorded, what jobs see has changed, or no recording can be kept; the log says which"
                        .to_owned(),
                )
            }
        }
    }

    /// How pass 4 of a target is done, as far as `store` says, or our own.
    pub async fn pass_4(
        &self,
        store: Option<&Store>,
        station: &Station,
        served: &Served,
    ) -> Vec<Pass4> {
        let store = store.unwrap_or(&self.store);
        self.kits.ways(store, station, served).await
    }

    /// Removes what no target of this host needs any more.
    pub fn tidy(&self, catalogue: &Catalogue) {
        self.kits.tidy(&self.store);
        let served = catalogue.served();
        let serving = served.map(|served| (self.identity(served), self.owner(served)));
        owner::tidy(&self.store, &serving.collect());
        self.store.forget_absences();
    }

    /// Notes for whom something is about to be kept.
    pub(crate) fn note_owner(&self, served: &Served) {
        self.owner(served).note(&self.store, &self.identity(served));
    }

    fn owner(&self, served: &Served) -> Owner {
        Owner {
            root: served.target.root.clone(),
            tree: served.target.build_tree.clone(),
            named: served.named.clone(),
            view: hexadecimal(&Sha256::digest(&self.view)),
        }
    }

    fn state(&self, key: &str) -> Arc<Mutex<State>> {
        // Nobody can panic while holding it, and a map is a map even so.
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(states.entry(key.to_owned()).or_default())
    }

    async fn warmed(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
        mut site: Site,
        slot: Slot,
        first: First<'_>,
    ) -> State {
        let identity = self.identity_of(served, &site.build_id);
        let key = format!("{identity}-{}", variant.name());
        let kept = self.store.load_sealed(&key, ALWAYS, is_seed, MAX_SEED);
        if let Ok(files) = kept {
            let seed = Seed::of(files);
            return State::Warm { seed, site };
        }
        let target = served.target.name.to_string();
        tracing::info!("warming {target} ({}); its jobs wait", variant.name());
        match self.warm_up(station, served, variant, slot, first).await {
            Ok(WarmUp::Done(files)) => {
                // What was made while the target changed belongs to neither; who comes next looks again.
                if Site::of(served, None).await.build_id != site.build_id {
                    site.seen = None;
                } else {
                    self.owner(served).note(&self.store, &identity);
                    if let Err(error) = self.store.publish_sealed(&key, ALWAYS, &files) {
                        tracing::warn!(%error, "the next start will have to warm again");
                    }
                }
                let seed = Seed::of(files);
                State::Warm { seed, site }
            }
            Ok(WarmUp::Cancelled) => State::Unknown,
            Ok(WarmUp::Failed(reason)) => {
                tracing::warn!("jobs for {target} run cold: {reason}");
                State::cold(reason)
            }
            Err(fault) => {
                let reason = sentence(&fault);
                tracing::error!("jobs for {target} run cold: {reason}");
                self.leaks.note(slot, fault);
                State::cold(reason)
            }
        }
    }

    /// Goes on without the client who came first, so that the next one does not begin anew; but where no other waits yet, for
    /// one such client only, as nobody counts the slot as his any more.
    async fn warm_up(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
        slot: Slot,
        first: First<'_>,
    ) -> Result<WarmUp, Fault> {
        let stop = station.stop.child_token();
        let mut warming = pin!(warm_up(station, served, variant, slot, &stop));
        tokio::select! {
            warmed = &mut warming => return warmed,
            () = first.cancelled.cancelled() => {}
        }
        let alone = self.alone.try_acquire();
        if alone.is_err() && !first.is_followed() {
            stop.cancel();
        }
        warming.await
    }

    /// Differs whenever stap would look for other files.
    pub(crate) fn key(&self, served: &Served, variant: Variant) -> String {
        format!("{}-{}", self.identity(served), variant.name())
    }

    /// The same, whatever the variant.
    pub(crate) fn identity(&self, served: &Served) -> String {
        self.identity_of(served, &served.target.build_id)
    }

    fn identity_of(&self, served: &Served, build_id: &str) -> String {
        let mut digest = Sha256::new();
        let root = served.target.root.as_os_str().as_encoded_bytes();
        for field in [
            FORMAT,
            build_id.as_bytes(),
            served.named.as_bytes(),
            root,
            &self.view,
        ] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        hexadecimal(&digest.finalize())
    }
}

/// Whoever has a target warmed.
struct First<'a> {
    cancelled: &'a CancellationToken,
    state: &'a Arc<Mutex<State>>,
}

impl First<'_> {
    /// Whether others wait for it: the map of states has one, and so have we.
    fn is_followed(&self) -> bool {
        Arc::strong_count(self.state) > 2
    }
}

impl State {
    fn cold(reason: String) -> Self {
        let since = Instant::now();
        Self::Cold { reason, since }
    }

    /// Forgets what was found out about a target that has become another one, and what failed long ago.
    async fn reconsider(&mut self, served: &Served, seen: Option<[u8; 32]>) {
        let is_of_use = match self {
            Self::Unknown => true,
            Self::Warm { site, .. } => site.holds(served, seen).await,
            Self::Cold { since, .. } => since.elapsed() < PATIENCE,
        };
        if !is_of_use {
            *self = Self::Unknown;
        }
    }
}

impl Site {
    async fn of(served: &Served, seen: Option<[u8; 32]>) -> Self {
        let current = served.clone();
        let build_id = tokio::task::spawn_blocking(move || current.current_build_id()).await;
        let build_id = build_id.ok().and_then(Result::ok);
        Self {
            seen,
            // Nothing can be built for one that is not there, and that will be said.
            build_id: build_id.unwrap_or_else(|| served.target.build_id.clone()),
        }
    }

    /// Whether what was made is good for now. Most of what jobs see has nothing to do with it.
    async fn holds(&mut self, served: &Served, seen: Option<[u8; 32]>) -> bool {
        if seen.is_some() && self.seen == seen {
            return true;
        }
        let is_same = Self::of(served, seen).await.build_id == self.build_id;
        if is_same {
            self.seen = seen;
        }
        is_same
    }
}

impl Seed {
    /// Takes what [`collect_seed`] found.
    #[must_use]
    pub fn of(files: Vec<(PathBuf, Vec<u8>)>) -> Self {
        Self {
            files: Arc::new(files),
            ..Self::default()
        }
    }
}

enum WarmUp {
    Done(Vec<(PathBuf, Vec<u8>)>),
    Cancelled,
    Failed(String),
}

async fn warm_up(
    station: &Station,
    served: &Served,
    variant: Variant,
    slot: Slot,
    cancelled: &CancellationToken,
) -> Result<WarmUp, Fault> {
    let stage = Stage {
        station,
        served,
        slot,
        driver: None,
    };
    let room = station.jail.room(stage.identity())?;
    let errand = stage.warm_up(variant, &room)?;
    let finished = station.jail.run(errand, room, cancelled).await?;
    let files = finished
        .workspace
        .as_ref()
        .map(collect_seed)
        .unwrap_or_default();
    Ok(match finished.end {
        End::Cancelled => WarmUp::Cancelled,
        End::Exited(0) if !files.is_empty() => {
            let (wall, cpu) = (finished.usage.wall, finished.usage.cpu);
            tracing::info!("warmed in {wall:.1?} with {cpu:.1?} of CPU");
            WarmUp::Done(files)
        }
        End::Exited(0) => WarmUp::Failed("stap left no feature probes in its cache".to_owned()),
        end => WarmUp::Failed(format!("{end:?}: {}", last_line(&finished.stderr.bytes))),
    })
}

/// stap names its probes after the kernel's configuration and symbols, the compiler and itself. So a
/// job that sees others does not find them, and probes itself.
const ALWAYS: &str = "";
/// When something that has failed is tried again.
pub(crate) const PATIENCE: Duration = Duration::from_mins(15);
/// Changes whenever entries are written otherwise.
const FORMAT: &[u8] = b"stap warm 2";
