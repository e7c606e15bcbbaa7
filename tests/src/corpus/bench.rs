//! A jail of the worker's own making, with layers of our choice, for controls.
//!
//! A server accepts no policy that takes away the last layer which protects its own files, so
//! controls run the worker's code without a server: the library that the worker is made of builds
//! the plan, starts the real `stap-jail` and watches it. It runs in a process of its own, under the
//! uid that the server would have.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use stap_jail::layer::Layer;
use stap_jail::plan::{self, Access, Identity, View};
use stap_policy::Policy;
use stap_worker::cgroup::Hierarchy;
use stap_worker::jail::{End, Errand, Jail};
use stap_worker::job::{bind_of, is_visible};
use stap_worker::layers::InForce;
use tokio_util::sync::CancellationToken;

use super::service::said;
use super::{Situation, Verdict, Who};

/// What a jail is built without.
#[derive(Clone, Debug, Default)]
pub struct Without {
    who: Option<Who>,
    layers: BTreeSet<Layer>,
    group: bool,
}

impl Without {
    /// Without these layers, and those that rest on them.
    pub fn layers(who: Who, layers: impl IntoIterator<Item = Layer>) -> Self {
        Self {
            who: Some(who),
            layers: layers.into_iter().collect(),
            group: false,
        }
    }

    /// Without a control group either.
    #[must_use]
    pub fn group(mut self) -> Self {
        self.group = true;
        self
    }

    /// Makes sure of what a layer rests on.
    pub fn keep(&mut self, layer: Layer) {
        self.layers.remove(&layer);
        for needed in needs(self.who, layer) {
            self.layers.remove(&needed);
        }
    }

    fn leaves(&self, layer: Layer) -> bool {
        let needs = needs(self.who, layer);
        !self.layers.contains(&layer) && needs.iter().all(|needed| self.leaves(*needed))
    }

    fn words(&self) -> String {
        let left: Vec<_> = Layer::ALL
            .into_iter()
            .filter(|layer| self.leaves(*layer))
            .map(Layer::name)
            .collect();
        left.join(",")
    }
}

/// What a layer rests on. Only root makes other namespaces without one for users.
fn needs(who: Option<Who>, layer: Layer) -> Vec<Layer> {
    let mut needs = layer.needs().to_vec();
    if who == Some(Who::User) && NAMESPACES.contains(&layer) {
        needs.push(Layer::User);
    }
    needs
}

/// Layers that are namespaces, but for the one that gives the right to the others.
pub const NAMESPACES: [Layer; 7] = [
    Layer::Mount,
    Layer::Pid,
    Layer::Net,
    Layer::Ipc,
    Layer::Uts,
    Layer::CgroupNamespace,
    Layer::Proc,
];

impl fmt::Display for Without {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.layers.iter().map(|layer| layer.name()).collect();
        if self.group {
            names.push("cgroup");
        }
        formatter.write_str(&names.join(" and "))
    }
}

/// Runs `hostile-stap` with these words in such a jail as `uid`, in a process of its own.
///
/// # Errors
/// When the jail cannot be built, or the attack says nothing.
pub fn attack(
    situation: &Situation,
    uid: u32,
    policy: &str,
    without: &Without,
    words: &[String],
) -> anyhow::Result<Verdict> {
    let mut bench = Command::new(std::env::current_exe()?);
    bench
        .arg(ROLE)
        .arg(&situation.programs)
        .arg(situation.scratch.join("temporary"))
        .arg(uid.to_string())
        .arg(without.words())
        .arg(if without.group { "alone" } else { "grouped" })
        .arg(policy)
        .args(words)
        .current_dir("/")
        .env("SECRET", super::service::SECRET)
        .stdin(Stdio::null())
        .uid(situation.server_uid())
        .gid(situation.server_uid());
    let output = bench.output().context("starting the bench")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the jail without {without} was not built: {complaint}"
    );
    let ran: Value = serde_json::from_slice(&output.stdout).context("hearing the bench")?;
    let text = |name: &str| ran[name].as_str().unwrap_or_default().to_owned();
    said(&text("stdout"), &text("end")).with_context(|| format!("{ran}"))
}

/// The name of the role in which the corpus program starts itself for this.
pub const ROLE: &str = "--bench";

/// Plays the role: the words behind [`ROLE`].
///
/// # Errors
/// When they are not those of [`attack`], or the jail cannot be built.
pub fn play(mut words: impl Iterator<Item = String>) -> anyhow::Result<Value> {
    let mut word = || words.next().context("the bench needs more words");
    let (programs, temporary) = (PathBuf::from(word()?), PathBuf::from(word()?));
    let uid: u32 = word()?.parse()?;
    let layers = word()?
        .split(',')
        .map(str::parse)
        .collect::<Result<BTreeSet<Layer>, _>>()?;
    let grouped = word()? == "grouped";
    let policy = Policy::parse(&word()?)?;
    let is_root = rustix::process::geteuid().is_root();
    let identity = if is_root {
        Identity::Slot { uid, gid: uid }
    } else {
        Identity::Keep
    };
    let layers = layers
        .into_iter()
        .filter(|layer| is_root || *layer != Layer::SlotUid)
        .collect();
    let in_force = InForce {
        layers,
        landlock_floor: 1,
        hierarchy: grouped.then(Hierarchy::claim).and_then(Result::ok),
        report: Vec::new(),
    };
    let jail = Jail::new(
        programs.join("stap-jail"),
        in_force,
        *policy.limits(),
        temporary,
    );
    run(&jail, &programs, identity, words)
}

fn run(
    jail: &Jail,
    programs: &Path,
    identity: Identity,
    words: impl Iterator<Item = String>,
) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let room = jail.room(identity)?;
    let program = programs.join(super::service::HOSTILE);
    let binds = if is_visible(&program) {
        Vec::new()
    } else {
        vec![bind_of(&program, &program, Access::ReadExecute)?]
    };
    let errand = Errand {
        limits: None,
        name: "bench".to_owned(),
        identity,
        view: View {
            root: "/".try_into()?,
            binds,
        },
        files: Vec::new(),
        links: Vec::new(),
        command: plan::Command {
            program: program.as_path().try_into()?,
            arguments: words.map(String::into_bytes).collect(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            directory: room.path.as_path().try_into()?,
        },
    };
    let cancelled = CancellationToken::new();
    let finished = runtime.block_on(jail.run(errand, room, &cancelled))?;
    let end = match finished.end {
        End::Exited(code) => format!("exited with {code}"),
        End::Signalled(signal) => format!("ended by signal {signal}"),
        End::Limit(limit) => format!("reached the limit {limit:?}"),
        End::Cancelled => "cancelled".to_owned(),
    };
    Ok(json!({
        "end": end,
        "stdout": String::from_utf8_lossy(&finished.stdout.bytes),
        "stderr": String::from_utf8_lossy(&finished.stderr.bytes),
    }))
}

/// Runs the attack without any jail, as a user of this host.
///
/// # Errors
/// When it cannot be started.
pub fn bare(situation: &Situation, uid: u32, words: &[String]) -> anyhow::Result<Verdict> {
    let output = Command::new(situation.programs.join(super::service::HOSTILE))
        .args(words)
        .env_clear()
        .env("SECRET", super::service::SECRET)
        .current_dir(situation.scratch.join("open"))
        .stdin(Stdio::null())
        .uid(uid)
        .gid(uid)
        .output()
        .context("starting the attack")?;
    let end = format!("{}", output.status);
    said(&String::from_utf8_lossy(&output.stdout), &end)
}

/// The layers that jobs have where `who` runs the server.
#[must_use]
pub fn layers_of(who: Who) -> BTreeSet<Layer> {
    let all = Layer::ALL.into_iter();
    all.filter(|layer| who == Who::Root || *layer != Layer::SlotUid)
        .collect()
}
