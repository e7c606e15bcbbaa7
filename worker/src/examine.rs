//! Looks at a host without serving: every layer tried, policies judged, staps asked.
//!
//! All of it is what a worker does that starts. What differs is that nothing stays: the warm state is
//! in a directory that goes, and control groups are taken back.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use stap_jail::layer::Layer;
use stap_jail::probe::ProbedLayer;
use stap_policy::Policy;
use stap_protocol::examination::{Examination, Judgement, Question, Tried};
use stap_protocol::job::{Configuration, Target, Unusable};

use crate::cgroup::Hierarchy;
use crate::job::sentence;
use crate::layers::{self, InForce};
use crate::siblings;
use crate::station::{Ground, NotReady, Station, first_uid};
use crate::store::Store;
use crate::uids::SlotUids;

/// Answers a question about this host.
///
/// # Errors
///
/// When a policy is none, or layers cannot be tried at all.
pub async fn examine(question: Question) -> Result<Examination, NotReady> {
    let Question {
        configuration,
        others,
    } = question;
    let policy = Policy::parse(&configuration.policy)?;
    let program = siblings::find("stap-jail")?;
    let probed = layers::probe(&program).await?;
    let hierarchy = layers::usable(Hierarchy::trial(), policy.limits());
    let mut judgements = vec![judged(&policy, &probed, &hierarchy)];
    for text in others {
        judgements.push(judged(&Policy::parse(&text)?, &probed, &hierarchy));
    }
    let tried = tried(&probed, &hierarchy);
    let swap_is_bounded = hierarchy.as_ref().ok().map(Hierarchy::bounds_swap);
    let is_root = rustix::process::geteuid().is_root();
    let (class, demands) = (policy.class(), policy.layers());
    let found = match InForce::decide(class, demands, &probed, hierarchy, is_root) {
        Ok(in_force) => served(&configuration, &policy, &program, in_force).await,
        Err(_) => Err("no program of a root is started where the policy cannot be met".to_owned()),
    };
    let obstacle = found.as_ref().err().cloned();
    let (targets, unusable) = found.unwrap_or_default();
    Ok(Examination {
        tried,
        swap_is_bounded,
        judgements,
        targets,
        unusable,
        obstacle,
    })
}

fn judged(
    policy: &Policy,
    probed: &[ProbedLayer],
    hierarchy: &Result<Hierarchy, String>,
) -> Judgement {
    let is_root = rustix::process::geteuid().is_root();
    let (layers, refusal) =
        layers::judge(policy.class(), policy.layers(), probed, hierarchy, is_root);
    Judgement {
        class: policy.class().to_owned(),
        layers,
        refusal: refusal.map(|error| sentence(&error)),
    }
}

fn tried(probed: &[ProbedLayer], hierarchy: &Result<Hierarchy, String>) -> Vec<Tried> {
    let (detail, remedy) = match hierarchy {
        Ok(hierarchy) => (hierarchy.describe(), String::new()),
        // The drivers end their reasons with what would help.
        Err(reason) => match reason.split_once(REMEDY) {
            Some((reason, remedy)) => (reason.to_owned(), [&REMEDY[2..], remedy].concat()),
            None => (reason.clone(), DELEGATE.to_owned()),
        },
    };
    let groups = Tried {
        name: "cgroup".to_owned(),
        available: hierarchy.is_ok(),
        detail,
        remedy,
    };
    let layers = Layer::ALL.into_iter().map(|layer| {
        let probe = probed.iter().find(|probe| probe.layer == layer);
        Tried {
            name: layer.name().to_owned(),
            available: probe.is_some_and(|probe| probe.available),
            detail: probe.map_or_else(
                || "stap-jail says nothing about it".to_owned(),
                |probe| probe.detail.clone(),
            ),
            remedy: probe.map(|probe| probe.remedy.clone()).unwrap_or_default(),
        }
    });
    std::iter::once(groups).chain(layers).collect()
}

/// What would be served, and what not.
async fn served(
    configuration: &Configuration,
    policy: &Policy,
    program: &Path,
    in_force: InForce,
) -> Result<(Vec<Target>, Vec<Unusable>), String> {
    let private = Permissions::from_mode(0o700);
    let cache = tempfile::Builder::new()
        .permissions(private)
        .tempdir_in(&configuration.temporary);
    let cache = cache.map_err(|error| {
        let directory = configuration.temporary.display();
        format!("{directory} (TMPDIR) cannot be written to: {error}")
    })?;
    let in_words = |error: NotReady| sentence(&error);
    let store = Store::open(cache.path()).map_err(|error| sentence(&error))?;
    let has_uids = in_force.layers.contains(&Layer::SlotUid);
    let ground = Ground {
        policy: policy.clone(),
        program: program.to_owned(),
        store,
        in_force,
        uids: has_uids.then(|| SlotUids::unlocked(first_uid(policy))),
    };
    let (mut station, survey, _) = Station::assemble(configuration, ground).map_err(in_words)?;
    let discovered = station.discover(&survey, configuration).await;
    discovered.map_err(in_words)?;
    // What a server has recorded is where it keeps it, and only looked at.
    let recorded = Store::existing(&configuration.cache);
    let targets = station.targets(recorded.as_ref()).await;
    Ok((targets, station.catalogue.unusable().to_vec()))
}

const REMEDY: &str = "; start the server ";
const DELEGATE: &str = "start the server from a unit with Delegate=yes, or under `systemd-run --user --scope -p \
                        Delegate=yes`; where there is no systemd, as root";
