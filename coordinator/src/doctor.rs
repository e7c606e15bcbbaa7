//! `--doctor`: what this host can give jobs, what it cannot, why, and what to change.
//!
//! Layers are tried by a worker that is started as the server would start it, by the same user and
//! with the same code; see [`stap_protocol::examination`]. What surrounds them is read here. Nothing
//! on the host is changed, and nothing is left behind.

mod account;
mod groups;
mod host;
mod places;
mod text;
mod unit;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use stap_certs::Environment;
use stap_policy::{Demand, Policy, builtin};
use stap_protocol::examination::{Examination, Judgement, Question, Tried};
use stap_protocol::job::{LayerState, Target, Unusable};

use crate::options::{Options, PolicyChoice};
use crate::settings::{PolicyText, Surroundings, configuration};
use crate::worker::StartError;
use crate::{Failure, page, worker};

pub(crate) use self::account::uids_of_people;
pub(crate) use self::host::memory_of_host;

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Raised when a field changes its meaning or goes.
    format: u32,
    version: &'static str,
    uid: u32,
    policy: Asked,
    layers: Vec<Layer>,
    host: Vec<Finding>,
    classes: Vec<Class>,
    targets: Vec<Target>,
    not_served: Vec<Unusable>,
    /// Why nothing is known about layers or targets.
    obstacle: Option<String>,
}

/// The policy in question.
#[derive(Debug, Serialize)]
struct Asked {
    class: String,
    file: Option<String>,
    /// Whether a server would start under it.
    met: bool,
    /// The words with which it would not.
    refusal: Option<String>,
}

/// A layer of isolation.
#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    /// Whether it could be built for real.
    available: bool,
    /// What the policy says: `require`, `try` or `off`.
    demand: String,
    /// Whether jobs would have it.
    in_force: bool,
    detail: String,
    remedy: String,
}

/// A class of the program.
#[derive(Debug, Serialize)]
struct Class {
    class: String,
    met: bool,
    refusal: Option<String>,
    /// Layers that it requires and jobs would not have.
    missing: Vec<String>,
    /// Layers that it would use and does not require.
    without: Vec<String>,
}

/// Something that surrounds the jail.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    detail: String,
    /// What to do; empty where nothing is to be done.
    remedy: String,
}

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Should be better.
    Warn,
    /// A server does not start, or jobs are worse protected than they could be.
    Bad,
}

/// Looks at this host: the text, and whether the policy can be met.
///
/// # Errors
/// When there is no policy to ask about.
pub(crate) fn examine(options: &Options, json: bool) -> Result<(String, bool), Failure> {
    let policy = PolicyText::read(&options.policy)?;
    let environment = Environment::current();
    let home = environment.home.clone().map(Into::into);
    let surroundings = Surroundings::of_process(home.or_else(|| environment.passwd_home.clone()));
    let configuration = configuration(options, &surroundings, &policy)?;
    let places = places::findings(options, &environment, &configuration);
    let roots = configuration.roots.clone();
    let examined = worker::examine(Question {
        configuration,
        others: builtin::ALL.map(|(_, text)| text.to_owned()).into(),
    });
    let mut findings = host::findings(&policy.policy, options, examined.as_ref().ok());
    findings.extend(groups::findings(examined.as_ref().ok()));
    findings.extend(unit::findings());
    findings.extend(account::findings(&policy.policy, options, &roots));
    findings.extend(places);
    let diagnosis = Diagnosis::of(&options.policy, &policy.policy, examined, findings);
    let text = if json {
        let json = serde_json::to_string_pretty(&diagnosis).expect("a diagnosis is plain data");
        json + "\n"
    } else {
        text::of(&diagnosis, page::is_colored())
    };
    Ok((text, diagnosis.policy.met))
}

impl Diagnosis {
    fn of(
        choice: &PolicyChoice,
        policy: &Policy,
        examined: Result<Examination, StartError>,
        host: Vec<Finding>,
    ) -> Self {
        let examined = examined.map_err(|error| error.to_string());
        let obstacle = match &examined {
            Ok(examination) => examination.obstacle.clone(),
            Err(reason) => Some(reason.clone()),
        };
        let examination = examined.as_ref().ok();
        let judgements = examination.map(|found| found.judgements.as_slice());
        let (asked, classes) = judgements
            .and_then(<[_]>::split_first)
            .map_or((None, &[][..]), |(asked, classes)| (Some(asked), classes));
        let refusal = match asked {
            Some(judgement) => judgement.refusal.clone(),
            None => obstacle.clone(),
        };
        let file = match choice {
            PolicyChoice::Class(_) => None,
            PolicyChoice::File(path) => Some(path.display().to_string()),
        };
        let tried = examination.map(|found| found.tried.as_slice());
        let layers = tried.unwrap_or_default().iter();
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            uid: rustix::process::geteuid().as_raw(),
            policy: Asked {
                class: policy.class().to_owned(),
                file,
                met: asked.is_some() && refusal.is_none(),
                refusal,
            },
            layers: layers
                .map(|tried| Layer::of(tried, policy, asked))
                .collect(),
            host,
            classes: classes.iter().map(Class::of).collect(),
            targets: examination
                .map(|found| found.targets.clone())
                .unwrap_or_default(),
            not_served: examination
                .map(|found| found.unusable.clone())
                .unwrap_or_default(),
            obstacle,
        }
    }
}

impl Layer {
    fn of(tried: &Tried, policy: &Policy, judgement: Option<&Judgement>) -> Self {
        let demand = policy
            .layers()
            .demand(&tried.name)
            .unwrap_or(Demand::Require);
        let judged = judgement.and_then(|judgement| {
            let mut layers = judgement.layers.iter();
            layers.find(|layer| layer.name == tried.name)
        });
        let in_force = judged.is_some_and(|layer| layer.state == LayerState::Enforced);
        // Where the host could and the policy does not, the worker says why.
        let detail = match judged {
            Some(judged) if tried.available => judged.detail.clone(),
            _ => tried.detail.clone(),
        };
        Self {
            name: tried.name.clone(),
            available: tried.available,
            demand: demand.to_string(),
            in_force,
            detail,
            remedy: tried.remedy.clone(),
        }
    }
}

impl Class {
    fn of(judgement: &Judgement) -> Self {
        let policy = Policy::builtin(&judgement.class);
        let absent = |wanted: Demand| {
            let is_wanted = |name: &str| {
                let demand = policy
                    .as_ref()
                    .ok()
                    .and_then(|policy| policy.layers().demand(name));
                demand == Some(wanted)
            };
            let layers = judgement.layers.iter();
            layers
                .filter(|layer| layer.state == LayerState::Absent && is_wanted(&layer.name))
                .map(|layer| layer.name.clone())
                .collect()
        };
        Self {
            class: judgement.class.clone(),
            met: judgement.refusal.is_none(),
            refusal: judgement.refusal.clone(),
            missing: absent(Demand::Require),
            without: absent(Demand::Try),
        }
    }
}

impl Finding {
    fn new(
        name: &'static str,
        state: State,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            state,
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, State::Ok, detail, "")
    }

    fn note(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, State::Note, detail, "")
    }
}

/// Reads a small file of the kernel or of the system, at most [`MAX_FILE`] bytes of it.
fn read(path: impl AsRef<Path>) -> Option<String> {
    let mut content = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut content).ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

const FORMAT: u32 = 1;
/// More than any of these files holds; the longest lists the accounts of a host.
const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests;
