//! Which targets have a kit, and what kits may cost.
//!
//! A kit was proven for what jobs of its target saw at that time: headers, compilers, and programs of
//! the server's. It is used only while the worker knows that they see the same ([`crate::sight`]); after
//! any change it is recorded and proven again, in the slot of the first job that could have used it, when that job has
//! been answered. Until then, and where it cannot be known what jobs see, pass 4 runs make.
//!
//! Kits are kept in the store, and those in use lie below the directory for temporary files, where jobs
//! can see them. Both have a bound; what was not used for longest goes first.

mod known;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use stap_policy::Compile;
use stap_protocol::job::{Pass4, Way};
use stap_protocol::target::TargetIdentity;
use tokio::sync::Mutex;

use self::known::{Known, State};
use super::about::{self, About};
use super::{Kit, Learned, Learner, Shelf, Shown, program_digest};
use crate::jail::Fault;
use crate::job::sentence;
use crate::station::Station;
use crate::store::{Store, hexadecimal};
use crate::targets::Served;
use crate::targets::root::is_there;
use crate::warm::Variant;

/// The kits of this worker's targets.
#[derive(Debug)]
pub struct Kits {
    shelf: Shelf,
    bounds: Compile,
    /// Differs between servers whose jobs are given other things.
    view: Vec<u8>,
    known: StdMutex<BTreeMap<String, Arc<Mutex<Known>>>>,
    shown: StdMutex<Vec<Place>>,
    lacks_room: AtomicBool,
}

/// What a job gets for its pass 4.
#[derive(Debug)]
pub enum Offer {
    /// It is replayed with this.
    Kit(Shown),
    /// make runs.
    Make,
    /// make runs, and it is time to [record](Kits::record) for others.
    Due,
}

/// A kit that jobs can see.
#[derive(Debug)]
struct Place {
    key: String,
    bytes: u64,
    shown: Shown,
}

impl Kits {
    /// None yet; directories for jobs will be on the shelf.
    #[must_use]
    pub fn new(shelf: Shelf, bounds: Compile, view: Vec<u8>) -> Self {
        Self {
            shelf,
            bounds,
            view,
            known: StdMutex::default(),
            shown: StdMutex::default(),
            lacks_room: AtomicBool::default(),
        }
    }

    /// Whether something had to go that jobs of this worker could have used.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.lacks_room.load(Ordering::Relaxed)
    }

    /// Where the directories of trusted jobs are, too.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// What a job of this target and these flags gets.
    pub async fn offer(&self, store: &Store, learner: &Learner<'_>) -> Offer {
        let Some(identity) = self.identity(learner).await else {
            return Offer::Make;
        };
        let key = self.key(learner.stage.served, learner.variant);
        let known = self.known(&key);
        let mut known = tokio::select! {
            known = known.lock() => known,
            () = learner.cancelled.cancelled() => return Offer::Make,
        };
        self.settled(store, learner, &key, identity, &mut known)
    }

    /// Records what an [offer](Self::offer) said to be due, unless somebody else does or has; jobs run make meanwhile.
    ///
    /// # Errors
    ///
    /// When something may be left in the slot.
    pub async fn record(&self, store: &Store, learner: &Learner<'_>) -> Result<(), Fault> {
        let Some(identity) = self.identity(learner).await else {
            return Ok(());
        };
        let key = self.key(learner.stage.served, learner.variant);
        let known = self.known(&key);
        let mut before = known.lock().await;
        if matches!(before.state, State::Underway) {
            return Ok(());
        }
        let offer = self.settled(store, learner, &key, identity, &mut before);
        if !matches!(offer, Offer::Due) {
            return Ok(());
        }
        // Nobody is kept waiting by a lock for as long as this takes.
        before.state = State::Underway;
        drop(before);
        let (target, flags) = (&learner.stage.served.target.name, learner.variant.name());
        tracing::info!("recording pass 4 for {target} ({flags}), which takes one of the slots");
        let about = About::of(learner.stage.served, learner.variant, identity);
        let mut leak = None;
        let after = match self.learned(learner, &about).await {
            Outcome::Learned(kit, is_whole) => {
                if is_whole {
                    self.keep(store, &key, &about, &kit);
                }
                let shown = self.show(&key, &kit);
                self.tried(store, learner, &key, about, shown).0
            }
            Outcome::Missing(why) => self.tried(store, learner, &key, about, Err(why)).0,
            Outcome::Broken(fault) => {
                let reason = sentence(&fault);
                leak = matches!(fault, Fault::Leak(_)).then_some(fault);
                postponed(learner, identity, &reason)
            }
            Outcome::Changed | Outcome::Cancelled => State::Unknown,
        };
        *known.lock().await = Known::recorded(after);
        leak.map_or(Ok(()), Err)
    }

    /// What can be offered now, without recording.
    fn settled(
        &self,
        store: &Store,
        learner: &Learner<'_>,
        key: &str,
        identity: TargetIdentity,
        known: &mut Known,
    ) -> Offer {
        match known.state {
            State::Underway => {
                tracing::info!("pass 4 runs make: it is being recorded");
                return Offer::Make;
            }
            state if state.has_make_run(identity, PATIENCE) => return Offer::Make,
            State::Shown(of) if of == identity => {
                store.touch(key);
                if let Some(shown) = self.found(key) {
                    return Offer::Kit(shown);
                }
            }
            _ => {}
        }
        // What is shown under this name may be of another identity.
        self.forget(key);
        let about = About::of(learner.stage.served, learner.variant, identity);
        // What is of no use is found out from a small file, and not from all of it.
        let kept = About::load(store, key);
        if let Some(reason) = kept.as_ref().and_then(|kept| kept.refuses(&about)) {
            store.touch(key);
            let (target, flags) = (&learner.stage.served.target.name, learner.variant.name());
            tracing::warn!(
                "pass 4 for {target} ({flags}) runs make as usual, as was found out before: {reason}"
            );
            known.state = State::Refused(identity);
            return Offer::Make;
        }
        let is_kept = kept.as_ref() == Some(&about);
        let kit = is_kept.then(|| Kit::load(store, key, &about)).flatten();
        let Some(kit) = kit else {
            known.state = State::Unknown;
            if known.was_recorded_within(PATIENCE) {
                tracing::info!("pass 4 runs make: what was recorded lately is of no use any more");
                return Offer::Make;
            }
            return Offer::Due;
        };
        store.touch(key);
        let shown = self.show(key, &kit);
        let (after, offer) = self.tried(store, learner, key, about, shown);
        known.state = after;
        offer
    }

    /// Puts on the shelf what was recorded, or notes why nothing is.
    fn tried(
        &self,
        store: &Store,
        learner: &Learner<'_>,
        key: &str,
        about: About,
        shown: Result<Shown, Missing>,
    ) -> (State, Offer) {
        let target = &learner.stage.served.target.name;
        let (flags, identity) = (learner.variant.name(), about.identity);
        let (reason, state) = match shown {
            Ok(shown) => {
                tracing::info!("pass 4 for {target} ({flags}) is replayed without make");
                return (State::Shown(identity), Offer::Kit(shown));
            }
            // What was proven stays.
            Err(Missing::Failed(reason)) => {
                let state = postponed(learner, identity, &reason);
                return (state, Offer::Make);
            }
            Err(Missing::Different(reason)) => (reason.clone(), about::State::Different(reason)),
            Err(Missing::Refused(reason)) => (reason.clone(), about::State::Refused(reason)),
        };
        tracing::warn!("pass 4 for {target} ({flags}) runs make as usual: {reason}");
        let about = About { state, ..about };
        let kept = store.publish_sealed(key, &about.seen(), &vec![about.part()]);
        if let Err(error) = kept {
            tracing::debug!(%error, "the doctor will not know why");
        }
        (State::Refused(identity), Offer::Make)
    }

    /// Records; what was recorded while jobs began to see something else is of no use.
    async fn learned(&self, learner: &Learner<'_>, about: &About) -> Outcome {
        let learned = learner.learn().await;
        let is_whole = matches!(learned, Ok(Learned::Proven(_)));
        match learned {
            Ok(Learned::Proven(kit) | Learned::Lesser(kit)) => match self.identity(learner).await {
                Some(after) if after == about.identity => Outcome::Learned(kit, is_whole),
                _ => {
                    let target = &learner.stage.served.target.name;
                    tracing::warn!("what jobs for {target} see changed while pass 4 was recorded");
                    Outcome::Changed
                }
            },
            Ok(Learned::Different(reason)) => match self.identity(learner).await {
                Some(after) if after == about.identity => {
                    Outcome::Missing(Missing::Different(reason))
                }
                _ => Outcome::Changed,
            },
            Ok(Learned::Refused(reason)) => Outcome::Missing(Missing::Refused(reason)),
            Ok(Learned::Failed(reason)) => Outcome::Missing(Missing::Failed(reason)),
            Ok(Learned::Cancelled) => Outcome::Cancelled,
            Err(fault) => Outcome::Broken(fault),
        }
    }

    async fn identity(&self, learner: &Learner<'_>) -> Option<TargetIdentity> {
        let (station, target) = (learner.stage.station, &learner.stage.served.target.name);
        let identity = station.sights.identify(station, target).await;
        let unknown = |error| {
            tracing::info!("pass 4 for {target} runs make: {}", sentence(&error));
        };
        identity.map_err(unknown).ok()
    }

    /// How pass 4 of a target is done, as far as the store says.
    pub async fn ways(&self, store: &Store, station: &Station, served: &Served) -> Vec<Pass4> {
        let mut ways = Vec::new();
        for variant in [Variant::Plain, Variant::Guru] {
            let flags = variant.name().to_owned();
            let (way, reason) = self.way(store, station, served, variant).await;
            ways.push(Pass4 { flags, way, reason });
        }
        ways
    }

    async fn way(
        &self,
        store: &Store,
        station: &Station,
        served: &Served,
        variant: Variant,
    ) -> (Way, String) {
        let by_make = |reason: &str| (Way::Make, reason.to_owned());
        if let Some(obstacle) = station.keeps_from_replaying(served) {
            return by_make(obstacle);
        }
        let Some(about) = About::load(store, &self.key(served, variant)) else {
            return (Way::Untried, String::new());
        };
        match station.sights.identify(station, &served.target.name).await {
            Ok(identity) if identity == about.identity => match about.state {
                about::State::Proven => (Way::Replayed, String::new()),
                about::State::Different(reason) | about::State::Refused(reason) => by_make(&reason),
            },
            // It will be recorded anew.
            Ok(_) => (Way::Untried, String::new()),
            Err(error) => by_make(&sentence(&error)),
        }
    }

    /// For later workers.
    fn keep(&self, store: &Store, key: &str, about: &About, kit: &Kit) {
        if let Err(error) = kit.publish(store, key, about) {
            tracing::warn!(%error, "the next start will have to record pass 4 again");
        }
        self.shrink(store);
    }

    /// Makes it visible for jobs, and takes away what that is too much for.
    fn show(&self, key: &str, kit: &Kit) -> Result<Shown, Missing> {
        let (bytes, most) = (kit.bytes(), self.bounds.shown.bytes());
        if bytes > most {
            return Err(Missing::Refused(format!(
                "it takes {bytes} bytes, and the policy's compile.shown allows {most}"
            )));
        }
        let mut places = self.places();
        let mut total: u64 = places.iter().map(|place| place.bytes).sum();
        while total + bytes > most && !places.is_empty() {
            total -= places.remove(0).bytes;
        }
        let shown = kit.show(&self.shelf);
        let shown = shown.map_err(|error| {
            Missing::Failed(format!("what jobs are to see cannot be written: {error}"))
        })?;
        places.push(Place {
            key: key.to_owned(),
            bytes,
            shown: shown.clone(),
        });
        Ok(shown)
    }

    /// What is visible under this name; it is then the last to go.
    fn found(&self, key: &str) -> Option<Shown> {
        let mut places = self.places();
        let position = places.iter().position(|place| place.key == key)?;
        let place = places.remove(position);
        let shown = place.shown.clone();
        places.push(place);
        Some(shown)
    }

    fn forget(&self, key: &str) {
        self.places().retain(|place| place.key != key);
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Vec<Place>> {
        // A list is a list, whoever panicked.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &str) -> Arc<Mutex<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key.to_owned()).or_default())
    }

    fn is_known(&self, key: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(key)
    }

    /// Removes from the store what nobody can use any more, and what is too much.
    pub fn tidy(&self, store: &Store) {
        for entry in store.entries(PREFIX) {
            let is_of_use = About::load(store, &entry.key).is_some_and(|about| {
                let is_there = is_there(&about.root, &about.build_tree);
                about.program == program_digest() && !store.is_long_gone(&entry.key, is_there)
            });
            if !is_of_use {
                tracing::info!(
                    entry = entry.key,
                    "a recording that is of no use is removed"
                );
                store.remove(&entry.key);
            }
        }
        self.shrink(store);
    }

    fn shrink(&self, store: &Store) {
        let mut entries = store.entries(PREFIX);
        entries.sort_by_key(|entry| entry.used);
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if total <= self.bounds.kept.bytes() {
                return;
            }
            tracing::info!(entry = entry.key, "a recording goes for want of room");
            if self.is_known(&entry.key) {
                self.lacks_room.store(true, Ordering::Relaxed);
            }
            store.remove(&entry.key);
            total -= entry.bytes;
        }
    }

    /// The same for every identity of a target, so that a new recording takes the place of the old.
    fn key(&self, served: &Served, variant: Variant) -> String {
        let mut digest = Sha256::new();
        let root = served.target.root.as_os_str().as_encoded_bytes();
        let fields = [served.named.as_bytes(), root, &self.view];
        for field in fields {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        digest.update(program_digest());
        let digest = hexadecimal(&digest.finalize());
        format!("{PREFIX}{}-{}", &digest[..DIGITS], variant.name())
    }
}

/// What came of recording.
enum Outcome {
    /// Whether nothing came between, too.
    Learned(Kit, bool),
    Missing(Missing),
    /// No jail could be built, or one is not gone.
    Broken(Fault),
    /// It is of something that nobody sees any more.
    Changed,
    /// The server ends.
    Cancelled,
}

/// Why there is nothing that jobs can see.
#[derive(Debug)]
enum Missing {
    /// It would give other modules than kbuild.
    Different(String),
    /// This worker does not try again.
    Refused(String),
    /// The next try may succeed.
    Failed(String),
}

/// After a try that says nothing of the target.
fn postponed(learner: &Learner<'_>, identity: TargetIdentity, reason: &str) -> State {
    let (target, flags) = (&learner.stage.served.target.name, learner.variant.name());
    tracing::warn!(
        "pass 4 for {target} ({flags}) runs make, for a quarter of an hour at least: {reason}"
    );
    State::failed(identity)
}

/// What the names of entries begin with.
pub(super) const PREFIX: &str = "pass-4-";
const DIGITS: usize = 32;
/// A root that changes again and again would be recorded again and again, and so would more targets than there is room for.
const PATIENCE: Duration = Duration::from_mins(15);

#[cfg(test)]
mod tests;
