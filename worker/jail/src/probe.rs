//! Which layers this host can give, found by building a jail with each for real.

mod output;
mod remedy;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, waitpid};
use serde::{Deserialize, Serialize};

use crate::channel::{Inherited, Status};
use crate::handover::{HandoverError, plan_descriptor};
use crate::launcher;
use crate::layer::Layer;
use crate::plan::{
    self, GO, HostPath, Identity, JailPath, JailPlan, Limits, Place, View, Workspace,
};
use crate::report::Event;
use crate::sys::{self, Fork};

pub(crate) use self::output::{Form, write};

/// One layer on this host, for the user that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedLayer {
    /// Which.
    pub layer: Layer,
    /// Whether a jail could be built with it.
    pub available: bool,
    /// What exactly holds, or what failed.
    pub detail: String,
    /// What would make it available; empty when it is.
    pub remedy: String,
}

impl ProbedLayer {
    /// The version of Landlock's interface, where this is that layer and it is available.
    #[must_use]
    pub fn landlock_abi(&self) -> Option<u32> {
        let is_it = self.layer == Layer::Landlock && self.available;
        let version = self.detail.strip_prefix(LANDLOCK_ABI)?;
        version.parse().ok().filter(|_| is_it)
    }
}

/// Why nothing is known about this host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The program cannot be run, or a jail not even be tried.
    #[error("trying a jail: {0}")]
    Start(#[from] io::Error),
    /// The plan of a trial is not accepted.
    #[error("planning a jail: {0}")]
    Plan(#[from] HandoverError),
    /// The program ended without an answer.
    #[error("stap-jail --probe failed: {0}")]
    Failed(String),
    /// Its answer makes no sense.
    #[error("the answer of stap-jail --probe cannot be read")]
    Unreadable(#[source] postcard::Error),
}

/// Asks `program`, a `stap-jail`, what this host can give. May be called from any process.
pub fn layers(program: &Path) -> Result<Vec<ProbedLayer>, ProbeError> {
    let mut child = Command::new(program)
        .args(["--probe", "--encoded"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER).read_to_end(&mut answer)?;
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(ProbeError::Failed(status.to_string()));
    }
    postcard::from_bytes(&answer).map_err(ProbeError::Unreadable)
}

/// Tries every layer, each in a jail of its own. For a process with one thread only.
pub(crate) fn try_all() -> Result<Vec<ProbedLayer>, ProbeError> {
    let is_root = rustix::process::geteuid().is_root();
    let mut base = BTreeSet::new();
    if is_root {
        base.insert(Layer::SlotUid);
    }
    let mut probed = Vec::new();
    for layer in Layer::ALL {
        let result = try_one(layer, &base, is_root)?;
        // What follows is tried as jobs will have it: by the way of a user namespace if there is
        // one, else by that of root.
        if layer == Layer::User && result.available {
            base.insert(Layer::User);
        }
        probed.push(result);
    }
    Ok(probed)
}

fn try_one(layer: Layer, base: &BTreeSet<Layer>, is_root: bool) -> Result<ProbedLayer, ProbeError> {
    let mut wanted = base.clone();
    wanted.insert(layer);
    wanted.extend(layer.needs());
    if layer == Layer::SlotUid && !is_root {
        return Ok(absent(
            layer,
            "only root can give a job a uid of its own".to_owned(),
        ));
    }
    // Some hosts allow user namespaces and then nothing in them; a mount shows the difference.
    if layer == Layer::User {
        wanted.insert(Layer::Mount);
    }
    Ok(match build(&plan(wanted, is_root))? {
        Event::Enforced { layers } => match layers.into_iter().find(|held| held.layer == layer) {
            Some(held) => ProbedLayer {
                layer,
                available: true,
                detail: held.detail,
                remedy: String::new(),
            },
            None => absent(layer, "the jail was built without it".to_owned()),
        },
        Event::SetupFailed { rung, reason } => match earlier(layer, &rung) {
            Some(needed) => ProbedLayer {
                layer,
                available: false,
                detail: format!("it cannot be tried, as the jail gets no further than {needed}"),
                remedy: format!("see {needed}"),
            },
            None => absent(layer, format!("{rung}: {reason}")),
        },
        Event::Lost { reason } => absent(layer, reason),
        Event::Ended { .. } => absent(layer, "the jail did not say what holds".to_owned()),
    })
}

/// The other layer at which a jail came to its end: what would help is not this layer's remedy.
fn earlier(layer: Layer, rung: &str) -> Option<Layer> {
    let failed: Layer = rung.parse().ok()?;
    // A user namespace is tried together with a mount, which shows what it is worth.
    let is_its_own = failed == layer || (layer, failed) == (Layer::User, Layer::Mount);
    (!is_its_own).then_some(failed)
}

fn absent(layer: Layer, detail: String) -> ProbedLayer {
    ProbedLayer {
        layer,
        available: false,
        detail,
        remedy: remedy::of(layer).to_owned(),
    }
}

/// Builds a jail in a child, down to the job, and returns its first event.
fn build(plan: &JailPlan) -> Result<Event, ProbeError> {
    let plan = plan_descriptor(plan)?;
    let (lifeline, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let (events, status) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let kind = SocketType::STREAM;
    let (collector, workspace) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)?;
    File::from(ours.try_clone()?).write_all(&[GO])?;
    match sys::fork()? {
        Fork::Child => {
            drop((ours, events, collector));
            launcher::run(Inherited {
                plan,
                lifeline,
                status: Status::new(status),
                workspace,
            });
            sys::exit_now(0)
        }
        Fork::Parent { child } => {
            drop((plan, lifeline, status, workspace));
            let event = first_event(events);
            // Closing the lifeline is what ends the jail.
            drop((ours, collector));
            waitpid(Some(child), WaitOptions::empty()).map_err(io::Error::from)?;
            event
        }
    }
}

fn first_event(events: OwnedFd) -> Result<Event, ProbeError> {
    let mut events = File::from(events);
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(event) = Event::take(&mut bytes).map_err(io::Error::other)? {
            return Ok(event);
        }
        match events.read(&mut part)? {
            0 => {
                return Ok(Event::Lost {
                    reason: "the launcher died".to_owned(),
                });
            }
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// The smallest job with these layers.
fn plan(layers: BTreeSet<Layer>, is_root: bool) -> JailPlan {
    let path = |path: &str| JailPath::try_from(path).expect("the path is written out here");
    let host = |path: &str| HostPath::try_from(path).expect("the path is written out here");
    let place = if layers.contains(&Layer::Mount) {
        Place::Tmpfs {
            bytes: 1 << 20,
            inodes: 64,
        }
    } else {
        Place::Nowhere
    };
    JailPlan {
        landlock_floor: 1,
        identity: if is_root {
            Identity::Slot {
                uid: NOBODY,
                gid: NOBODY,
            }
        } else {
            Identity::Keep
        },
        layers,
        view: View {
            root: host("/"),
            binds: Vec::new(),
        },
        workspace: Workspace {
            place,
            files: Vec::new(),
            links: Vec::new(),
        },
        limits: Limits {
            open_files: 64,
            processes: 64,
            file_bytes: 1 << 20,
            cpu: Duration::from_secs(5),
            address_space: None,
        },
        command: plan::Command {
            program: path("/bin/true"),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: path("/"),
        },
    }
}

/// The user as whom root tries: it owns nothing, and nothing runs as it for longer than a moment.
const NOBODY: u32 = 65_534;
/// In front of the number in what the rung says about Landlock.
pub(crate) const LANDLOCK_ABI: &str = "ABI ";
/// An answer is shorter.
const MAX_ANSWER: u64 = 64 << 10;
