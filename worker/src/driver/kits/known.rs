//! What a worker remembers of each kit, so that it reads what is kept once, and records seldom.

use std::time::{Duration, Instant};

use stap_protocol::target::TargetIdentity;

/// What is known of a target with one set of flags.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) state: State,
    /// When a recording last ended, whatever came of it.
    recorded: Option<Instant>,
}

/// Whether there is a kit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum State {
    /// That has to be looked up.
    #[default]
    Unknown,
    /// Somebody records it just now.
    Underway,
    /// What came of the last try.
    Tried(Last),
}

/// The last try to get a kit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// What jobs saw.
    pub(super) identity: TargetIdentity,
    /// Whether make is to run while they see that.
    pub(super) is_refused: bool,
}

impl Known {
    /// After a recording that ends now.
    pub(super) fn recorded(state: State) -> Self {
        Self {
            state,
            recorded: Some(Instant::now()),
        }
    }

    /// Whether a recording has ended in so short a time.
    pub(super) fn was_recorded_within(&self, time: Duration) -> bool {
        self.recorded.is_some_and(|at| at.elapsed() < time)
    }
}

impl State {
    /// After a try.
    pub(super) fn tried(identity: TargetIdentity, is_refused: bool) -> Self {
        Self::Tried(Last {
            identity,
            is_refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_lately_is_not_recorded_again_whatever_came_of_it() {
        let hour = Duration::from_hours(1);
        let identity = TargetIdentity([1; 32]);
        assert!(!Known::default().was_recorded_within(hour));
        for state in [State::Unknown, State::tried(identity, true)] {
            let known = Known::recorded(state);
            assert!(known.was_recorded_within(hour), "{state:?}");
            assert!(!known.was_recorded_within(Duration::ZERO), "{state:?}");
        }
    }
}
