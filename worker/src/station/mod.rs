//! Everything that a worker has once it is configured.

mod ground;
mod shown;
mod staps;

use std::path::{Path, PathBuf};

use stap_jail::plan::{Bind, Identity};
use stap_jail::seclusion::SeclusionError;
use stap_policy::Pass4;
use stap_protocol::job::{Configuration, Layer, Readiness, Target};
use tokio_util::sync::CancellationToken;

pub use self::ground::Ground;
pub(crate) use self::ground::first_uid;
use self::shown::Replacement;
use crate::driver::{Kits, Shelf};
use crate::jail::Jail;
use crate::layers::{InForce, LayerError};
use crate::pace::Pace;
use crate::siblings;
use crate::sight::{self, Sights};
use crate::slots::Slot;
use crate::store::{Store, StoreError};
use crate::targets::{Catalogue, ChoiceError, Served, Survey, SurveyError};
use crate::uids::{SlotUids, UidError};
use crate::warm::Warmth;

/// What jobs are run with.
#[derive(Debug)]
pub struct Station {
    /// How they are confined.
    pub jail: Jail,
    /// What they can build for.
    pub catalogue: Catalogue,
    /// What they need not find out again.
    pub warmth: Warmth,
    /// What they see.
    pub sights: Sights,
    /// How soon one job follows the other.
    pub pace: Pace,
    /// Whether pass 4 is replayed where that is proven.
    pub replays: bool,
    /// The policy's class.
    pub class: String,
    /// What every job sees besides its target's root.
    pub binds: Vec<Bind>,
    /// The architecture to name to stap, where one was configured.
    pub arch: Option<String>,
    /// The server's own options, in front of every job's.
    pub server_options: Vec<String>,
    /// Cancelled when the worker ends: what is made for all goes on without the client who came first.
    pub stop: CancellationToken,
    /// Where workspaces are kept for inspection.
    pub keep_in: Option<PathBuf>,
    replacement: Option<Replacement>,
    view: Vec<u8>,
    programs: Vec<u8>,
    uids: Option<SlotUids>,
}

/// Why a worker cannot work under its configuration.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The policy is none.
    #[error("the policy cannot be used: {0}")]
    Policy(#[from] stap_policy::PolicyError),
    /// The program that builds jails is missing.
    #[error("{0}")]
    Sibling(#[from] siblings::Missing),
    /// Jobs cannot be confined.
    #[error(transparent)]
    Layers(#[from] LayerError),
    /// The uids of jobs are not to be had.
    #[error(transparent)]
    Uids(#[from] UidError),
    /// The worker cannot give up what it must give up.
    #[error(transparent)]
    Seclusion(#[from] SeclusionError),
    /// The warm state has no safe place.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A root or the architecture.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// A release that was named.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// A path in the configuration.
    #[error("{path} cannot be shown to jobs: {reason}")]
    Path {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Station {
    /// Looks for targets and asks their staps.
    ///
    /// # Errors
    ///
    /// When jobs could not be run as the configuration wants it.
    pub async fn prepare(
        configuration: Configuration,
        ground: Ground,
    ) -> Result<(Self, Readiness), NotReady> {
        let (mut station, survey, layers) = Self::assemble(&configuration, ground)?;
        station.discover(&survey, &configuration).await?;
        station.warmth.tidy(&station.catalogue);
        let targets = station.targets(None).await;
        let unusable = station.catalogue.unusable().to_vec();
        let readiness = Readiness {
            targets,
            unusable,
            layers,
        };
        Ok((station, readiness))
    }

    /// Puts together what was found, before any stap was asked, and changes nothing. Returns what is
    /// in force, too.
    pub(crate) fn assemble(
        configuration: &Configuration,
        ground: Ground,
    ) -> Result<(Self, Survey, Vec<Layer>), NotReady> {
        let Ground {
            policy,
            program,
            store,
            in_force,
            uids,
        } = ground;
        let report = in_force.report.clone();
        let mut survey = Survey::of(configuration)?;
        survey.add_trees(&configuration.releases)?;
        let replacement = Replacement::of(configuration, &in_force)?;
        let binds = shown::binds(&configuration.server_options, replacement.as_ref())?;
        let view = view(&in_force, configuration);
        let programs =
            sight::programs(&program).map_err(|error| NotReady::path(&program, &error))?;
        let temporary = configuration.temporary.clone();
        let shelf = Shelf::below(temporary.clone());
        let kits = Kits::new(shelf, *policy.compile(), view.clone());
        let station = Self {
            jail: Jail::new(program, in_force, *policy.limits(), temporary.clone()),
            catalogue: Catalogue::default(),
            warmth: Warmth::new(store, view.clone(), kits),
            sights: Sights::default(),
            pace: Pace::default(),
            replays: policy.compile().pass_4 == Pass4::Replay,
            class: policy.class().to_owned(),
            binds,
            arch: configuration.arch.clone(),
            server_options: configuration.server_options.clone(),
            stop: CancellationToken::new(),
            keep_in: configuration.keep.then_some(temporary),
            replacement,
            view,
            programs,
            uids,
        };
        Ok((station, survey, report))
    }

    /// Asks the staps of all roots, and keeps what can be built for.
    pub(crate) async fn discover(
        &mut self,
        survey: &Survey,
        configuration: &Configuration,
    ) -> Result<(), NotReady> {
        self.catalogue = self.discovered(survey, configuration).await?;
        Ok(())
    }

    /// What can be built for. What was recorded of it is in the worker's own store, or in another.
    pub(crate) async fn targets(&self, recorded_in: Option<&Store>) -> Vec<Target> {
        let mut targets = Vec::new();
        for served in self.catalogue.served() {
            let pass_4 = self.warmth.pass_4(recorded_in, self, served).await;
            let target = served.target.clone();
            targets.push(Target { pass_4, ..target });
        }
        targets
    }

    /// Why pass 4 of a target always runs make; `None` where it may be replayed.
    #[must_use]
    pub fn keeps_from_replaying(&self, served: &Served) -> Option<&'static str> {
        if !self.replays {
            Some("the policy says so")
        } else if !served.can_be_warmed {
            Some("stap is replaced")
        } else if served.is_foreign {
            Some("it is for another machine")
        } else if !self.jail.has_own_view() {
            // A job cannot be shown anything at another place.
            Some("jobs lack the layer mount")
        } else if !self.jail.has_own_proc() {
            // The program could not see what make was given.
            Some("jobs lack the layer proc")
        } else {
            None
        }
    }

    /// Whose processes the job of a slot are.
    #[must_use]
    pub fn identity(&self, slot: Slot) -> Identity {
        self.uids.as_ref().map_or(Identity::Keep, |uids| {
            let id = uids.of(slot);
            Identity::Slot { uid: id, gid: id }
        })
    }

    /// Everything about jails that stap can see.
    pub(crate) fn view(&self) -> &[u8] {
        &self.view
    }

    /// Which build of our own programs runs jobs.
    pub(crate) fn programs(&self) -> &[u8] {
        &self.programs
    }

    /// The stap of a target as a job sees it.
    #[must_use]
    pub fn program_of<'a>(&'a self, served: &'a Served) -> &'a Path {
        self.replacement
            .as_ref()
            .map_or(&served.target.stap, |replacement| &replacement.seen)
    }
}

impl NotReady {
    fn path(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        Self::Path {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Everything about jails that stap can see and that it names its feature probes after.
fn view(in_force: &InForce, configuration: &Configuration) -> Vec<u8> {
    let layers: Vec<_> = in_force.layers.iter().map(|layer| layer.name()).collect();
    let arch = configuration.arch.as_deref().unwrap_or_default();
    let options = configuration.server_options.join("\0");
    format!("{}\0{arch}\0{options}", layers.join(" ")).into_bytes()
}
