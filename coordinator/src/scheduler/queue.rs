//! A queue in which each peer has a line of its own and the lines take turns.
//!
//! The next job is one of whoever has the fewest running, and a peer that has none running need not wait
//! behind those who have: beside somebody with a thousand jobs, another peer's only job starts as soon
//! as one of those that run has ended. So that newcomers who keep coming cannot starve anybody, a line
//! that was passed often enough is next.

use std::collections::{HashMap, VecDeque};

use crate::peer::Peer;

/// Things that wait, by peer.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    lines: VecDeque<Line<T>>,
    running: HashMap<Peer, usize>,
    length: usize,
}

#[derive(Clone, Debug)]
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

    /// Everything that waits, in the order in which it would be taken if nothing came and nothing ended.
    pub(super) fn in_order(&self) -> Vec<&T> {
        let mut order: Vec<_> = self
            .lines
            .iter()
            .enumerate()
            .flat_map(|(at, line)| {
                let running = self.running(line.peer);
                let items = line.items.iter().enumerate();
                items.map(move |(number, item)| {
                    let is_overdue = number == 0 && line.passed >= PATIENCE;
                    // By then as many more of this peer run, and lines that had a turn are behind those that had none.
                    let turn = (!is_overdue, running + number, number, at);
                    (turn, item)
                })
            })
            .collect();
        order.sort_unstable_by_key(|(turn, _)| *turn);
        order.into_iter().map(|(_, item)| item).collect()
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
mod tests;
