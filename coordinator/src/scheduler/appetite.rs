//! Whether there is memory for one more job.

use crate::headroom::Headroom;

/// What jobs take of this host's memory.
#[derive(Debug)]
pub(super) struct Appetite {
    headroom: Headroom,
    /// How many bytes a job takes: as many as the largest did, forgotten slowly.
    bytes: u64,
    /// Whether jobs wait for memory, so that it is said once.
    pub(super) is_short: bool,
}

impl Appetite {
    /// Of jobs of which none has been seen.
    pub(super) fn beside(headroom: Headroom) -> Self {
        Self {
            headroom,
            bytes: FIRST,
            is_short: false,
        }
    }

    /// Whether one more job has its memory even if those that run take all of theirs only now. Where none runs, and
    /// nothing is recorded, one always may: its own limit bounds it.
    pub(super) fn has_room(&mut self, running: usize) -> bool {
        let jobs = running as u64;
        let needed = self.bytes.saturating_mul(jobs + 1);
        let available = self.headroom.available().filter(|_| jobs > 0);
        let is_short = available.is_some_and(|available| available < needed);
        if is_short && !self.is_short {
            tracing::warn!(
                "jobs wait for memory: {} MiB are available, and {} jobs take up to {} MiB each; free some, or lower --max-threads",
                available.unwrap_or_default() >> 20,
                jobs + 1,
                self.bytes >> 20
            );
        }
        self.is_short = is_short;
        !is_short
    }

    /// Takes in what a job took at its peak. Where no host can tell, the first guess stays.
    pub(super) fn learn(&mut self, peak: Option<u64>) {
        let peak = peak.unwrap_or(self.bytes);
        self.bytes = peak.max(self.bytes / 8 * 7 + peak / 8);
    }
}

/// What a compile of a large script takes at its peak; most take less.
pub(super) const FIRST: u64 = 340 << 20;
