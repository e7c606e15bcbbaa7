//! Whether one job follows the other.
//!
//! Memory that a job has just given back is still there for the next one, in large pieces. After a while it is not:
//! others have had it, or a hypervisor has taken it (`docs/performance.md` has what either costs).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a job ended last.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// A job has ended that used so much of the processors.
    pub fn job_ended(&self, used: Duration) {
        // Less has hardly touched any memory that another could have.
        if used >= SOME {
            *self.last() = Some(Instant::now());
        }
    }

    /// Whether a job that starts now follows another.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.is_quick_at(Instant::now())
    }

    fn is_quick_at(&self, now: Instant) -> bool {
        self.last()
            .is_some_and(|last| now.saturating_duration_since(last) < SOON)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// stap alone takes more, once it has read its tapset.
const SOME: Duration = Duration::from_millis(100);
/// Linux reports free memory to a hypervisor two seconds after it was freed, and a job takes some of them to ask for its own.
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_follows_another_for_a_second() {
        let pace = Pace::default();
        assert!(!pace.is_quick());
        pace.job_ended(SOME / 2);
        assert!(!pace.is_quick(), "nothing to speak of was used");
        pace.job_ended(SOME);
        let last = pace.last().unwrap();
        assert!(pace.is_quick_at(last));
        assert!(pace.is_quick_at(last + SOON / 2));
        assert!(!pace.is_quick_at(last + SOON));
    }
}
