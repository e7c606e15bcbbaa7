//! What holds a job on this host: each layer tried for real, then held against the policy.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use command_fds::CommandFdExt as _;
use stap_jail::layer::Layer;
use stap_jail::probe::ProbedLayer;
use stap_policy::{Demand, Layers, Limits};
use stap_protocol::job::{self, LayerState};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::cgroup::{CgroupError, Hierarchy};
use crate::job::sentence;

/// The layers that every job gets, decided once at the start.
#[derive(Debug)]
pub struct InForce {
    /// Those that the jail builds.
    pub layers: BTreeSet<Layer>,
    /// The lowest version of Landlock's interface that is enough beside the other layers.
    pub landlock_floor: u32,
    /// Limits of whole trees, where they are to be had.
    pub hierarchy: Option<Hierarchy>,
    /// All of them, for people.
    pub report: Vec<job::Layer>,
}

/// Why jobs cannot be confined as the policy wants it.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The jail program could not be asked.
    #[error(
        "the isolation layers of this host cannot be tried out ({0}); check that stap-jail of the \
         same version is installed beside stap-worker"
    )]
    Probe(String),
    /// At least one required layer is missing.
    #[error("the policy {class} requires what this host cannot give: {}", .missing.join("; "))]
    Missing {
        /// The policy's class.
        class: String,
        /// Each layer with the reason and the remedy.
        missing: Vec<String>,
    },
    /// Nothing keeps a job from the files of the server's user.
    #[error(
        "this host gives neither the layer mount ({mount}) nor the layer landlock ({landlock}); \
         without either, every job could read the server's files"
    )]
    Open {
        /// Why there is no mount namespace.
        mount: String,
        /// Why there is no Landlock.
        landlock: String,
    },
    /// Nothing ends what a job leaves behind.
    #[error(
        "this host gives none of the layers pid ({pid}), cgroup ({cgroup}) and landlock ({landlock}); \
         without all three, a job could kill the process that watches it, and live on"
    )]
    Unending {
        /// Why there is no pid namespace.
        pid: String,
        /// Why there are no groups.
        cgroup: String,
        /// Why there is no Landlock that keeps signals inside.
        landlock: String,
    },
    /// A job would run as root.
    #[error(
        "a worker that root started gives each job a uid of its own, and cannot here ({0}); start \
         the server as an ordinary user"
    )]
    WouldBeRoot(String),
}

/// Tries every layer by the sibling program.
///
/// # Errors
///
/// When it cannot be started, takes too long, or does not speak our language.
pub async fn probe(program: &Path) -> Result<Vec<ProbedLayer>, LayerError> {
    let failed = |what: String| LayerError::Probe(what);
    let output = tokio::time::timeout(PROBE_TIME, probe_output(program));
    let output = output
        .await
        .map_err(|elapsed| failed(elapsed.to_string()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&output).map_err(|error| failed(error.to_string()))
}

async fn probe_output(program: &Path) -> std::io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command
        .args(["--probe", "--json"])
        .env_clear()
        .process_group(0)
        .kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // Our own descriptor 3 is the coordinator's socket; the probe gets something harmless there.
    let nothing = std::fs::File::open("/dev/null")?;
    let mapping = command_fds::FdMapping {
        parent_fd: nothing.into(),
        child_fd: crate::SOCKET,
    };
    command
        .fd_mappings(vec![mapping])
        .map_err(std::io::Error::other)?;
    let mut child = command.spawn()?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_PROBE).read_to_end(&mut output).await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        return Err(std::io::Error::other(format!(
            "stap-jail --probe ended with {status}"
        )));
    }
    Ok(output)
}

impl InForce {
    /// Holds what the host can give against what the policy demands.
    ///
    /// # Errors
    ///
    /// When a required layer is missing, or a job would have to run as root.
    pub fn decide(
        class: &str,
        demands: &Layers,
        probed: &[ProbedLayer],
        hierarchy: Result<Hierarchy, String>,
        is_root: bool,
    ) -> Result<Self, LayerError> {
        let decision = Decision::of(demands, probed, &described(&hierarchy));
        decision.verdict(class, is_root)?;
        let hierarchy = hierarchy.ok().filter(|_| decision.has_groups);
        Ok(Self {
            layers: decision.layers,
            landlock_floor: decision.landlock_floor,
            hierarchy,
            report: decision.report,
        })
    }
}

/// Says what [`InForce::decide`] would, without taking anything: every layer, and why a worker would
/// not start.
#[must_use]
pub fn judge(
    class: &str,
    demands: &Layers,
    probed: &[ProbedLayer],
    hierarchy: &Result<Hierarchy, String>,
    is_root: bool,
) -> (Vec<job::Layer>, Option<LayerError>) {
    let decision = Decision::of(demands, probed, &described(hierarchy));
    let refusal = decision.verdict(class, is_root).err();
    (decision.report, refusal)
}

/// The groups of this process, in which the kernel takes these limits.
///
/// # Errors
///
/// When there are none, in words.
pub fn usable(
    hierarchy: Result<Hierarchy, CgroupError>,
    limits: &Limits,
) -> Result<Hierarchy, String> {
    let hierarchy = hierarchy.map_err(|error| sentence(&error))?;
    hierarchy.rehearse(limits).map_err(|error| {
        let reason = sentence(&error);
        format!("the kernel does not take a job's limits: {reason}")
    })?;
    Ok(hierarchy)
}

fn described(hierarchy: &Result<Hierarchy, String>) -> Result<String, String> {
    hierarchy
        .as_ref()
        .map(Hierarchy::describe)
        .map_err(Clone::clone)
}

#[derive(Debug, Default)]
struct Decision {
    layers: BTreeSet<Layer>,
    has_groups: bool,
    landlock_floor: u32,
    report: Vec<job::Layer>,
    missing: Vec<String>,
}

impl Decision {
    fn of(demands: &Layers, probed: &[ProbedLayer], groups: &Result<String, String>) -> Self {
        let policys_floor = u32::try_from(demands.landlock_abi.get()).unwrap_or(u32::MAX);
        let mut decision = Self {
            landlock_floor: policys_floor,
            ..Self::default()
        };
        decision.cgroup(demands.cgroup, groups);
        for layer in Layer::ALL {
            let demand = demands.demand(layer.name()).unwrap_or(Demand::Require);
            let probe = probed.iter().find(|probe| probe.layer == layer);
            decision.layer(layer, demand, probe);
        }
        decision
    }

    fn verdict(&self, class: &str, is_root: bool) -> Result<(), LayerError> {
        if is_root && !self.layers.contains(&Layer::SlotUid) {
            let why = self.detail(Layer::SlotUid.name());
            return Err(LayerError::WouldBeRoot(why));
        }
        if !self.missing.is_empty() {
            let (class, missing) = (class.to_owned(), self.missing.clone());
            return Err(LayerError::Missing { class, missing });
        }
        self.judge_the_rest()
    }

    fn cgroup(&mut self, demand: Demand, groups: &Result<String, String>) {
        let found = match groups {
            Ok(described) => Ok(described.clone()),
            Err(reason) => Err(format!("{reason}. {SUBSTITUTES}")),
        };
        self.has_groups = self.note("cgroup", demand, found);
    }

    fn layer(&mut self, layer: Layer, demand: Demand, probe: Option<&ProbedLayer>) {
        let missing_need = layer
            .needs()
            .iter()
            .find(|need| !self.layers.contains(need));
        if layer == Layer::Landlock {
            self.raise_landlock_floor();
        }
        let found = match (probe, missing_need) {
            (None, _) => Err("stap-jail says nothing about it".to_owned()),
            (Some(_), Some(need)) => Err(format!("it rests on the layer {need}, which is absent")),
            (Some(probe), None) if probe.available => self.new_enough(probe),
            (Some(probe), None) if probe.remedy.is_empty() => Err(probe.detail.clone()),
            (Some(probe), None) => Err(format!("{}; {}", probe.detail, probe.remedy)),
        };
        if self.note(layer.name(), demand, found) {
            self.layers.insert(layer);
        }
    }

    /// Landlock has more to do where other layers are absent, all of which come before it.
    fn raise_landlock_floor(&mut self) {
        if !self.layers.contains(&Layer::Mount) {
            self.landlock_floor = self.landlock_floor.max(LANDLOCK_ALONE);
        }
        if !self.layers.contains(&Layer::Pid) && !self.has_groups {
            self.landlock_floor = self.landlock_floor.max(LANDLOCK_SIGNALS);
        }
    }

    fn new_enough(&self, probe: &ProbedLayer) -> Result<String, String> {
        let floor = self.landlock_floor;
        match probe.landlock_abi() {
            Some(abi) if abi < floor => Err(format!(
                "this kernel's Landlock ABI is {abi}; with this policy on this host {floor} is needed"
            )),
            _ => Ok(in_force(probe)),
        }
    }

    /// What no policy can do without: one of the layers that hide the server's files, and one of
    /// those that make sure of a job's end.
    fn judge_the_rest(&self) -> Result<(), LayerError> {
        let holds = |layer| self.layers.contains(&layer);
        let landlock = self.detail("landlock");
        if !holds(Layer::Mount) && !holds(Layer::Landlock) {
            let mount = self.detail("mount");
            return Err(LayerError::Open { mount, landlock });
        }
        if !holds(Layer::Pid) && !self.has_groups && !holds(Layer::Landlock) {
            return Err(LayerError::Unending {
                pid: self.detail("pid"),
                cgroup: self.detail("cgroup"),
                landlock,
            });
        }
        Ok(())
    }

    /// Records a layer and returns whether jobs get it.
    fn note(&mut self, name: &str, demand: Demand, found: Result<String, String>) -> bool {
        let (state, detail) = match (demand, found) {
            (Demand::Off, _) => (LayerState::Absent, "switched off by the policy".to_owned()),
            (_, Ok(detail)) => (LayerState::Enforced, detail),
            (Demand::Require, Err(reason)) => {
                self.missing.push(format!("{name} ({reason})"));
                (LayerState::Absent, reason)
            }
            (Demand::Try, Err(reason)) => (LayerState::Absent, reason),
        };
        self.report.push(job::Layer {
            name: name.to_owned(),
            state,
            detail,
        });
        state == LayerState::Enforced
    }

    fn detail(&self, name: &str) -> String {
        let layer = self.report.iter().find(|layer| layer.name == name);
        layer.map(|layer| layer.detail.clone()).unwrap_or_default()
    }
}

/// What holds for jobs; the probe's own jail had a uid and limits of its own.
fn in_force(probe: &ProbedLayer) -> String {
    match probe.layer {
        Layer::SlotUid => "one for each slot, from the policy's uid-base on".to_owned(),
        Layer::User => "nothing but the job's own user maps to the host".to_owned(),
        Layer::Rlimits => "as the policy's limits say, for each process".to_owned(),
        _ => probe.detail.clone(),
    }
}

/// What bounds a job where no control group does.
const SUBSTITUTES: &str = "Instead, each process has bounds on its address space and processor \
     time, all of a job's processes together on their number, and a workspace in memory on its size";
/// Older versions let a job cut other people's files; a mount namespace hides those anyway (Linux
/// 6.2).
const LANDLOCK_ALONE: u32 = 3;
/// The first version that keeps signals inside, so that the launcher lives to end all of a job where
/// neither a pid namespace nor a control group does it (Linux 6.12).
const LANDLOCK_SIGNALS: u32 = 6;
/// Each probe builds a small jail; this is a hundred times what it takes.
const PROBE_TIME: Duration = Duration::from_secs(20);
const MAX_PROBE: u64 = 256 << 10;

#[cfg(test)]
mod tests;
