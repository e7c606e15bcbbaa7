//! Turns a request into a job, or says why not.
//!
//! The arguments are read with stap's own grammar and handed on in a spelling that can be read in one
//! way only. What is harmless is left to stap, so that its diagnostics are those of a local run.

mod options;

pub(crate) use self::options::stands_for_script;

use stap_policy::Policy;
use stap_protocol::job::{Job, Target};
use stap_protocol::options::{CommandLine, Item, parse};
use stap_protocol::request::{Parts, Request, SysInfo};
use stap_protocol::signing::messages::Keys;
use stap_protocol::target::TargetName;
use stap_protocol::version::ProtocolVersion;

use crate::catalogue::Catalogue;
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::signing::Surety;
use crate::signing::outcome::Record;

/// A request that will be served.
#[derive(Debug)]
pub struct Accepted {
    /// For the scheduler.
    pub job: Job,
    /// The signatures that its module needs, and what the signer has to know of the job.
    pub record: Option<Record>,
    /// What the reply has to take into account.
    pub client: Client,
}

/// What is known about a client besides its address.
#[derive(Clone, Debug)]
pub struct Client {
    /// The protocol version that it speaks.
    pub version: ProtocolVersion,
    /// Whether it wants to know where its result is from.
    pub wants_origin: bool,
    /// What was tolerated in its request, for its stderr.
    pub notices: Vec<String>,
}

/// The target that a request for one target means.
///
/// # Errors
/// When there is none.
pub fn meant<'a>(request: &Request, catalogue: &'a Catalogue) -> Result<&'a Target, Refusal> {
    let wanted = &request.target;
    catalogue
        .find(wanted)
        .ok_or_else(|| unknown(wanted, catalogue))
}

/// The refusal of a target that is not served.
pub(crate) fn unknown(wanted: &SysInfo, catalogue: &Catalogue) -> Refusal {
    let nearest = catalogue.nearest(wanted).into_iter();
    Refusal::Target {
        wanted: wanted.to_string(),
        nearest: nearest.map(ToString::to_string).collect(),
    }
}

/// Judges a request for one target.
///
/// # Errors
/// Why it is not served.
pub fn admit(
    request: Request,
    id: RequestId,
    policy: &Policy,
    catalogue: &Catalogue,
    surety: &Surety,
    keys: &Keys,
) -> Result<Accepted, Refusal> {
    let target = meant(&request, catalogue)?;
    accept(request, target, id, policy, surety, keys)
}

/// Judges a request when it is known for which target.
///
/// # Errors
/// Why it is not served.
pub fn accept(
    request: Request,
    target: &Target,
    id: RequestId,
    policy: &Policy,
    surety: &Surety,
    keys: &Keys,
) -> Result<Accepted, Refusal> {
    let Parts {
        version,
        arguments,
        files,
        locale,
        machine_owner_keys,
        wants_origin,
        notices,
        // The session has looked at these.
        target: _,
        targets: _,
        wants_progress: _,
    } = request.into_parts();
    let bounds = policy.request();
    at_most("arguments", arguments.len(), bounds.arguments.get(), policy)?;
    at_most("files", files.len(), bounds.files.get(), policy)?;
    let line = parse(&arguments)?;
    judge(&line, &target.name, policy)?;
    let demand = surety.demand(&line, &files, &machine_owner_keys, keys, policy)?;
    let job = Job {
        request: id.to_string(),
        target: target.name.clone(),
        arguments: line.to_arguments(),
        files,
        locale,
        to_be_signed: demand.is_some(),
    };
    let record = demand.map(|demand| Record::of(&job, target.signature_hash, demand));
    Ok(Accepted {
        job,
        record,
        client: Client {
            version,
            wants_origin,
            notices,
        },
    })
}

fn judge(line: &CommandLine, target: &TargetName, policy: &Policy) -> Result<(), Refusal> {
    rulings(line, target, policy).try_for_each(|ruling| ruling.verdict)
}

/// What is decided about one part of a command line.
#[derive(Debug)]
pub(crate) struct Ruling<'a> {
    /// What it is about.
    pub(crate) subject: Subject<'a>,
    /// The decision.
    pub(crate) verdict: Result<(), Refusal>,
}

/// A part of a command line that is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// An option with its value.
    Option(&'a Item),
    /// The operand that names the script.
    Script(&'a [u8]),
}

/// Judges every part of a command line by itself; a request is served if all of them are allowed.
pub(crate) fn rulings<'a>(
    line: &'a CommandLine,
    target: &'a TargetName,
    policy: &'a Policy,
) -> impl Iterator<Item = Ruling<'a>> {
    let options = line.options().map(|item| Ruling {
        subject: Subject::Option(item),
        verdict: options::judge(item, target, policy),
    });
    let script = script(line).map(|path| Ruling {
        subject: Subject::Script(path),
        verdict: if options::is_inside(path) {
            Ok(())
        } else {
            Err(options::outside("script", path))
        },
    });
    options.chain(script)
}

/// The first operand is the script, unless an option says what to run or list.
fn script(line: &CommandLine) -> Option<&[u8]> {
    let given_otherwise = line.options().any(stands_for_script);
    line.operands().next().filter(|_| !given_otherwise)
}

pub(crate) fn at_most(
    what: &'static str,
    count: usize,
    limit: u64,
    policy: &Policy,
) -> Result<(), Refusal> {
    if u64::try_from(count).is_ok_and(|count| count <= limit) {
        return Ok(());
    }
    Err(Refusal::TooMany {
        what,
        count,
        limit,
        class: policy.class().to_owned(),
    })
}

#[cfg(test)]
mod tests;
