//! Which side of a database has to follow the other: our certificate files, or the NSS store.
//!
//! A certificate on one side only was either added there or removed on the other. The record tells
//! which: it names what was on both sides when they were last in step. Where that cannot be told for
//! certain, as after a crash, trust is withdrawn: it can be given again, but a revocation that is
//! undone is not noticed. Nothing here reads or writes.

use std::collections::BTreeSet;

use crate::certificate::Fingerprint;

/// Certificates, by their fingerprints.
pub(super) type Set = BTreeSet<Fingerprint>;

/// What was known when the two sides were last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The digest of the store then.
    pub(super) store: Fingerprint,
    /// What was on both sides.
    pub(super) both: Set,
    /// What was about to be added to the store.
    pub(super) push: Set,
    /// What was about to be added to our files.
    pub(super) pull: Set,
}

/// The two sides as they are.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    /// What our files trust.
    pub(super) ours: Set,
    /// What the store trusts.
    pub(super) theirs: Set,
    /// What the store says must never be trusted.
    pub(super) distrusted: Set,
    /// The digest of the store.
    pub(super) store: Fingerprint,
    /// What the user has just asked to trust, whatever the store says.
    pub(super) wanted: Option<Fingerprint>,
}

/// What has to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// On both sides already.
    pub(super) keep: Set,
    /// To be added to our files.
    pub(super) pull: Set,
    /// To be added to the store.
    pub(super) push: Set,
    /// To be removed from our files: revoked in the store.
    pub(super) drop_ours: Set,
    /// To be removed from the store: revoked in our files.
    pub(super) drop_theirs: Set,
}

impl Plan {
    /// Decides for every certificate.
    pub(super) fn of(sides: &Sides, record: Option<&Record>) -> Self {
        let mut plan = Self::default();
        for one in sides.ours.union(&sides.theirs) {
            let decided = match (sides.ours.contains(one), sides.theirs.contains(one)) {
                (true, true) => &mut plan.keep,
                (true, false) => {
                    if sides.wanted != Some(*one) && is_revoked_there(sides, record, one) {
                        &mut plan.drop_ours
                    } else {
                        &mut plan.push
                    }
                }
                (false, _) => {
                    let was_ours =
                        |record: &Record| record.both.contains(one) || record.push.contains(one);
                    if record.is_some_and(was_ours) {
                        &mut plan.drop_theirs
                    } else {
                        &mut plan.pull
                    }
                }
            };
            decided.insert(*one);
        }
        plan
    }

    /// What a client may trust now, whatever could be written.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &Fingerprint> {
        self.keep.iter().chain(&self.pull).chain(&self.push)
    }

    /// Tells whether our own files have to change.
    pub(super) fn changes_ours(&self) -> bool {
        !self.pull.is_empty() || !self.drop_ours.is_empty()
    }

    /// Tells whether the store has to change.
    pub(super) fn changes_theirs(&self) -> bool {
        !self.push.is_empty() || !self.drop_theirs.is_empty()
    }
}

fn is_revoked_there(sides: &Sides, record: Option<&Record>, one: &Fingerprint) -> bool {
    if sides.distrusted.contains(one) {
        return true;
    }
    record.is_some_and(|record| {
        // An addition to the store that was announced has not happened while the store is as it was.
        // Once it has changed, it may have happened and been taken back.
        let may_have_been_there = record.push.contains(one) && sides.store != record.store;
        record.both.contains(one) || record.pull.contains(one) || may_have_been_there
    })
}

#[cfg(test)]
mod tests;
