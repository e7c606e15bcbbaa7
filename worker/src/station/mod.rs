//! Everything that a worker has once it is configured.

mod shown;
mod staps;

use std::path::{Path, PathBuf};

use stap_jail::plan::{Bind, Identity};
use stap_policy::Policy;
use stap_protocol::job::{Configuration, Layer, Readiness, Target};

use self::shown::Replacement;
use crate::cgroup::Hierarchy;
use crate::jail::Jail;
use crate::layers::{self, InForce, LayerError};
use crate::siblings;
use crate::slots::{MAX_SLOTS, Slot};
use crate::store::{Store, StoreError};
use crate::targets::{Catalogue, ChoiceError, Served, Survey, SurveyError};
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
    /// The policy's class.
    pub class: String,
    /// What every job sees besides its target's root.
    pub binds: Vec<Bind>,
    /// The architecture to name to stap, where one was configured.
    pub arch: Option<String>,
    /// The server's own options, in front of every job's.
    pub server_options: Vec<String>,
    /// Where workspaces are kept for inspection.
    pub keep_in: Option<PathBuf>,
    replacement: Option<Replacement>,
    uid_base: u32,
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
    /// Tries the layers, looks for targets and asks their staps.
    ///
    /// # Errors
    ///
    /// When jobs could not be run as the configuration and the policy want it.
    pub async fn prepare(configuration: Configuration) -> Result<(Self, Readiness), NotReady> {
        let policy = Policy::parse(&configuration.policy)?;
        let program = siblings::find("stap-jail")?;
        let store = Store::open(&configuration.cache)?;
        let in_force = layers_in_force(&program, &policy).await?;
        let (mut station, survey, layers) =
            Self::assemble(&configuration, &policy, program, store, in_force)?;
        station.jail.sweep(|uid| station.is_ours(uid));
        station.discover(&survey, &configuration).await?;
        let (targets, unusable) = (station.targets(), station.catalogue.unusable().to_vec());
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
        policy: &Policy,
        program: PathBuf,
        store: Store,
        in_force: InForce,
    ) -> Result<(Self, Survey, Vec<Layer>), NotReady> {
        let report = in_force.report.clone();
        let mut survey = Survey::of(configuration)?;
        survey.add_trees(&configuration.releases)?;
        let replacement = Replacement::of(configuration, &in_force)?;
        let binds = shown::binds(&configuration.server_options, replacement.as_ref())?;
        let view = view(&in_force, configuration);
        let temporary = configuration.temporary.clone();
        let station = Self {
            jail: Jail::new(program, in_force, *policy.limits(), temporary.clone()),
            catalogue: Catalogue::default(),
            warmth: Warmth::new(store, view),
            class: policy.class().to_owned(),
            binds,
            arch: configuration.arch.clone(),
            server_options: configuration.server_options.clone(),
            keep_in: configuration.keep.then_some(temporary),
            replacement,
            uid_base: u32::try_from(policy.slots().uid_base.get()).unwrap_or(u32::MAX - MAX_SLOTS),
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

    /// What can be built for.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let served = self.catalogue.served();
        served.map(|served| served.target.clone()).collect()
    }

    /// Whose processes the job of a slot are.
    #[must_use]
    pub fn identity(&self, slot: Slot) -> Identity {
        if self.jail.has_slot_uids() {
            let id = self.uid_base + slot.0;
            return Identity::Slot { uid: id, gid: id };
        }
        Identity::Keep
    }

    /// Whether a uid is the server's own or a slot's.
    fn is_ours(&self, uid: u32) -> bool {
        let slots = self.uid_base..self.uid_base + MAX_SLOTS;
        let own = rustix::process::geteuid().as_raw();
        uid == own || (self.jail.has_slot_uids() && slots.contains(&uid))
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

async fn layers_in_force(program: &Path, policy: &Policy) -> Result<InForce, LayerError> {
    let probed = layers::probe(program).await?;
    let hierarchy = layers::usable(Hierarchy::claim(), policy.limits());
    let is_root = rustix::process::geteuid().is_root();
    InForce::decide(policy.class(), policy.layers(), &probed, hierarchy, is_root)
}

/// Everything about jails that stap can see and that it names its feature probes after.
fn view(in_force: &InForce, configuration: &Configuration) -> Vec<u8> {
    let layers: Vec<_> = in_force.layers.iter().map(|layer| layer.name()).collect();
    let arch = configuration.arch.as_deref().unwrap_or_default();
    let options = configuration.server_options.join("\0");
    format!("{}\0{arch}\0{options}", layers.join(" ")).into_bytes()
}
