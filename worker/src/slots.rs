//! Turns in which jobs run, each with an identity of its own.

use std::collections::BTreeSet;

/// One of the jobs that may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// The slots that nobody uses.
#[derive(Debug)]
pub struct Slots {
    free: BTreeSet<Slot>,
    /// Free or not, those that are not lost.
    usable: u32,
}

impl Slots {
    /// As many as were configured, at least one and at most [`MAX_SLOTS`].
    #[must_use]
    pub fn of(count: usize) -> Self {
        let count = u32::try_from(count)
            .unwrap_or(MAX_SLOTS)
            .clamp(1, MAX_SLOTS);
        Self {
            free: (0..count).map(Slot).collect(),
            usable: count,
        }
    }

    /// Takes the lowest free slot.
    pub fn take(&mut self) -> Option<Slot> {
        self.free.pop_first()
    }

    /// Gives a slot back; the next job may have its uid, so nothing of the last one may be left.
    pub fn give_back(&mut self, slot: Slot) {
        self.free.insert(slot);
    }

    /// Keeps a slot from being used again, because something of its last job may be left, and
    /// returns how many there still are.
    pub fn lose(&mut self, slot: Slot) -> u32 {
        self.free.remove(&slot);
        self.usable = self.usable.saturating_sub(1);
        self.usable
    }
}

/// More jobs at once than any one host runs; each has a uid, counted from the policy's base.
pub const MAX_SLOTS: u32 = 1024;
