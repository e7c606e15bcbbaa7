//! What a worker finds out and takes while it has one thread and all its rights, and how it then
//! gives up what neither it nor its jails need.

use std::path::PathBuf;

use stap_jail::layer::Layer;
use stap_jail::seclusion::Seclusion;
use stap_policy::Policy;
use stap_protocol::job::Configuration;

use super::NotReady;
use crate::cgroup::Hierarchy;
use crate::jail;
use crate::layers::{self, InForce};
use crate::siblings;
use crate::slots::MAX_SLOTS;
use crate::store::Store;
use crate::uids::SlotUids;

/// Everything of a worker that takes rights to get.
#[derive(Debug)]
pub struct Ground {
    pub(crate) policy: Policy,
    /// The program that builds jails.
    pub(crate) program: PathBuf,
    pub(crate) store: Store,
    pub(crate) in_force: InForce,
    /// Where each slot has a uid of its own.
    pub(crate) uids: Option<SlotUids>,
}

impl Ground {
    /// Tries the layers, takes the control groups and the slots' uids, and removes what dead workers
    /// left.
    ///
    /// # Errors
    ///
    /// When jobs could not be run as the configuration and the policy want it.
    pub async fn take(configuration: &Configuration) -> Result<Self, NotReady> {
        let policy = Policy::parse(&configuration.policy)?;
        let program = siblings::find("stap-jail")?;
        let store = Store::open(&configuration.cache)?;
        let probed = layers::probe(&program).await?;
        let hierarchy = layers::usable(Hierarchy::claim(), policy.limits());
        let is_root = rustix::process::geteuid().is_root();
        let (class, demands) = (policy.class(), policy.layers());
        let in_force = InForce::decide(class, demands, &probed, hierarchy, is_root)?;
        let base = first_uid(&policy);
        let has_uids = in_force.layers.contains(&Layer::SlotUid);
        let uids = has_uids.then(|| SlotUids::claim(base, configuration.slots));
        let own = rustix::process::geteuid().as_raw();
        let is_a_slots = |uid| has_uids && (base..base + MAX_SLOTS).contains(&uid);
        jail::sweep(&configuration.temporary, |uid| {
            uid == own || is_a_slots(uid)
        });
        Ok(Self {
            policy,
            program,
            store,
            in_force,
            uids: uids.transpose()?,
        })
    }

    /// Gives up the rest. This process must have only one thread.
    ///
    /// # Errors
    ///
    /// When something that this host offers fails; nothing may be started then.
    pub fn seclude(&self, configuration: &Configuration) -> Result<(), NotReady> {
        let seclusion = Seclusion {
            layers: &self.in_force.layers,
            writable: &[configuration.cache.clone(), configuration.temporary.clone()],
            overrides_modes: self
                .in_force
                .hierarchy
                .as_ref()
                .is_some_and(Hierarchy::is_below_what_nobody_may_write),
            hidden: &configuration.hidden,
        };
        let in_force = seclusion.enter()?;
        tracing::info!("the worker is confined: {}", in_force.join(", "));
        Ok(())
    }
}

/// The first of the uids that are for the slots of a worker of root's.
pub(crate) fn first_uid(policy: &Policy) -> u32 {
    u32::try_from(policy.slots().uid_base.get()).unwrap_or(u32::MAX - MAX_SLOTS)
}
