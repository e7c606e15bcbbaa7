//! When a search has gone on for long enough, as a pure function of what was heard so far.
//!
//! A responder answers within about 0.1 s, but may keep silent when it has just sent the same
//! record to somebody else (RFC 6762, 6), and a packet may be lost. So a search is complete a short
//! while after the *second* question, which follows the first by one second.

use std::collections::BTreeSet;
use std::time::Duration;

/// What a search has heard, with the time since its start.
#[derive(Debug, Default)]
pub(super) struct Progress {
    questions: u32,
    last_news: Duration,
    unresolved: BTreeSet<String>,
    satisfied: bool,
}

impl Progress {
    /// Another question was sent.
    pub(super) fn asked(&mut self, at: Duration) {
        self.questions += 1;
        self.last_news = at;
    }

    /// An instance exists; its details, or its IPv4 address, are being asked for.
    pub(super) fn found(&mut self, instance: String, at: Duration) {
        self.last_news = at;
        if self.unresolved.len() < super::mdns::MAX_INSTANCES {
            self.unresolved.insert(instance);
        }
    }

    /// The details of an instance are known, or it has gone away.
    pub(super) fn settled(&mut self, instance: &str, at: Duration) {
        self.last_news = at;
        self.unresolved.remove(instance);
    }

    /// What was looked for is there.
    pub(super) fn satisfied(&mut self) {
        self.satisfied = true;
    }

    /// When the search ends, if nothing more is heard until then.
    pub(super) fn end(&self) -> Duration {
        let end = if self.satisfied {
            self.last_news + AFTER_A_MATCH
        } else if self.questions < QUESTIONS {
            HARD_LIMIT
        } else if self.unresolved.is_empty() {
            self.last_news + QUIET
        } else {
            self.last_news + FOR_DETAILS
        };
        end.min(HARD_LIMIT)
    }
}

/// The documented limit of a search.
pub(super) const HARD_LIMIT: Duration = Duration::from_secs(10);

/// Questions after which silence means that nobody is left to answer.
const QUESTIONS: u32 = 2;

/// Longer than a responder waits before it answers a shared question (20-120 ms), and some for a
/// busy machine.
const QUIET: Duration = Duration::from_millis(350);

/// Servers answer at the same time; the others of the first volley are worth waiting for.
const AFTER_A_MATCH: Duration = Duration::from_millis(150);

/// The library asks for missing details four times within three seconds.
const FOR_DETAILS: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn silence_after_the_second_question_ends_a_search() {
        let mut progress = Progress::default();
        progress.asked(ms(30));
        assert_eq!(progress.end(), HARD_LIMIT);
        progress.asked(ms(1030));
        assert_eq!(progress.end(), ms(1030) + QUIET);
    }

    #[test]
    fn an_instance_without_details_is_waited_for() {
        let mut progress = Progress::default();
        progress.asked(ms(30));
        progress.found("one".into(), ms(80));
        progress.asked(ms(1030));
        assert_eq!(progress.end(), ms(1030) + FOR_DETAILS);
        progress.settled("one", ms(1200));
        assert_eq!(progress.end(), ms(1200) + QUIET);
    }

    #[test]
    fn a_match_ends_a_search_soon() {
        let mut progress = Progress::default();
        progress.asked(ms(30));
        progress.found("one".into(), ms(60));
        progress.settled("one", ms(60));
        progress.satisfied();
        assert_eq!(progress.end(), ms(60) + AFTER_A_MATCH);
    }

    #[test]
    fn endless_news_do_not_move_the_hard_limit() {
        let mut progress = Progress::default();
        progress.asked(ms(30));
        progress.asked(ms(1030));
        for at in (1100..20_000).step_by(100) {
            progress.found(format!("{at}"), ms(at));
            assert!(progress.end() <= HARD_LIMIT);
        }
        assert!(progress.unresolved.len() <= super::super::mdns::MAX_INSTANCES);
    }
}
