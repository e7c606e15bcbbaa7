//! How long a job will probably take, as far as that is known before it runs.
//!
//! What makes jobs differ most is not their script: the first that compiles for a target has its worker find out about
//! the kernel, which takes a quarter of a minute, and whoever compiles for the same one waits for that in his slot.

use std::collections::HashSet;
use std::time::Duration;

use stap_protocol::job::{Job, Target, Way};
use stap_protocol::options;
use stap_protocol::target::TargetName;

/// What has to be there before a job can be short: a target, and whether it is asked for guru mode.
pub(super) type Need = (TargetName, bool);

/// What is known of how long jobs take.
#[derive(Debug)]
pub struct Experience {
    /// What jobs need not find out any more.
    warm: HashSet<Need>,
    /// Moving averages.
    short: Duration,
    long: Duration,
}

impl Default for Experience {
    fn default() -> Self {
        Self {
            warm: HashSet::new(),
            short: FIRST_SHORT,
            long: FIRST_LONG,
        }
    }
}

impl Experience {
    /// With what the worker has found to be there already.
    #[must_use]
    pub fn with(targets: &[Target]) -> Self {
        let known = targets.iter().flat_map(|target| {
            let recorded = target.pass_4.iter();
            let recorded = recorded.filter(|pass| pass.way == Way::Replayed);
            recorded.map(|pass| (target.name.clone(), pass.flags == "guru"))
        });
        Self {
            warm: known.collect(),
            ..Self::default()
        }
    }

    /// What a job needs; `None` when it compiles nothing, or cannot be understood and so ends at once.
    pub(super) fn need(job: &Job) -> Option<Need> {
        let line = options::parse(&job.arguments).ok()?;
        let needs = line.reaches_pass_4();
        needs.then(|| (job.target.clone(), line.has_short('g')))
    }

    /// Whether a job with this need has to find things out first, or wait for somebody who does.
    pub(super) fn is_long(&self, need: Option<&Need>) -> bool {
        need.is_some_and(|need| !self.warm.contains(need))
    }

    /// How long a job takes.
    pub(super) fn typical(&self, is_long: bool) -> Duration {
        if is_long { self.long } else { self.short }
    }

    /// Takes in how long a job took that was expected so when it began.
    pub(super) fn learn(&mut self, need: Option<Need>, was_long: bool, took: Duration) {
        let average = if was_long {
            &mut self.long
        } else {
            &mut self.short
        };
        *average = (*average * 7 + took) / 8;
        self.warm.extend(need);
    }
}

/// `None` of nothing.
pub(super) fn average(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (mut sum, mut count) = (Duration::ZERO, 0_u32);
    for time in times {
        sum = sum.saturating_add(time);
        count = count.saturating_add(1);
    }
    sum.checked_div(count)
}

/// How long a compile takes before one was seen.
pub(super) const FIRST_SHORT: Duration = Duration::from_secs(4);
/// The same when its target is not known.
const FIRST_LONG: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn job(arguments: &[&str]) -> Job {
        let arguments = arguments.iter().map(|word| word.as_bytes().to_vec());
        Job {
            arguments: arguments.collect(),
            ..super::super::tests::job("1")
        }
    }

    #[test]
    fn the_first_compile_for_a_target_is_long_and_listings_never_are() {
        let mut experience = Experience::default();
        let need = Experience::need(&job(&["-p4", "-ex"]));
        let guru = Experience::need(&job(&["-g", "-p4", "-ex"]));
        for never in [&["-p2", "-ex"], &["-L", "begin"]] {
            assert_eq!(Experience::need(&job(never)), None);
        }
        assert!(!experience.is_long(None));
        assert!(experience.is_long(need.as_ref()));
        experience.learn(need.clone(), true, FIRST_LONG * 9);
        assert!(!experience.is_long(need.as_ref()));
        assert!(experience.is_long(guru.as_ref()), "it is another one");
        assert_eq!(experience.typical(true), FIRST_LONG * 2);
        assert_eq!(experience.typical(false), FIRST_SHORT);
    }
}
