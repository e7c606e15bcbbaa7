//! Turns the report of a job into the reply that its client gets.

mod filter;

use stap_protocol::job::{Outcome, OutputFile, Report, Wider};
use stap_protocol::reply::{Origin, Parts, Reply};
use stap_protocol::target::TargetName;
use stap_protocol::version::ProtocolVersion;

use crate::intake::Client;
use crate::module::{Verdict, judge};
use crate::refusal::{Refusal, notice_line, server_line};
use crate::request_id::RequestId;
use crate::signing::Signature;

/// Writes the reply to a request whose job has ended.
#[must_use]
pub fn compose(
    mut report: Report,
    client: &Client,
    target: &TargetName,
    signature: &Signature,
    origin: Origin,
    id: RequestId,
) -> Reply {
    // A stock server says what it tolerates before it starts stap.
    let notices = client.notices.iter().map(|notice| notice_line(notice));
    let mut stderr = notices.collect::<String>().into_bytes();
    let mut lines = String::new();
    let mut rc = status(&report.outcome);
    if rc != 0
        && let Some(sentence) = explanation(&report.outcome)
    {
        lines.push_str(&server_line(&sentence, id));
    }
    let mut files = results(&mut report);
    if rc == 0
        && let Some(fault) = fault_of(&files, target, signature)
    {
        lines.push_str(&server_line(&fault, id));
        rc = 1;
        files.clear();
    }
    let hide = |text: &[u8]| filter::hide_directories(text, &report.private_directories);
    stderr.extend(filter::drop_kept_directory(&hide(&report.stderr)));
    if !lines.is_empty() && !stderr.is_empty() && !stderr.ends_with(b"\n") {
        stderr.push(b'\n');
    }
    stderr.extend(lines.into_bytes());
    let parts = Parts {
        version: version_for(client.version),
        rc,
        stdout: hide(&report.stdout),
        stderr,
        files,
        signing_key: None,
        origin: client.wants_origin.then_some(origin),
    };
    Reply::new(parts).unwrap_or_else(|invalid| {
        tracing::warn!(%invalid, "the worker's results make no reply");
        Reply::refusal(&server_line(
            &format!("the results of this compile cannot be sent: {invalid}"),
            id,
        ))
    })
}

/// A client is answered in its own version where we speak it.
fn version_for(client: ProtocolVersion) -> ProtocolVersion {
    client.clamp(OLDEST_ANSWER, ProtocolVersion::CURRENT)
}

fn status(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Exited { code } => *code,
        _ => 1,
    }
}

/// What happened besides stap itself, why, and what to do.
fn explanation(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Exited { .. } => None,
        Outcome::Signalled { signal } => Some(format!(
            "stap was ended by signal {signal}. This is a fault of stap or its compiler; report the script to the operator."
        )),
        Outcome::LimitReached {
            limit,
            value,
            class,
            used,
            wider,
        } => {
            let used = used.as_ref().map(|used| format!("; it used {used}"));
            Some(format!(
                "the compile failed because it reached the limit '{limit}' of {value} (policy '{class}'{}). {}",
                used.unwrap_or_default(),
                way_out(limit, wider.as_ref())
            ))
        }
        Outcome::Cancelled => Some(Refusal::Stopping.to_string()),
        Outcome::WorkerFault { .. } => Some(
            "the server could not run this compile; the script is not to blame. Try again, or tell the operator the \
             number of this request."
                .to_owned(),
        ),
    }
}

/// Who would allow more, so that nobody asks in vain.
fn way_out(limit: &str, wider: Option<&Wider>) -> String {
    match wider {
        Some(Wider { class, value }) => {
            format!(
                "Make the script smaller, or ask the operator: the policy '{class}' allows {value}."
            )
        }
        None => format!(
            "Make the script smaller: no policy that comes with the server allows more. The operator can write one \
             with a higher '{limit}'; ask the operator."
        ),
    }
}

/// A failed job gives nothing away but its text.
fn results(report: &mut Report) -> Vec<OutputFile> {
    match report.outcome {
        Outcome::Exited { code: 0 } => std::mem::take(&mut report.files),
        _ => Vec::new(),
    }
}

/// Why results of a job that says it succeeded are not sent.
fn fault_of(files: &[OutputFile], target: &TargetName, signature: &Signature) -> Option<String> {
    if let Signature::Refused(why) = signature {
        return Some(format!(
            "the module is not sent, because it cannot be signed: {why}. Tell the operator the number of this request."
        ));
    }
    let judged = |file| Some((file, judge(file, &target.arch)?));
    let (module, verdict) = files.iter().find_map(judged)?;
    match verdict {
        Verdict::Module => None,
        Verdict::NotElf => {
            // Only a stand-in for stap writes such a file, and whoever set SYSTEMTAP_STAP means it.
            tracing::warn!(module = %module.name, "a result that is no ELF file is passed through");
            None
        }
        Verdict::Wrong(why) => Some(format!(
            "the module {} is not sent: {why}. Tell the operator the number of this request.",
            module.name
        )),
    }
}

/// From this version on clients look for results where we put them.
const OLDEST_ANSWER: ProtocolVersion = ProtocolVersion::new(1, 6);

#[cfg(test)]
mod tests;
