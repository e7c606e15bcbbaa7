//! The reply to a request for several targets: one reply for each, in one package.
//!
//! The package is a complete reply with a directory `targets` more, which no stock server sends and
//! none of their clients is ever sent. In it lies one directory for each target, called by its number,
//! and each of them is a complete reply again, with the name of its target (`sysinfo`) and how long it
//! took (`took`, in milliseconds).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::decode::{Members, file, unpacked};
use super::{InvalidReply, Parts, Reply, ReplyError, ReplyLimits, encode};
use crate::archive::{Entry, Kind};
use crate::path::RelativePath;
use crate::request::{MAX_TARGETS, SysInfo};
use crate::target::TargetName;

/// The directory with a reply for each target.
pub(super) const TARGETS: &str = "targets";

/// The most bytes of the replies for all targets together: what clients take, with room to spare.
pub const MAX_SEVERAL_BYTES: u64 = 96 << 20;

/// What became of a request for several targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies {
    /// What concerns all of them: status 0 if each has status 0, or why the request was refused.
    pub(super) whole: Reply,
    /// One for each target.
    pub(super) each: Vec<OfTarget>,
}

/// What became of one of several targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfTarget {
    /// The target.
    pub target: TargetName,
    /// From its turn to its end, waiting included.
    pub took: Option<Duration>,
    /// As it would be if the request had been for this target alone.
    pub reply: Reply,
}

/// What a server answers to a request for several targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does not know of such requests, or refused before it looked into this one.
    One(Reply),
    /// It does.
    Several(Replies),
}

impl Replies {
    /// Checks that there is one reply for each target, and that they are not too many or too large.
    pub fn new(each: Vec<OfTarget>) -> Result<Self, InvalidReply> {
        let is_bad = |one: &OfTarget| one.reply.rc != 0;
        let whole = Parts {
            rc: i32::from(each.is_empty() || each.iter().any(is_bad)),
            ..Parts::default()
        };
        Self::checked(Reply::new(whole)?, each)
    }

    /// The answer to a request that is refused for all targets alike.
    #[must_use]
    pub fn refused(refusal: Reply) -> Self {
        Self {
            whole: refusal,
            each: Vec::new(),
        }
    }

    /// Reads the answer to a request for several targets, from a server that may not know of them.
    pub fn decode(bytes: &[u8], limits: &ReplyLimits) -> Result<Answer, ReplyError> {
        decode(bytes, limits)
    }

    /// Writes a reply package.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode::encode_several(self)
    }

    /// What concerns all targets.
    #[must_use]
    pub fn whole(&self) -> &Reply {
        &self.whole
    }

    /// One for each target, in the server's order.
    #[must_use]
    pub fn each(&self) -> &[OfTarget] {
        &self.each
    }

    fn checked(whole: Reply, each: Vec<OfTarget>) -> Result<Self, InvalidReply> {
        if each.len() > MAX_TARGETS {
            return Err(InvalidReply::TooManyTargets(each.len()));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = each.iter().find(|one| !names.insert(&one.target)) {
            return Err(InvalidReply::SameTarget(twice.target.clone()));
        }
        match each.iter().map(|one| one.reply.bytes()).sum() {
            total if total > MAX_SEVERAL_BYTES => Err(InvalidReply::TooLarge(total)),
            _ => Ok(Self { whole, each }),
        }
    }
}

/// What is known of one target so far.
#[derive(Debug, Default)]
struct Part {
    sysinfo: Option<Vec<u8>>,
    took: Option<Vec<u8>>,
    members: Members,
}

fn decode(bytes: &[u8], limits: &ReplyLimits) -> Result<Answer, ReplyError> {
    let mut top = Members::default();
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    let mut has_parts = false;
    for entry in unpacked(bytes, limits)? {
        if entry.path.components().next() != Some(TARGETS.as_bytes()) {
            top.take(entry)?;
            continue;
        }
        has_parts = true;
        let number = number(&entry)?;
        match (number, inside(&entry)) {
            (None, _) => {}
            (Some(_), None) if entry.kind == Kind::File => {
                return Err(ReplyError::Unexpected(entry.path.to_string()));
            }
            (Some(number), None) => drop(parts.entry(number).or_default()),
            (Some(number), Some(path)) => {
                let path = path.map_err(ReplyError::Name)?;
                parts.entry(number).or_default().take(entry, path)?;
            }
        }
    }
    let whole = Reply::new(top.into_parts()?)?;
    if !has_parts {
        return Ok(Answer::One(whole));
    }
    let each: Result<_, _> = parts.into_iter().map(of_target).collect();
    Ok(Answer::Several(Replies::checked(whole, each?)?))
}

/// The number of the target that a member of the directory belongs to; the directory itself has none.
fn number(entry: &Entry) -> Result<Option<usize>, ReplyError> {
    let misplaced = || ReplyError::Unexpected(entry.path.to_string());
    let Some(name) = entry.path.components().nth(1) else {
        return match entry.kind {
            Kind::Directory => Ok(None),
            Kind::File => Err(ReplyError::NotAFile(entry.path.to_string())),
        };
    };
    let digits = std::str::from_utf8(name).ok();
    let digits = digits.filter(|text| !text.starts_with(['0', '+']));
    let number = digits.and_then(|text| text.parse().ok());
    let number = number.filter(|number| (1..=MAX_TARGETS).contains(number));
    number.map(Some).ok_or_else(misplaced)
}

/// The path of a member as its own reply would have it; `None` for the directory of its target.
fn inside(entry: &Entry) -> Option<Result<RelativePath, crate::path::PathError>> {
    let components: Vec<_> = entry.path.components().skip(2).collect();
    (!components.is_empty()).then(|| RelativePath::new(components.join(&b'/')))
}

impl Part {
    fn take(&mut self, entry: Entry, path: RelativePath) -> Result<(), ReplyError> {
        match path.as_bytes() {
            b"sysinfo" => self.sysinfo = Some(file(entry)?),
            b"took" => self.took = Some(file(entry)?),
            _ => self.members.take(Entry { path, ..entry })?,
        }
        Ok(())
    }
}

fn of_target((number, part): (usize, Part)) -> Result<OfTarget, ReplyError> {
    let sysinfo = part.sysinfo.and_then(|line| SysInfo::parse(&line).ok());
    let target = sysinfo.and_then(|SysInfo { release, arch }| {
        let arch = arch?;
        Some(TargetName { release, arch })
    });
    let took = part.took.as_deref().and_then(milliseconds);
    Ok(OfTarget {
        target: target.ok_or_else(|| ReplyError::NoTarget(number.to_string()))?,
        took: took.map(Duration::from_millis),
        reply: Reply::new(part.members.into_parts()?)?,
    })
}

/// Anything else than a number of a few digits is nothing.
fn milliseconds(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(bytes).ok()?;
    text.parse()
        .ok()
        .filter(|_| digits && bytes.len() <= MAX_TOOK)
}

/// Digits of a time: some years.
const MAX_TOOK: usize = 12;
