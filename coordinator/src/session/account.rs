//! What a request costs, and what is told of it.

use stap_protocol::job::{Outcome, Report};
use stap_protocol::request::Request;

use crate::memory::{OVERHEAD, bytes_of};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::results::Origin;
use crate::scheduler::Refusal as NoRoom;

pub(super) fn no_room(refusal: NoRoom, peer: Peer) -> Refusal {
    match refusal {
        NoRoom::QueueFull { retry } => Refusal::Busy {
            why: "its queue is full".to_owned(),
            retry,
        },
        NoRoom::PeerBusy { jobs, retry } => Refusal::Busy {
            why: format!("it works on {jobs} requests of {peer} already"),
            retry,
        },
        NoRoom::ShareUsed { waiting, retry } => Refusal::Busy {
            why: format!(
                "{waiting} requests of {peer} wait already, and the rest of its queue is for others"
            ),
            retry,
        },
        NoRoom::CopiesFull { retry } => Refusal::NoRoomForResult { retry },
        NoRoom::Stopped => Refusal::Stopping,
    }
}

/// What a request keeps in memory.
pub(super) fn size(request: &Request) -> u64 {
    let files = request.files.iter().map(|file| file.content.len());
    let arguments = request.arguments.iter().map(Vec::len);
    bytes_of(files.chain(arguments)) + OVERHEAD
}

/// What a client is told in full is only begun in the log.
pub(super) fn shortened(reason: &str) -> &str {
    let end = reason.floor_char_boundary(LONGEST_REASON);
    reason.get(..end).unwrap_or_default()
}

pub(super) fn note_end(report: &Report, origin: &Origin) {
    let usage = &report.usage;
    let (wall, cpu) = (usage.wall.as_secs_f32(), usage.cpu.as_secs_f32());
    let peak = match usage.peak_memory {
        Some(bytes) => format!("{} MiB", bytes >> 20),
        None => "unknown memory".to_owned(),
    };
    let (outcome, files) = (in_words(&report.outcome), report.files.len());
    let what = match origin {
        Origin::Hit => "a kept result: once",
        Origin::Joined => "joined the job of another request:",
        Origin::Miss | Origin::Off(_) => "job ended:",
    };
    let why = match origin {
        Origin::Off(reason) => format!(" (not kept: {reason})"),
        _ => String::new(),
    };
    tracing::info!(
        store = origin.word(),
        "{what} {outcome}, {wall:.2} s, {cpu:.2} s of CPU, {peak}, {files} results{why}"
    );
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exit status {code}"),
        Outcome::Signalled { signal } => format!("signal {signal}"),
        Outcome::LimitReached {
            limit,
            value,
            used: Some(used),
            ..
        } => format!("limit '{limit}' of {value} reached ({used})"),
        Outcome::LimitReached { limit, value, .. } => format!("limit '{limit}' of {value} reached"),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::WorkerFault { reason } => format!("fault of the worker ({reason})"),
    }
}

/// Bytes of a reason in the log.
const LONGEST_REASON: usize = 512;
