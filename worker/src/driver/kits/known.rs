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
    /// There was, while jobs saw this.
    Shown(TargetIdentity),
    /// make is to run while they see this.
    Refused(TargetIdentity),
    /// It came to nothing while they saw this, which it need not do the next time.
    Failed(TargetIdentity, Instant),
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
    /// After a try that comes to nothing now.
    pub(super) fn failed(identity: TargetIdentity) -> Self {
        Self::Failed(identity, Instant::now())
    }

    /// Whether make is to run, without another look, where jobs see this.
    pub(super) fn has_make_run(&self, identity: TargetIdentity, patience: Duration) -> bool {
        match self {
            Self::Refused(of) => *of == identity,
            Self::Failed(of, since) => *of == identity && since.elapsed() < patience,
            Self::Unknown | Self::Underway | Self::Shown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_and_a_failure_is_tried_again() {
        let [hour, now] = [Duration::from_hours(1), Duration::ZERO];
        let [one, other] = [1, 2].map(|byte| TargetIdentity([byte; 32]));
        let has_make_run = |state: State, patience| state.has_make_run(one, patience);
        assert!(has_make_run(State::Refused(one), now));
        assert!(has_make_run(State::failed(one), hour));
        assert!(!has_make_run(State::failed(one), now));
        for state in [
            State::Refused(other),
            State::failed(other),
            State::Shown(one),
        ] {
            assert!(!has_make_run(state, hour), "{state:?}");
        }
    }

    #[test]
    fn what_was_recorded_lately_is_not_recorded_again_whatever_came_of_it() {
        let hour = Duration::from_hours(1);
        let identity = TargetIdentity([1; 32]);
        assert!(!Known::default().was_recorded_within(hour));
        for state in [State::Unknown, State::Refused(identity)] {
            let known = Known::recorded(state);
            assert!(known.was_recorded_within(hour), "{state:?}");
            assert!(!known.was_recorded_within(Duration::ZERO), "{state:?}");
        }
    }
}
