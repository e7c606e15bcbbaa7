//! What an attacker finds: a server under attack, jails that lack something, and what was planted
//! around them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::Context as _;

use super::bench::{self, Without};
use super::groups;
use super::loot;
use super::place::Place;
use super::planted::Planted;
use super::service::{self, HOSTILE, Service, Start};
use super::stock::Lacking;
use super::{Against, Guard, Situation, Verdict};

/// The place of the attacks of one situation.
#[derive(Debug)]
pub struct Field {
    /// The circumstances.
    pub situation: Situation,
    names: BTreeMap<&'static str, String>,
    services: RefCell<BTreeMap<&'static str, Rc<Service>>>,
    /// Where scripts go: servers with the real stap, and the stock one.
    pub place: Place,
    landlock: OnceCell<u32>,
    counts_rings: OnceCell<bool>,
    planted: Planted,
}

impl Field {
    /// Prepares it.
    ///
    /// # Errors
    /// When something cannot be made; then nothing could be proved.
    pub fn prepare(situation: Situation) -> anyhow::Result<Self> {
        let mut names = BTreeMap::new();
        let planted = Planted::all(&situation, &mut names)?;
        names.extend(loot::plant(&situation)?);
        Ok(Self {
            situation,
            names,
            services: RefCell::default(),
            place: Place::default(),
            landlock: OnceCell::new(),
            counts_rings: OnceCell::new(),
            planted,
        })
    }

    /// The server with everything on, which runs one job at a time.
    ///
    /// # Errors
    /// When it does not start.
    pub fn service(&self) -> anyhow::Result<Rc<Service>> {
        self.serve(SERVER, &[], &["--max-threads=1"])
    }

    /// A server with some keys of its policy changed and some more options, started at its first use
    /// and kept for other cases that call it by the same name.
    ///
    /// # Errors
    /// When it does not start.
    pub fn serve(
        &self,
        name: &'static str,
        changes: &[(&str, &str)],
        options: &[&str],
    ) -> anyhow::Result<Rc<Service>> {
        if self.situation.against == Against::Stock {
            // It has neither policies nor layers that could be changed.
            return self.place.rival_with_hostile_stap(&self.situation);
        }
        if let Some(service) = self.services.borrow().get(name) {
            return Ok(Rc::clone(service));
        }
        // The log of an earlier one of this name would be taken for its own.
        let log = self.situation.scratch.join(format!("logs/{name}.log"));
        if log.exists() {
            std::fs::remove_file(log)?;
        }
        let service = Rc::new(self.start(name, changes, options)?);
        let mut services = self.services.borrow_mut();
        services.insert(name, Rc::clone(&service));
        Ok(service)
    }

    /// Stops such a server as an operator stops it. Its log stays until there is another of its name.
    ///
    /// # Errors
    /// When somebody still uses it, or it resists.
    pub fn close(&self, name: &str) -> anyhow::Result<()> {
        let Some(service) = self.services.borrow_mut().remove(name) else {
            return Ok(());
        };
        Rc::into_inner(service)
            .with_context(|| format!("server {name} is in use"))?
            .stop()
    }

    /// A server that only this case has, to do with as it likes.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        &self,
        name: &str,
        changes: &[(&str, &str)],
        options: &[&str],
    ) -> anyhow::Result<Service> {
        if self.situation.against == Against::Stock {
            let why = "it is about parts of a server that only ours has";
            return Err(Lacking::of_server(why).into());
        }
        let start = Start {
            policy: service::policy(self.situation.who, changes),
            options: options.to_vec(),
            stap: Some(self.situation.programs.join(HOSTILE)),
        };
        Service::start(&self.situation, name, &start)
    }

    /// The server with the real stap.
    ///
    /// # Errors
    /// When it does not start, or there is no root with a stap.
    pub fn real(&self) -> anyhow::Result<Rc<Service>> {
        match self.situation.against {
            Against::Ours => self.place.ours(&self.situation),
            Against::Stock => self.place.rival(&self.situation),
        }
    }

    /// Something of the field by its name.
    ///
    /// # Panics
    /// When there is no such name.
    #[must_use]
    pub fn named(&self, name: &str) -> &str {
        &self.names[name]
    }

    /// A text with the names of the field filled in where they stand between two `@`.
    #[must_use]
    pub fn filled_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(resident) = self.place.resident() {
            text = text.replace("@neighbour@", &resident.to_string());
        }
        for (name, value) in &self.names {
            text = text.replace(&format!("@{name}@"), value);
        }
        text
    }

    /// The words of an order, with names of the field filled in.
    ///
    /// # Errors
    /// When there is no such name.
    pub fn filled(&self, order: &str) -> anyhow::Result<Vec<String>> {
        order
            .split_whitespace()
            .map(|word| self.word(word))
            .collect()
    }

    fn word(&self, word: &str) -> anyhow::Result<String> {
        let Some((before, rest)) = word.split_once('{') else {
            return Ok(word.to_owned());
        };
        let (name, after) = rest.split_once('}').context("a name ends with }")?;
        let value = match name {
            // The attack program fills this in itself.
            "results" => "{results}".to_owned(),
            "server" => self.service()?.pid().to_string(),
            "worker" => self.service()?.worker()?.to_string(),
            _ => {
                let value = self.names.get(name).cloned();
                value.with_context(|| format!("the field has no {name}"))?
            }
        };
        Ok(format!("{before}{value}{}", self.word(after)?))
    }

    /// Whether a guard can be had on this machine at all.
    #[must_use]
    pub fn has(&self, guard: Guard) -> bool {
        let has_groups = || {
            let services = self.services.borrow();
            let server = services.get(SERVER);
            server.is_some_and(|server| server.enforces("cgroup"))
        };
        match guard {
            Guard::Landlock(abi) => {
                *self.landlock.get_or_init(|| landlock_abi(&self.situation)) >= abi
            }
            Guard::LockedRings => *self
                .counts_rings
                .get_or_init(|| counts_rings(&self.situation)),
            Guard::Group => has_groups(),
            Guard::NamespaceOfGroups => {
                self.situation.is_delegated && groups::are_bounded_by_namespaces()
            }
            Guard::Undelegated => !self.situation.is_delegated,
            _ => true,
        }
    }

    /// Runs an order in a jail that lacks some layers.
    ///
    /// # Errors
    /// When the jail cannot be built, or the attack says nothing.
    pub fn bench(&self, without: &Without, words: &[String]) -> anyhow::Result<Verdict> {
        self.bench_as(self.situation.job_uid(), without, words)
    }

    /// The same as a certain user.
    ///
    /// # Errors
    /// As for [`Self::bench`].
    pub fn bench_as(
        &self,
        uid: u32,
        without: &Without,
        words: &[String],
    ) -> anyhow::Result<Verdict> {
        let policy = service::policy(self.situation.who, &[]);
        bench::attack(&self.situation, uid, &policy, without, words)
    }

    /// Runs an order without a jail.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn bare(&self, uid: u32, words: &[String]) -> anyhow::Result<Verdict> {
        bench::bare(&self.situation, uid, words)
    }

    /// Takes everything away again; the server stops as an operator stops it.
    ///
    /// # Errors
    /// When something resists.
    pub fn clear(mut self) -> anyhow::Result<()> {
        for service in self.services.take().into_values() {
            let service = Rc::into_inner(service).context("a case holds a server")?;
            service.stop()?;
        }
        self.place.clear()?;
        self.planted.remove(&self.situation)
    }
}

/// The name of the server with everything on.
const SERVER: &str = "server";

/// Whether this kernel counts the rings of `io_uring` as locked memory, found out without a jail. A
/// kernel that cannot be asked is one that does.
fn counts_rings(situation: &Situation) -> bool {
    let words = ["io-uring-unpaid".to_owned()];
    let verdict = bench::bare(situation, situation.job_uid(), &words);
    !matches!(verdict, Ok(Verdict::Escaped { .. }))
}

/// The version of Landlock's interface that this kernel has, as the jail's own probe says it.
fn landlock_abi(situation: &Situation) -> u32 {
    let probe = Command::new(situation.programs.join("stap-jail"))
        .args(["--probe", "--json"])
        .stdin(Stdio::null())
        .output();
    let output = probe.map(|output| output.stdout).unwrap_or_default();
    let layers: Vec<stap_jail::probe::ProbedLayer> =
        serde_json::from_slice(&output).unwrap_or_default();
    layers
        .iter()
        .find_map(stap_jail::probe::ProbedLayer::landlock_abi)
        .unwrap_or(0)
}
