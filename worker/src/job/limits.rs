//! Which limit a job met, how much it used of it, and which class would allow more.
//!
//! Most limits are counted by the kernel or by us, and a job that met one ends with
//! [`Outcome::LimitReached`]. Nothing counts how often a process deep in the tree had no descriptor
//! left, or had a file cut; there the messages of the compilers are the only witness. They are
//! believed as far as a witness is: the job keeps its own status, and a note names the limit.

use std::time::Duration;

use stap_policy::Limits;
use stap_protocol::job::{Outcome, Wider};

use crate::jail::{End, Filled, Finished, Kept, Limit};

/// A job that was ended by a limit, or failed because of it.
pub(super) fn reached(limit: Limit, used: Option<String>, limits: &Limits, class: &str) -> Outcome {
    let wider = stap_policy::wider(limit.name(), limits);
    Outcome::LimitReached {
        limit: limit.name().to_owned(),
        value: value_of(limit, limits),
        class: class.to_owned(),
        used,
        wider: wider.map(|wider| Wider {
            class: wider.class.to_owned(),
            value: wider.value,
        }),
    }
}

/// How much of the limit was used that ended a job, where that is counted.
pub(super) fn used(end: End, finished: &Finished) -> Option<String> {
    let End::Limit(limit) = end else {
        return None;
    };
    match limit {
        Limit::Wall => Some(seconds(finished.usage.wall)),
        Limit::Cpu => Some(seconds(finished.usage.cpu)),
        Limit::Memory => finished.usage.peak_memory.map(size),
        Limit::Processes => finished.peak_processes.map(|peak| peak.to_string()),
        Limit::Workspace => finished.filled.map(|filled| size(filled.bytes)),
        Limit::WorkspaceFiles => finished.filled.map(|filled| filled.files.to_string()),
        Limit::Stdout => Some(size(finished.stdout.total)),
        Limit::Stderr => Some(size(finished.stderr.total)),
        Limit::File | Limit::OpenFiles | Limit::Results | Limit::ResultBytes => None,
    }
}

/// What else the client should know about limits, one line each.
pub(super) fn notes(end: End, finished: &Finished, limits: &Limits, class: &str) -> Vec<String> {
    let cut = [
        (Limit::Stdout, &finished.stdout),
        (Limit::Stderr, &finished.stderr),
    ];
    let cut = cut.into_iter().filter(|(_, kept)| kept.is_cut);
    let mut notes: Vec<_> = cut
        .map(|(limit, Kept { total, .. })| {
            let (name, named) = (limit.name(), named(limit, limits, class));
            format!(
                "the rest of {name} is left out: it has {}, and {named}",
                size(*total)
            )
        })
        .collect();
    if !matches!(end, End::Exited(0) | End::Limit(_) | End::Cancelled) {
        notes.extend(suspicion(finished, limits, class));
    }
    notes
}

/// The limit that a failed compile most likely met, and why we think so.
fn suspicion(finished: &Finished, limits: &Limits, class: &str) -> Option<String> {
    let nearly = finished
        .filled
        .and_then(|filled| nearly_full(filled, limits));
    let (limit, because) = match nearly {
        Some((limit, used)) => (limit, format!("its workspace held {used}")),
        None => {
            let (words, limit) = WITNESSES
                .iter()
                .filter(|(_, limit)| is_open(*limit, finished))
                .find(|(words, _)| {
                    says(&finished.stderr, words) || says(&finished.stdout, words)
                })?;
            (*limit, format!("its messages say \"{words}\""))
        }
    };
    if limit == Limit::Workspace && finished.filled.is_none() {
        return Some(format!(
            "the compile failed, and {because}: the server's disk most likely has no room left; tell the operator"
        ));
    }
    let named = named(limit, limits, class);
    Some(format!(
        "the compile failed, and {because}: it most likely met a limit; {named}"
    ))
}

/// Whether nothing else says for certain that a job met this limit, or did not.
fn is_open(limit: Limit, finished: &Finished) -> bool {
    match limit {
        Limit::Memory | Limit::Processes => !finished.is_counted,
        _ => true,
    }
}

/// A compiler without room removes what it wrote, so a workspace that was seen nearly full may have
/// been full a moment later.
fn nearly_full(filled: Filled, limits: &Limits) -> Option<(Limit, String)> {
    let near = |used: u64, limit: u64| used >= limit - limit / NEARLY;
    if near(filled.bytes, limits.workspace.bytes()) {
        return Some((Limit::Workspace, size(filled.bytes)));
    }
    let files = format!("{} files", filled.files);
    near(filled.files, limits.workspace_files.get()).then_some((Limit::WorkspaceFiles, files))
}

fn says(kept: &Kept, words: &str) -> bool {
    kept.bytes
        .windows(words.len())
        .any(|window| window == words.as_bytes())
}

/// The limit with its value, its class, and who allows more.
fn named(limit: Limit, limits: &Limits, class: &str) -> String {
    let (name, value) = (limit.name(), value_of(limit, limits));
    let more = match stap_policy::wider(name, limits) {
        Some(wider) => format!("'{}' allows {}; ask the operator", wider.class, wider.value),
        None => "no policy that comes with the server allows more".to_owned(),
    };
    format!("the limit '{name}' is {value} (policy '{class}'; {more})")
}

fn value_of(limit: Limit, limits: &Limits) -> String {
    let named = limits.named(limit.name());
    named.map(|(_, value)| value).unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A size for people: at least three digits of it are right.
pub(super) fn size(bytes: u64) -> String {
    let (unit, shift) = match bytes {
        0..10_240 => return format!("{bytes} bytes"),
        10_240..10_485_760 => ("KiB", 10),
        _ => ("MiB", 20),
    };
    format!("{} {unit}", bytes.div_ceil(1 << shift))
}

/// What programs say in the C locale, and in most others, when the kernel refuses them something,
/// and the limit that is behind it. The more certain ones come first.
const WITNESSES: [(&str, Limit); 10] = [
    ("Too many open files", Limit::OpenFiles),
    ("File size limit exceeded", Limit::File),
    ("File too large", Limit::File),
    ("No space left on device", Limit::Workspace),
    ("std::bad_alloc", Limit::Memory),
    ("virtual memory exhausted", Limit::Memory),
    ("Cannot allocate memory", Limit::Memory),
    ("out of memory", Limit::Memory),
    ("Resource temporarily unavailable", Limit::Processes),
    ("Cannot fork", Limit::Processes),
];
/// The last of so many parts of a workspace.
const NEARLY: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_never_too_small() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (65_537, "65 KiB"),
            (64 << 20, "64 MiB"),
            ((1 << 30) + 1, "1025 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
