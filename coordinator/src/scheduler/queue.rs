//! A queue in which each peer has a line of its own and the lines take turns.
//!
//! The next job is one of whoever has the fewest running, and a peer that has none running need not wait
//! behind those who have: beside somebody with a thousand jobs, another peer's only job starts as soon
//! as one of those that run has ended. So that newcomers who keep coming cannot starve anybody, a line
//! that was passed often enough is next.

use std::collections::{HashMap, VecDeque};

use crate::peer::Peer;

/// Things that wait, by peer.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lines: VecDeque<Line<T>>,
    running: HashMap<Peer, usize>,
    length: usize,
}

#[derive(Debug)]
struct Line<T> {
    peer: Peer,
    items: VecDeque<T>,
    /// How often another line has gone first since this one's last turn.
    passed: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            running: HashMap::new(),
            length: 0,
        }
    }
}

impl<T> Queue<T> {
    /// How many things wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many peers wait.
    pub(super) fn peers(&self) -> usize {
        self.lines.len()
    }

    /// How many things of one peer wait.
    pub(super) fn waiting(&self, peer: Peer) -> usize {
        let line = self.lines.iter().find(|line| line.peer == peer);
        line.map_or(0, |line| line.items.len())
    }

    /// Adds to the end of the peer's line. A new line goes to the end of the round, but in front of
    /// those whose owners have something running already.
    pub(super) fn push(&mut self, peer: Peer, item: T) {
        self.length += 1;
        if let Some(line) = self.lines.iter_mut().find(|line| line.peer == peer) {
            line.items.push_back(item);
            return;
        }
        let at = match self.running(peer) {
            0 => self.behind_those_without_a_turn(),
            _ => self.lines.len(),
        };
        for passed in self.lines.range_mut(at..) {
            passed.passed += 1;
        }
        let items = VecDeque::from([item]);
        let line = Line {
            peer,
            items,
            passed: 0,
        };
        self.lines.insert(at, line);
    }

    /// Takes from the line whose turn it is; its owner has one more running.
    pub(super) fn pop(&mut self) -> Option<(Peer, T)> {
        let at = self.next_line()?;
        for passed in self.lines.range_mut(..at) {
            passed.passed += 1;
        }
        let mut line = self.lines.remove(at)?;
        let item = line.items.pop_front()?;
        let peer = line.peer;
        self.length -= 1;
        if !line.items.is_empty() {
            line.passed = 0;
            self.lines.push_back(line);
        }
        *self.running.entry(peer).or_default() += 1;
        Some((peer, item))
    }

    /// Says that something of this peer does not run any more.
    pub(super) fn ended(&mut self, peer: Peer) {
        if let Some(running) = self.running.get_mut(&peer) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&peer);
            }
        }
    }

    /// Drops what need not wait any more, and names the peer of each.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) -> Vec<Peer> {
        let mut dropped = Vec::new();
        for line in &mut self.lines {
            let before = line.items.len();
            line.items.retain(&keep);
            dropped.extend(std::iter::repeat_n(line.peer, before - line.items.len()));
        }
        self.lines.retain(|line| !line.items.is_empty());
        self.length -= dropped.len();
        dropped
    }

    fn running(&self, peer: Peer) -> usize {
        self.running.get(&peer).copied().unwrap_or_default()
    }

    /// Behind the last line that must not be passed.
    fn behind_those_without_a_turn(&self) -> usize {
        let stays = |line: &Line<T>| line.passed >= PATIENCE || self.running(line.peer) == 0;
        self.lines.iter().rposition(stays).map_or(0, |at| at + 1)
    }

    fn next_line(&self) -> Option<usize> {
        let overdue = self.lines.iter().position(|line| line.passed >= PATIENCE);
        let fewest = || {
            let lines = self.lines.iter().enumerate();
            lines
                .min_by_key(|(at, line)| (self.running(line.peer), *at))
                .map(|(at, _)| at)
        };
        overdue.or_else(fewest)
    }
}

/// How often a line may be passed between two of its turns.
const PATIENCE: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn run_to_the_end<T>(queue: &mut Queue<T>) -> Option<(Peer, T)> {
        let (peer, item) = queue.pop()?;
        queue.ended(peer);
        Some((peer, item))
    }

    #[test]
    fn peers_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        for (owner, item) in [
            (1, "a1"),
            (1, "a2"),
            (1, "a3"),
            (2, "b1"),
            (3, "c1"),
            (2, "b2"),
        ] {
            queue.push(peer(owner), item);
        }
        let order: Vec<_> = std::iter::from_fn(|| run_to_the_end(&mut queue))
            .map(|(_, item)| item)
            .collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn whoever_has_nothing_running_is_next() {
        let mut queue = Queue::default();
        (0..1000).for_each(|number| queue.push(peer(1), number));
        let running = [queue.pop(), queue.pop()].map(|one| one.unwrap().0);
        queue.push(peer(2), 2000);
        queue.ended(running[0]);
        assert_eq!(queue.pop(), Some((peer(2), 2000)));
        // The same when the last of the others has ended before.
        queue.ended(running[1]);
        queue.ended(peer(2));
        let alone = queue.pop().unwrap();
        queue.push(peer(3), 3000);
        queue.ended(alone.0);
        assert_eq!(queue.pop(), Some((peer(3), 3000)));
    }

    #[test]
    fn whoever_has_fewer_running_catches_up() {
        let mut queue = Queue::default();
        (0..8).for_each(|number| queue.push(peer(1), number));
        for _ in 0..4 {
            queue.pop();
        }
        (10..18).for_each(|number| queue.push(peer(2), number));
        let owners: Vec<_> = (0..4).map(|_| queue.pop().unwrap().0).collect();
        assert_eq!(owners, [peer(2); 4]);
    }

    #[test]
    fn newcomers_without_end_do_not_starve_anybody() {
        let mut queue = Queue::default();
        (0..100).for_each(|number| queue.push(peer(1), number));
        queue.pop();
        let mut waited = 0;
        for newcomer in 2..=250 {
            queue.push(peer(newcomer), 1000);
            let (next, _) = run_to_the_end(&mut queue).unwrap();
            waited = if next == peer(1) { 0 } else { waited + 1 };
            assert!(waited <= PATIENCE, "{waited} went first");
        }
    }

    #[test]
    fn what_is_dropped_makes_room_and_is_reported() {
        let mut queue = Queue::default();
        for (owner, item) in [(1, 1), (1, 2), (2, 3), (2, 4)] {
            queue.push(peer(owner), item);
        }
        assert_eq!(queue.retain(|item| *item == 2), [peer(1), peer(2), peer(2)]);
        assert_eq!((queue.len(), queue.peers()), (1, 1));
        assert_eq!((queue.waiting(peer(1)), queue.waiting(peer(2))), (1, 0));
        assert_eq!(queue.pop(), Some((peer(1), 2)));
        assert_eq!(queue.pop(), None);
    }

    proptest! {
        /// Any mix of jobs that come, start and end: nothing is lost, each peer keeps its order, and
        /// whoever waits with nothing running is passed only by others in the same position, or by
        /// those who have waited too long.
        #[test]
        fn no_peer_waits_while_another_gets_a_second_slot(
            steps in prop::collection::vec((0_u8..3, 1_u8..6), 1..300),
        ) {
            let mut queue = Queue::default();
            let mut running: Vec<Peer> = Vec::new();
            let mut last = HashMap::new();
            let (mut pushed, mut popped) = (0_usize, 0_usize);
            for (step, who) in steps {
                match step {
                    0 => {
                        pushed += 1;
                        queue.push(peer(who), pushed);
                    }
                    1 => {
                        let idle_peer_waits = (1..6)
                            .any(|one| queue.waiting(peer(one)) > 0 && !running.contains(&peer(one)));
                        let overdue = queue.lines.iter().any(|line| line.passed >= PATIENCE);
                        if let Some((owner, number)) = queue.pop() {
                            popped += 1;
                            prop_assert!(last.insert(owner, number) < Some(number));
                            prop_assert!(overdue || !(idle_peer_waits && running.contains(&owner)));
                            running.push(owner);
                        }
                    }
                    _ => {
                        if let Some(owner) = running.pop() {
                            queue.ended(owner);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), pushed - popped);
            }
        }
    }
}
