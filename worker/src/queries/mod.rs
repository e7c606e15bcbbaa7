//! What stap has compiled to learn of a kernel's tracepoints and types, done once for everybody.
//!
//! The first tracepoint of a script makes stap compile a query for each of some two hundred headers of
//! the kernel: more than a hundred seconds of a processor, whatever the tracepoint. Casts to types of
//! the kernel cost a module each. Here stap is asked once what it would have compiled ([`listing`]);
//! kbuild compiles it in trusted jobs, without any user's input and a few queries at a time; and what
//! comes of it is judged ([`answer`]), kept in the store, and shown read-only to the jobs of the target, which have
//! links to it where stap would look. An interruption loses what was under way and nothing else, and
//! nothing that is not complete is ever seen.

pub mod answer;
mod asked;
pub mod listing;
mod missing;
mod ready;
mod tapset;
mod work;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use stap_protocol::job::Job;
use stap_protocol::options::{self, CommandLine};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::asked::Asked;
use self::listing::{Batch, Kind};
pub use self::missing::{Missing, notes};
pub use self::ready::Ready;
use self::tapset::Tapset;
use self::work::{Progress, Worksite};
use crate::driver::Shown;
use crate::job::sentence;
use crate::slots::Slot;
use crate::station::Station;
use crate::store::hexadecimal;
use crate::targets::Served;
use crate::warm::{Variant, Warmth};

/// What is known of all targets.
#[derive(Debug, Default)]
pub struct Queries {
    known: StdMutex<BTreeMap<String, Arc<Known>>>,
    /// What jobs are shown, by the identity of the target and what they see: one place for all variants.
    shown: StdMutex<BTreeMap<String, Shown>>,
}

/// What is known of one target, for one way of calling stap, while jobs see one and the same thing. stap
/// looks for an answer by the header's name, size and time, and knows nothing of what that includes; so an
/// answer is only used where every file that a job could read is what it was.
#[derive(Debug)]
struct Known {
    /// What jobs see.
    seen: String,
    /// What jobs may use at this moment.
    ready: StdMutex<Option<Ready>>,
    /// Held while a batch is built: whoever waits for it goes on with the next.
    progress: Mutex<Progress>,
    tapset: OnceLock<Tapset>,
    asked: Asked,
    /// What this worker spent on it.
    cost: StdMutex<Duration>,
}

/// What is left after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many batches of all are done, and some that are wanted are not.
    More {
        /// Batches that are done.
        done: usize,
        /// All of them.
        all: usize,
    },
    /// Everything that is wanted is there.
    Complete,
    /// Something is missing, for this reason.
    GivenUp(String),
    /// Nobody waits for it any more. The batch that was under way is lost.
    Cancelled,
}

impl Warmth {
    /// What stap need not compile again for a job. One that may need to know of tracepoints has the rest
    /// built first, in its own slot, as it would do itself, but for all; every other takes what is there. So with the
    /// types that an earlier job needed ([`Self::note_asked`]), whoever comes next.
    pub async fn queries(
        &self,
        station: &Station,
        served: &Served,
        job: &Job,
        slot: Slot,
        cancelled: &CancellationToken,
    ) -> Option<Ready> {
        let variant = asked_by(&job.arguments).filter(|_| can_be_shown(station, served))?;
        let site = self.site(station, served, variant, slot, cancelled).await;
        let unknown = |reason| {
            let target = &served.target.name;
            tracing::info!("the job for {target} compiles queries itself: {reason}");
        };
        let site = site.map_err(unknown).ok()?;
        let known = &site.known;
        let tapset = tapset_of(known, served);
        let arguments = job.arguments.iter().map(Vec::as_slice);
        let mut texts = arguments.chain(job.files.iter().map(|file| file.content.as_slice()));
        let asks_tracepoints = texts.any(|text| tapset.may_ask(text));
        let is_wanted = |batch: &Batch| match batch.kind {
            Kind::Tracepoints => asks_tracepoints,
            Kind::Types => known.asked.wants(batch),
        };
        if asks_tracepoints {
            while let Step::More { .. } = site.step(is_wanted).await {}
        } else if known.asked.is_empty() {
            site.recall();
            return known.ready();
        } else {
            // One set of headers for each job, so that none pays for what many have asked for.
            site.step_unless_busy(is_wanted).await;
        }
        // That may have taken minutes, and what was true before may not be any more.
        let seen = station.sights.look_at(station, &served.target.name).await;
        let is_same = seen.is_ok_and(|seen| hexadecimal(&seen) == known.seen);
        known.ready().filter(|_| is_same)
    }

    /// Takes in which types a job has had to have compiled, from what it left in its workspace.
    pub fn note_asked(&self, served: &Served, arguments: &[Vec<u8>], workspace: &OwnedFd) {
        let Some(variant) = asked_by(arguments) else {
            return;
        };
        if let Some(known) = self.queries.of(&self.key(served, variant)) {
            // Others may have had them built since the job began.
            known.asked.note(workspace, known.ready().as_ref());
        }
    }

    /// Does the next piece of work for a target and a way of calling stap.
    pub async fn step(
        &self,
        station: &Station,
        served: &Served,
        variant: Variant,
        slot: Slot,
        cancelled: &CancellationToken,
    ) -> Step {
        if !can_be_shown(station, served) {
            return Step::GivenUp(NOT_SHOWN.to_owned());
        }
        match self.site(station, served, variant, slot, cancelled).await {
            Ok(site) => site.step(|_batch| true).await,
            Err(reason) => Step::GivenUp(reason),
        }
    }

    /// `Err` says why nothing may be built or used now.
    async fn site<'a>(
        &'a self,
        station: &'a Station,
        served: &'a Served,
        variant: Variant,
        slot: Slot,
        cancelled: &'a CancellationToken,
    ) -> Result<Worksite<'a>, String> {
        let key = self.key(served, variant);
        let seen = station.sights.look_at(station, &served.target.name).await;
        let seen = hexadecimal(&seen.map_err(|error| sentence(&error))?);
        let known = self.queries.known(&key, seen);
        Ok(Worksite {
            warmth: self,
            station,
            served,
            variant,
            slot,
            cancelled,
            key,
            known,
        })
    }
}

impl Queries {
    fn of(&self, key: &str) -> Option<Arc<Known>> {
        let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).cloned()
    }

    /// What is known while jobs see this: nothing at first, and after each change. A job that needs an
    /// answer would compile all of them itself, so building them anew for everybody costs it no more.
    fn known(&self, key: &str, seen: String) -> Arc<Known> {
        // Nobody can panic while holding it, and a map is a map even so.
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(key) {
            Some(known) if known.seen == seen => return Arc::clone(known),
            // What jobs of before see stays until the last of them has ended.
            Some(known) => drop(self.shown().remove(&known.seen)),
            None => {}
        }
        let known = Arc::new(Known::beginning(seen));
        all.insert(key.to_owned(), Arc::clone(&known));
        known
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn beginning(seen: String) -> Self {
        Self {
            seen,
            ready: StdMutex::default(),
            progress: Mutex::default(),
            tapset: OnceLock::new(),
            asked: Asked::default(),
            cost: StdMutex::default(),
        }
    }

    fn ready(&self) -> Option<Ready> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.clone()
    }

    fn add_cost(&self, cpu: Duration) {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner) += cpu;
    }

    fn cost(&self) -> Duration {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tapset_of<'a>(known: &'a Known, served: &Served) -> &'a Tapset {
    known.tapset.get_or_init(|| {
        Tapset::read(served).unwrap_or_else(|error| {
            tracing::warn!(%error, "the tapset of {} cannot be read", served.target.name);
            Tapset::default()
        })
    })
}

/// Without a file system of its own, a job cannot be shown anything that it cannot change.
fn can_be_shown(station: &Station, served: &Served) -> bool {
    served.can_be_warmed && station.jail.has_own_view()
}

/// Which queries a command line may ask; none where it does not come to pass 2, or where stap asks
/// others under the same name, as for bpf.
fn asked_by(arguments: &[Vec<u8>]) -> Option<Variant> {
    let command = options::parse(arguments).ok()?;
    comes_to_pass_2(&command).then(|| Variant::of(&command))
}

fn comes_to_pass_2(command: &CommandLine) -> bool {
    let stops_early = command.short_values('p').any(|pass| pass == b"1")
        || ['V', 'h'].iter().any(|letter| command.has_short(*letter))
        || ["version", "help"]
            .iter()
            .any(|name| command.has_long(name));
    let is_of_kernel = !command.has_long("bpf") && !command.has_long("runtime");
    !stops_early && is_of_kernel
}

/// Where jobs see the answers.
pub const DIRECTORY: &str = "/queries";
const NOT_SHOWN: &str =
    "jobs could change what they are shown, because this host lacks the layer mount";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Option<Variant> {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect();
        asked_by(&arguments)
    }

    #[test]
    fn whatever_comes_to_pass_2_for_a_kernel_module_may_ask() {
        let script = "-eprobe kernel.trace(\"*\") { }";
        for arguments in [
            &["-p4", script] as &[_],
            &["-p2", script],
            &["-l", "kernel.trace(\"*\")"],
        ] {
            assert_eq!(asked(arguments), Some(Variant::Plain), "{arguments:?}");
        }
        assert_eq!(asked(&["-g", script]), Some(Variant::Guru));
        for arguments in [
            &["-p1", script] as &[_],
            &["--bpf", script],
            &["--runtime=bpf", script],
            &["--runtime=dyninst", script],
            &["-V"],
        ] {
            assert_eq!(asked(arguments), None, "{arguments:?}");
        }
    }
}
