//! Everything that a worker has once it is configured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stap_jail::layer::Layer;
use stap_jail::plan::{Access, Bind, Identity};
use stap_policy::Policy;
use stap_protocol::job::{Configuration, LayerState, Readiness};
use tokio_util::sync::CancellationToken;

use crate::cgroup::Hierarchy;
use crate::jail::{End, Fault, Jail};
use crate::job::{bind_of, is_visible, sentence, version};
use crate::layers::{self, InForce, LayerError};
use crate::siblings;
use crate::slots::{MAX_SLOTS, Slot};
use crate::store::{Store, StoreError};
use crate::targets::choice::releases;
use crate::targets::identity::{Stap, stamp};
use crate::targets::root::Root;
use crate::targets::{Catalogue, ChoiceError, STAP, Served, Staps, Survey, SurveyError};
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

/// A stap that the operator put in place of the roots' own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replacement {
    /// On this host, without links.
    path: PathBuf,
    /// Where jobs see it.
    seen: PathBuf,
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
        let report = in_force.report.clone();
        for layer in report
            .iter()
            .filter(|layer| layer.state == LayerState::Absent)
        {
            tracing::warn!(layer.name, layer.detail, "jobs run without this layer");
        }
        let mut survey = Survey::of(&configuration)?;
        survey.add_trees(&configuration.releases)?;
        let replacement = Replacement::of(&configuration, &in_force)?;
        let binds = binds(&configuration.server_options, replacement.as_ref())?;
        let view = view(&in_force, &configuration);
        let landlock = u32::try_from(policy.layers().landlock_abi.get()).unwrap_or(u32::MAX);
        let temporary = configuration.temporary.clone();
        let mut station = Self {
            jail: Jail::new(
                program,
                in_force,
                landlock,
                *policy.limits(),
                temporary.clone(),
            ),
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
        station.catalogue = station.discovered(&survey, &configuration).await?;
        let targets = station
            .catalogue
            .served()
            .map(|served| served.target.clone())
            .collect();
        let unusable = station.catalogue.unusable().to_vec();
        Ok((
            station,
            Readiness {
                targets,
                unusable,
                layers: report,
            },
        ))
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

    /// The stap of a target as a job sees it.
    #[must_use]
    pub fn program_of<'a>(&'a self, served: &'a Served) -> &'a Path {
        self.replacement
            .as_ref()
            .map_or(&served.target.stap, |replacement| &replacement.seen)
    }

    async fn discovered(
        &self,
        survey: &Survey,
        configuration: &Configuration,
    ) -> Result<Catalogue, NotReady> {
        let choices = &configuration.releases;
        let Some(replacement) = &self.replacement else {
            let mut staps = Staps::new();
            for (index, root) in survey.roots_in_use() {
                staps.insert(index, self.ask(root).await);
            }
            let mut catalogue = Catalogue::join(survey, &staps, false);
            catalogue.choose(choices)?;
            return Ok(catalogue);
        };
        let stap = self.overriding(replacement).await?;
        let staps: Staps = survey
            .roots_in_use()
            .map(|(index, _)| (index, Ok(stap.clone())))
            .collect();
        let mut catalogue = Catalogue::join(survey, &staps, true);
        for release in releases(choices) {
            catalogue.add(survey.trusting(release, &stap)?);
        }
        if catalogue.served().next().is_none() {
            let running = rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned();
            catalogue.add(survey.trusting(&running, &stap)?);
        }
        catalogue.choose(choices)?;
        Ok(catalogue)
    }

    /// What is known about the stap of a root; the reason why there is none, for people.
    async fn ask(&self, root: &Root) -> Result<Stap, String> {
        let path = PathBuf::from(STAP);
        let stamp = stamp(root, &path).map_err(|error| {
            format!("there is no {STAP} in the root ({error}); install systemtap in it")
        })?;
        let version = self.version(&path, root.path()).await.map_err(|reason| {
            format!("{STAP} does not start in its root ({reason}); install systemtap in it again")
        })?;
        Ok(Stap {
            path,
            version,
            stamp,
        })
    }

    /// A replacement may be anything that behaves like stap; one that has no version is fine.
    async fn overriding(&self, replacement: &Replacement) -> Result<Stap, NotReady> {
        let path = &replacement.path;
        let refused = |error: std::io::Error| NotReady::path(path, &error);
        let host = Root::open(Path::new("/")).map_err(refused)?;
        let stamp = stamp(&host, path).map_err(refused)?;
        let version = self.version(&replacement.seen, Path::new("/")).await;
        let version = version.unwrap_or_else(|reason| {
            tracing::debug!(reason, "the replacement for stap tells no version");
            "unknown".to_owned()
        });
        Ok(Stap {
            path: path.clone(),
            version,
            stamp,
        })
    }

    /// Starts a stap in a jail like every other program of a root, and reads its version.
    async fn version(&self, program: &Path, root: &Path) -> Result<String, String> {
        let identity = self.identity(Slot(0));
        let ask = async {
            let room = self.jail.room(identity)?;
            let name = "version".to_owned();
            let errand = version(name, identity, program, root, &self.binds, &room)?;
            let patience = CancellationToken::new();
            let run = self.jail.run(errand, room, &patience);
            tokio::pin!(run);
            // Cancelled rather than dropped, so that the jail is taken down in good order.
            match tokio::time::timeout(VERSION_TIME, &mut run).await {
                Ok(finished) => finished,
                Err(_elapsed) => {
                    patience.cancel();
                    run.await
                }
            }
        };
        let finished = ask.await.map_err(|fault: Fault| sentence(&fault))?;
        let said = [finished.stdout.bytes, finished.stderr.bytes].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        match (finished.end, version_in(&said)) {
            (End::Exited(0), Some(version)) => Ok(version),
            (end, _) => Err(format!("{end:?}: {}", first_line(&said))),
        }
    }
}

impl Replacement {
    /// It stays at its own path where that is shown anyway, or where nothing can be shown elsewhere.
    fn of(configuration: &Configuration, in_force: &InForce) -> Result<Option<Self>, NotReady> {
        let Some(stap) = &configuration.stap else {
            return Ok(None);
        };
        let path = stap
            .canonicalize()
            .map_err(|error| NotReady::path(stap, &error))?;
        let host_only = configuration
            .roots
            .iter()
            .all(|root| root == Path::new("/"));
        let stays = !in_force.layers.contains(&Layer::Mount) || (host_only && is_visible(&path));
        let name = path.file_name().unwrap_or_default();
        let seen = if stays {
            path.clone()
        } else {
            Path::new(REPLACEMENTS).join(name)
        };
        Ok(Some(Self { path, seen }))
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
    let hierarchy = Hierarchy::claim().map_err(|error| sentence(&error));
    let is_root = rustix::process::geteuid().is_root();
    InForce::decide(policy.class(), policy.layers(), &probed, hierarchy, is_root)
}

/// What jobs must see besides their target's root: the replacement for stap, and directories that
/// the server's own options name.
fn binds(options: &[String], replacement: Option<&Replacement>) -> Result<Vec<Bind>, NotReady> {
    let mut binds = Vec::new();
    if let Some(Replacement { path, seen }) = replacement.filter(|stap| !is_visible(&stap.seen)) {
        let bind = bind_of(path, seen, Access::ReadExecute);
        binds.push(bind.map_err(|error| NotReady::path(path, &error))?);
    }
    for path in directories(options).filter(|path| !is_visible(path)) {
        let bind = bind_of(path, path, Access::Read);
        binds.push(bind.map_err(|error| NotReady::path(path, &error))?);
    }
    Ok(binds)
}

/// The values of `-I` and `-R`.
fn directories(options: &[String]) -> impl Iterator<Item = &Path> {
    let mut words = options.iter();
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            let value = word.strip_prefix("-I").or_else(|| word.strip_prefix("-R"));
            match value {
                None => {}
                Some("") => return words.next().map(Path::new),
                Some(value) => return Some(Path::new(value)),
            }
        }
    })
}

/// Everything about jails that stap can see and that it names its feature probes after.
fn view(in_force: &InForce, configuration: &Configuration) -> Vec<u8> {
    let layers: Vec<_> = in_force
        .layers
        .iter()
        .map(|layer: &Layer| layer.name())
        .collect();
    let arch = configuration.arch.as_deref().unwrap_or_default();
    let options = configuration.server_options.join("\0");
    format!("{}\0{arch}\0{options}", layers.join(" ")).into_bytes()
}

/// The version in `Systemtap translator/driver (version 5.6/0.195, ...)`.
fn version_in(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("(version ")?;
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    (1..=MAX_VERSION)
        .contains(&end)
        .then(|| rest[..end].to_owned())
}

fn first_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or("it said nothing");
    line.chars()
        .filter(|character| !character.is_control())
        .take(MAX_LINE)
        .collect()
}

/// Where jobs see what replaces stap; no distribution has it.
const REPLACEMENTS: &str = "/replacement";
/// stap answers within a tenth of a second; a loaded host needs longer.
const VERSION_TIME: Duration = Duration::from_secs(20);
const MAX_VERSION: usize = 16;
const MAX_LINE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_and_nothing_else() {
        let said = "Systemtap translator/driver (version 5.6/0.195, Debian version 5.6-1)\n";
        assert_eq!(version_in(said).as_deref(), Some("5.6"));
        assert_eq!(version_in("(version /"), None);
        assert_eq!(version_in("stap 5.6"), None);
    }

    #[test]
    fn directories_of_the_servers_options_are_found_attached_and_apart() {
        let options = ["-DX=1", "-I", "/a", "-I/b", "-R/c", "-B", "CC=x"].map(str::to_owned);
        let found: Vec<_> = directories(&options).collect();
        assert_eq!(found, ["/a", "/b", "/c"].map(Path::new));
    }
}
