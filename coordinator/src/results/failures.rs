//! Compile errors that are remembered for a moment, if the policy wants it.
//!
//! They are kept in memory, and go by a clock that nobody can set. Only stap's own verdict on a script
//! is one: a limit, a signal or a fault of ours is never given out again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stap_protocol::job::{Outcome, Report};
use stap_store::Key;
use tokio::time::Instant;

/// What failed lately.
#[derive(Debug)]
pub(super) struct Failures {
    lasting: Duration,
    remembered: Mutex<HashMap<Key, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    until: Instant,
    report: Report,
}

impl Failures {
    /// Remembers each for so long; not at all for no time.
    pub(super) fn lasting(lasting: Duration) -> Self {
        Self {
            lasting,
            remembered: Mutex::default(),
        }
    }

    pub(super) fn remember(&self, key: Key, report: &Report, now: Instant) {
        let bytes = report.stdout.len() + report.stderr.len();
        if self.lasting.is_zero() || !is_verdict(report) || bytes > LONGEST {
            return;
        }
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, failure| failure.until > now);
        if remembered.len() < MOST {
            let until = now + self.lasting;
            let report = report.clone();
            remembered.insert(key, Remembered { until, report });
        }
    }

    pub(super) fn recall(&self, key: &Key, now: Instant) -> Option<Report> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let failure = remembered.get(key)?;
        (failure.until > now).then(|| failure.report.clone())
    }
}

fn is_verdict(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Exited { code } if code != 0)
        && report.is_whole
        && report.files.is_empty()
}

/// Failures at a time, and bytes of what one says: 16 MiB together.
const MOST: usize = 256;
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use stap_protocol::job::{Job, Usage};
    use stap_protocol::target::{TargetIdentity, TargetName};
    use stap_store::Tenant;

    use super::*;

    fn key(script: &str) -> Key {
        let job = Job {
            request: String::new(),
            target: TargetName {
                release: "6.1.0".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
            },
            arguments: vec![script.as_bytes().to_vec()],
            files: Vec::new(),
            locale: Vec::new(),
            to_be_signed: false,
        };
        Key::of(&job, &TargetIdentity([0; 32]), Tenant::Everybody)
    }

    fn failed(code: i32) -> Report {
        Report {
            outcome: Outcome::Exited { code },
            stdout: Vec::new(),
            stderr: b"parse error".to_vec(),
            files: Vec::new(),
            private_directories: Vec::new(),
            usage: Usage::default(),
            is_whole: true,
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_error_is_remembered_for_as_long_as_the_policy_says() {
        let (failures, now) = (Failures::lasting(MINUTE), Instant::now());
        failures.remember(key("a"), &failed(1), now);
        let soon = now + MINUTE - Duration::from_secs(1);
        assert_eq!(failures.recall(&key("a"), soon), Some(failed(1)));
        assert_eq!(failures.recall(&key("b"), soon), None);
        assert_eq!(failures.recall(&key("a"), now + MINUTE), None);
        let forgetful = Failures::lasting(Duration::ZERO);
        forgetful.remember(key("a"), &failed(1), now);
        assert_eq!(forgetful.recall(&key("a"), now), None);
    }

    #[test]
    fn what_is_no_verdict_on_a_script_is_not_remembered() {
        let (failures, now) = (Failures::lasting(MINUTE), Instant::now());
        let cut = Report {
            is_whole: false,
            ..failed(1)
        };
        let killed = Report {
            outcome: Outcome::Signalled { signal: 11 },
            ..failed(1)
        };
        for report in [failed(0), cut, killed] {
            failures.remember(key("a"), &report, now);
            assert_eq!(failures.recall(&key("a"), now), None);
        }
    }

    #[test]
    fn nobody_can_fill_the_memory_with_errors() {
        let (failures, now) = (Failures::lasting(MINUTE), Instant::now());
        for number in 0..2 * MOST {
            failures.remember(key(&number.to_string()), &failed(1), now);
        }
        assert_eq!(failures.remembered.lock().unwrap().len(), MOST);
        failures.remember(key("late"), &failed(1), now + MINUTE);
        assert_eq!(failures.remembered.lock().unwrap().len(), 1);
    }
}
