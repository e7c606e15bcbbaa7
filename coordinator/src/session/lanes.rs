//! Which of a request's targets has its turn, where there may be room for fewer jobs than there are slots.

use std::collections::VecDeque;

/// The targets of one request, by their numbers.
#[derive(Debug)]
pub(super) struct Lanes {
    waiting: VecDeque<usize>,
    /// How many may be under way.
    width: usize,
    under_way: usize,
    ended: usize,
}

/// A target that has its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Which it is.
    pub(super) at: usize,
    /// How many had ended when it began.
    ended_before: usize,
}

impl Lanes {
    /// So many targets, and so many at once.
    pub(super) fn new(targets: usize, width: usize) -> Self {
        Self {
            waiting: (0..targets).collect(),
            width,
            under_way: 0,
            ended: 0,
        }
    }

    /// Begins a turn, if there is a target for it and a lane.
    pub(super) fn begin(&mut self) -> Option<Turn> {
        if self.under_way >= self.width {
            return None;
        }
        let at = self.waiting.pop_front()?;
        self.under_way += 1;
        Some(Turn {
            at,
            ended_before: self.ended,
        })
    }

    /// Ends a turn.
    pub(super) fn end(&mut self, _turn: Turn) {
        self.under_way -= 1;
        self.ended += 1;
    }

    /// Hears that there was no room for a job, and gives the target another turn if it was the request itself that
    /// took the room: it has fewer lanes from now on. Who hears `false` ends the turn.
    pub(super) fn has_another(&mut self, turn: Turn) -> bool {
        let others = self.under_way - 1;
        // One that has ended since may have had the room then, and has given it back.
        if others == 0 && self.ended == turn.ended_before {
            return false;
        }
        self.under_way = others;
        self.width = others.max(1);
        self.waiting.push_front(turn.at);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_that_is_heard_behind_the_end_of_what_had_the_room_is_none() {
        let mut lanes = Lanes::new(2, 2);
        let [first, second] = [(); 2].map(|()| lanes.begin().unwrap());
        assert!(lanes.begin().is_none());
        lanes.end(first);
        assert!(lanes.has_another(second));
        let again = lanes.begin().unwrap();
        assert_eq!(again.at, 1);
        assert!(!lanes.has_another(again), "now it is somebody else");
    }

    #[test]
    fn what_there_was_no_room_for_waits_for_one_that_is_under_way() {
        let mut lanes = Lanes::new(3, 3);
        let [first, second, third] = [(); 3].map(|()| lanes.begin().unwrap());
        assert!(lanes.has_another(third) && lanes.has_another(second));
        assert!(lanes.begin().is_none());
        lanes.end(first);
        assert_eq!(lanes.begin().unwrap().at, 1);
        assert!(lanes.begin().is_none(), "one at a time from now on");
    }

    /// What a server knows of a turn before the request hears of it.
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Sent,
        Runs,
        Ended,
        Refused,
    }

    proptest! {
        #[test]
        fn with_room_for_one_job_no_target_is_refused_in_the_end(
            targets in 1_usize..8,
            width in 1_usize..8,
            room in 1_usize..4,
            order in prop::collection::vec(any::<prop::sample::Index>(), 400),
        ) {
            let mut lanes = Lanes::new(targets, width);
            let mut turns: Vec<(Turn, State)> = Vec::new();
            let mut done = 0;
            for index in order {
                while let Some(turn) = lanes.begin() {
                    turns.push((turn, State::Sent));
                }
                prop_assert!(turns.len() <= width);
                if turns.is_empty() {
                    break;
                }
                let one = index.index(turns.len());
                let running = turns.iter().filter(|(_, state)| *state == State::Runs).count();
                match turns[one].1 {
                    State::Sent if running < room => turns[one].1 = State::Runs,
                    State::Sent => turns[one].1 = State::Refused,
                    State::Runs => turns[one].1 = State::Ended,
                    State::Ended => {
                        lanes.end(turns.swap_remove(one).0);
                        done += 1;
                    }
                    State::Refused => prop_assert!(lanes.has_another(turns.swap_remove(one).0)),
                }
            }
            prop_assert_eq!(done, targets);
        }
    }
}
