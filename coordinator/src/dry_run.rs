//! `--may`: would this command line be served, and which rule says so?
//!
//! The decision is the intake's own, taken for the request that a client would make of the words, with
//! one exception: no file is looked at, so nothing is known of their number and size. The target is
//! taken to be served.

mod sent;
mod text;

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use stap_policy::{Demand, Places, Policy, builtin};
use stap_protocol::job::Target;
use stap_protocol::options::{CommandLine, parse};
use stap_protocol::request::{Parts, Request, SysInfo};
use stap_protocol::signing::SignatureHash;
use stap_protocol::signing::messages::Keys;
use stap_protocol::target::TargetName;
use stap_protocol::text::escape;

use self::sent::Sent;
use crate::Failure;
use crate::catalogue::Catalogue;
use crate::intake::{self, Ruling, Subject};
use crate::options::PolicyChoice;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::request_id::RequestIds;
use crate::settings::PolicyText;
use crate::signing::Surety;

/// Who wants to run what, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// The policy that is asked about.
    pub policy: PolicyChoice,
    /// What is built for; else what the command line names, else this host.
    pub target: Option<TargetName>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// The command line, the program's name included.
    pub words: Vec<Vec<u8>>,
    /// For machines instead of people.
    pub json: bool,
}

/// What the server would do.
#[derive(Debug, Serialize)]
pub(crate) struct Decision {
    /// Raised when a field changes its meaning or goes.
    format: u32,
    allowed: bool,
    command: String,
    policy: PolicyName,
    target: String,
    /// Why it is refused as a whole, as the client would read it.
    refusal: Option<String>,
    hint: Option<String>,
    rulings: Vec<Ruled>,
    /// Words that clients do not send.
    kept_by_client: Vec<String>,
    peer: Option<PeerShare>,
    /// What would apply; empty for what is refused.
    limits: Vec<LimitShown>,
    required_layers: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct PolicyName {
    class: String,
    file: Option<String>,
}

/// One part of the command line, with the rule that decides it.
#[derive(Debug, Serialize)]
struct Ruled {
    word: String,
    allowed: bool,
    reason: Option<String>,
    rule: Rule,
    /// Built-in classes that would allow it.
    allowed_by: Vec<&'static str>,
}

/// What decides.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Rule {
    /// A field of the policy, such as `options.allow`; `None` where no policy has a say.
    field: Option<&'static str>,
    /// Its line in the policy, or that of the word in it.
    line: Option<usize>,
    /// In words.
    says: String,
}

#[derive(Debug, Serialize)]
struct PeerShare {
    counted_as: String,
    connections: u64,
    jobs: u64,
}

#[derive(Debug, Serialize)]
struct LimitShown {
    name: &'static str,
    value: String,
    line: Option<usize>,
}

/// Answers an inquiry: the text, and whether the command line is allowed.
///
/// # Errors
/// When the policy cannot be used.
pub(crate) fn answer(inquiry: &Inquiry, colored: bool) -> Result<(String, bool), Failure> {
    let policy = PolicyText::read(&inquiry.policy)?;
    let decision = Decision::of(inquiry, &policy)?;
    let text = if inquiry.json {
        let json = serde_json::to_string_pretty(&decision).expect("a decision is plain data");
        json + "\n"
    } else {
        text::of(&decision, colored)
    };
    Ok((text, decision.allowed))
}

impl Decision {
    fn of(inquiry: &Inquiry, chosen: &PolicyText) -> Result<Self, Failure> {
        let policy = &chosen.policy;
        let places = Places::of(&chosen.text).ok();
        let words = inquiry.words.get(1..).unwrap_or_default();
        let parsed = parse(words).map(Sent::of);
        let target = target(inquiry, parsed.as_ref().ok())?;
        let verdict = match &parsed {
            Ok(sent) => admitted(&sent.line, &target, policy),
            Err(error) => Err(Refusal::Grammar(error.clone())),
        };
        let book = Book {
            policy,
            places: places.as_ref(),
        };
        let rulings = parsed.as_ref().map(|sent| book.ruled(sent, &target));
        let mut rulings = rulings.unwrap_or_default();
        if let Err(refusal) = &verdict
            && rulings.iter().all(|ruled| ruled.allowed)
        {
            rulings.push(book.of_request(refusal));
        }
        let command: Vec<_> = inquiry.words.iter().map(|word| escape(word)).collect();
        Ok(Self {
            format: FORMAT,
            allowed: verdict.is_ok(),
            command: command.join(" "),
            policy: PolicyName {
                class: policy.class().to_owned(),
                file: file_of(&inquiry.policy).map(|file| file.display().to_string()),
            },
            target: target.to_string(),
            hint: verdict.as_ref().err().map(Refusal::hint),
            refusal: verdict.as_ref().err().map(ToString::to_string),
            rulings,
            kept_by_client: parsed.map(|sent| sent.kept).unwrap_or_default(),
            peer: inquiry.peer.map(|peer| share(peer, policy)),
            limits: if verdict.is_ok() {
                book.limits()
            } else {
                Vec::new()
            },
            required_layers: if verdict.is_ok() {
                required(policy)
            } else {
                Vec::new()
            },
        })
    }
}

/// The intake itself, for a server that has just this target.
fn admitted(line: &CommandLine, target: &TargetName, policy: &Policy) -> Result<(), Refusal> {
    let parts = Parts::new(SysInfo::from(target.clone()), line.to_arguments());
    let request = Request::new(parts).map_err(|error| Refusal::Package(error.to_string()))?;
    let catalogue = Catalogue::new(vec![Target {
        name: target.clone(),
        root: "/".into(),
        build_tree: "/".into(),
        stap: "/".into(),
        stap_version: String::new(),
        compiler: String::new(),
        build_id: String::new(),
        signature_hash: SignatureHash::default(),
        pass_4: Vec::new(),
    }]);
    let id = RequestIds::default().next();
    // What a host lacks is the doctor's matter, and no key is asked for.
    let (surety, keys) = (Surety::default(), Keys::default());
    intake::admit(request, id, policy, &catalogue, &surety, &keys).map(drop)
}

/// A policy with the lines of its rules.
struct Book<'a> {
    policy: &'a Policy,
    places: Option<&'a Places<'a>>,
}

impl Book<'_> {
    fn ruled(&self, sent: &Sent, target: &TargetName) -> Vec<Ruled> {
        let typed = sent.typed.options().map(Subject::Option);
        let script = sent.typed.operands().next().map(Subject::Script);
        intake::rulings(&sent.line, target, self.policy)
            .zip(typed.chain(script))
            .map(|(ruling, typed)| self.one(&ruling, typed, sent, target))
            .collect()
    }

    fn one(
        &self,
        ruling: &Ruling<'_>,
        typed: Subject<'_>,
        sent: &Sent,
        target: &TargetName,
    ) -> Ruled {
        let word = match typed {
            Subject::Option(item) => {
                let words = item.to_arguments();
                escape(&words.join(&b' '))
            }
            Subject::Script(path) => escape(path),
        };
        let rule = match (&ruling.verdict, ruling.subject) {
            (Err(refusal), _) => self.rule_against(refusal),
            (Ok(()), Subject::Option(item)) => {
                let option = item.to_string();
                let line = self
                    .places
                    .and_then(|places| places.line_in(ALLOW, &option));
                rule(Some(ALLOW), line, format!("the policy allows {option}"))
            }
            (Ok(()), Subject::Script(_)) => {
                rule(None, None, "a script is what the server is for".to_owned())
            }
        };
        let allowed_by = match &ruling.verdict {
            Err(_) => classes_that_allow(ruling, sent, target),
            Ok(()) => Vec::new(),
        };
        Ruled {
            word,
            allowed: ruling.verdict.is_ok(),
            reason: ruling.verdict.as_ref().err().map(ToString::to_string),
            rule,
            allowed_by,
        }
    }

    fn of_request(&self, refusal: &Refusal) -> Ruled {
        Ruled {
            word: "the command line".to_owned(),
            allowed: false,
            reason: Some(refusal.to_string()),
            rule: self.rule_against(refusal),
            allowed_by: Vec::new(),
        }
    }

    fn rule_against(&self, refusal: &Refusal) -> Rule {
        let field = |field: &'static str, says: &str| {
            let line = self.places.and_then(|places| places.line(field));
            rule(Some(field), line, says.to_owned())
        };
        match refusal {
            Refusal::OptionNotAllowed { option, .. } => {
                field(ALLOW, &format!("{option} is not in the list"))
            }
            Refusal::PrivilegeNotAllowed { privilege, .. } => field(
                "options.privileges",
                &format!("{privilege} is not in the list"),
            ),
            Refusal::TooMany { what: "files", .. } => {
                field("request.files", "the most of one request")
            }
            Refusal::TooMany { .. } => field("request.arguments", "the most of one request"),
            Refusal::ForbiddenOption { .. } | Refusal::PathOutside { .. } => {
                rule(None, None, "no policy can allow it".to_owned())
            }
            Refusal::OtherTarget { .. } => rule(None, None, "a request has one target".to_owned()),
            Refusal::UnknownOption(_) | Refusal::Grammar(_) => rule(
                None,
                None,
                "stap's grammar: no policy can allow it".to_owned(),
            ),
            _ => rule(None, None, "the server's own limits".to_owned()),
        }
    }

    fn limits(&self) -> Vec<LimitShown> {
        LIMITS
            .into_iter()
            .filter_map(|name| {
                let (_, value) = self.policy.limits().named(name)?;
                let places = self.places?;
                let line = places.line(&format!("limits.{name}"));
                Some(LimitShown { name, value, line })
            })
            .collect()
    }
}

fn rule(field: Option<&'static str>, line: Option<usize>, says: String) -> Rule {
    Rule { field, line, says }
}

/// The built-in classes that take what was refused.
fn classes_that_allow(refused: &Ruling<'_>, sent: &Sent, target: &TargetName) -> Vec<&'static str> {
    let is_same = |ruling: &Ruling<'_>| match (ruling.subject, refused.subject) {
        (Subject::Option(one), Subject::Option(other)) => std::ptr::eq(one, other),
        (Subject::Script(_), Subject::Script(_)) => true,
        _ => false,
    };
    let allows = |class: &str| {
        let Ok(policy) = Policy::builtin(class) else {
            return false;
        };
        intake::rulings(&sent.line, target, &policy)
            .any(|ruling| is_same(&ruling) && ruling.verdict.is_ok())
    };
    let names = builtin::ALL.into_iter().map(|(name, _)| name);
    names.filter(|name| allows(name)).collect()
}

/// What was named, else what the command line asks for, else this host.
fn target(inquiry: &Inquiry, sent: Option<&Sent>) -> Result<TargetName, Failure> {
    if let Some(target) = &inquiry.target {
        return Ok(target.clone());
    }
    let host = rustix::system::uname();
    let named = |letter| {
        let value = sent?.typed.short_values(letter).last()?;
        std::str::from_utf8(value).ok()
    };
    let release = named('r').and_then(|release| release.parse().ok());
    let arch = named('a').and_then(|arch| arch.parse().ok());
    let own_release = || host.release().to_string_lossy().parse().ok();
    let own_arch = || host.machine().to_string_lossy().parse().ok();
    let named = release.or_else(own_release).zip(arch.or_else(own_arch));
    let (release, arch) = named.ok_or(Failure::NoTarget)?;
    Ok(TargetName { release, arch })
}

fn share(peer: IpAddr, policy: &Policy) -> PeerShare {
    let admission = policy.admission();
    PeerShare {
        counted_as: Peer::from(peer).to_string(),
        connections: admission.connections_per_peer.get(),
        jobs: admission.jobs_per_peer.get(),
    }
}

fn required(policy: &Policy) -> Vec<&'static str> {
    let demands = policy.layers().demands().into_iter();
    let required = demands.filter(|(_, demand)| *demand == Demand::Require);
    required.map(|(name, _)| name).collect()
}

fn file_of(choice: &PolicyChoice) -> Option<&Path> {
    match choice {
        PolicyChoice::Class(_) => None,
        PolicyChoice::File(path) => Some(path),
    }
}

const FORMAT: u32 = 1;
const ALLOW: &str = "options.allow";
const LIMITS: [&str; 13] = [
    "wall",
    "cpu",
    "memory",
    "processes",
    "cpu-percent",
    "workspace",
    "workspace-files",
    "file",
    "open-files",
    "stdout",
    "stderr",
    "results",
    "result-bytes",
];

#[cfg(test)]
mod tests;
