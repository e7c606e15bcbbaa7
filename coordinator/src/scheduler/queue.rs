//! A queue in which each peer has a line of its own and the lines take turns.
//!
//! The next job is one of whoever has the fewest running, and a peer that has none running need not wait
//! behind those who have: beside somebody with a thousand jobs, another peer's only job starts as soon
//! as one of those that run has ended. So that newcomers who keep coming cannot starve anybody, a line
//! that was passed often enough is next.
//!
//! Among lines of equal right, and within a line, what will probably be short goes before what will be long. Nothing is
//! passed so for ever, either.

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
    items: VecDeque<Item<T>>,
    /// How often another line has gone first since this one's last turn.
    passed: usize,
}

#[derive(Clone, Debug)]
struct Item<T> {
    value: T,
    /// How often one behind it in its own line has gone first.
    passed: usize,
}

impl<T> Line<T> {
    /// The one that is next: passed too often, or the first short one, or the first.
    fn next(&self, is_long: &impl Fn(&T) -> bool) -> usize {
        let first = |is_next: &dyn Fn(&Item<T>) -> bool| self.items.iter().position(is_next);
        let overdue = first(&|item| item.passed >= PATIENCE);
        let short = || first(&|item| !is_long(&item.value));
        overdue.or_else(short).unwrap_or_default()
    }

    fn judged(&self, is_long: &impl Fn(&T) -> bool) -> Line<(&T, bool)> {
        let items = self.items.iter().map(|item| Item {
            value: (&item.value, is_long(&item.value)),
            passed: item.passed,
        });
        Line {
            peer: self.peer,
            items: items.collect(),
            passed: self.passed,
        }
    }

    fn is_long(&self, is_long: &impl Fn(&T) -> bool) -> bool {
        let next = self.items.get(self.next(is_long));
        next.is_some_and(|item| is_long(&item.value))
    }
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

    /// Everything that waits, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let items = self.lines.iter().flat_map(|line| &line.items);
        items.map(|item| &item.value)
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

    /// The first things that wait, in the order in which they will be taken if nothing comes and nothing ends, and
    /// behind them all others.
    pub(super) fn in_order(&self, is_long: impl Fn(&T) -> bool) -> Vec<&T> {
        let mut rest = self.judged(is_long);
        let foreseen = std::iter::from_fn(|| rest.pop(|(_, is_long)| *is_long));
        let foreseen = foreseen.take(FORESEEN).map(|(_, (item, _))| item);
        let mut order: Vec<&T> = foreseen.collect();
        let others = rest.lines.iter().flat_map(|line| &line.items);
        order.extend(others.map(|item| item.value.0));
        order
    }

    /// The same queue, in which each thing is judged once.
    fn judged(&self, is_long: impl Fn(&T) -> bool) -> Queue<(&T, bool)> {
        Queue {
            lines: self
                .lines
                .iter()
                .map(|line| line.judged(&is_long))
                .collect(),
            running: self.running.clone(),
            length: self.length,
        }
    }

    /// Adds to the end of the peer's line. A new line goes to the end of the round, but in front of
    /// those whose owners have something running already.
    pub(super) fn push(&mut self, peer: Peer, value: T) {
        let item = Item { value, passed: 0 };
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
    pub(super) fn pop(&mut self, is_long: impl Fn(&T) -> bool) -> Option<(Peer, T)> {
        let at = self.next_line(&is_long)?;
        for passed in self.lines.range_mut(..at) {
            passed.passed += 1;
        }
        let mut line = self.lines.remove(at)?;
        let next = line.next(&is_long);
        for passed in line.items.range_mut(..next) {
            passed.passed += 1;
        }
        let item = line.items.remove(next)?;
        let peer = line.peer;
        self.length -= 1;
        if !line.items.is_empty() {
            line.passed = 0;
            self.lines.push_back(line);
        }
        *self.running.entry(peer).or_default() += 1;
        Some((peer, item.value))
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
            line.items.retain(|item| keep(&item.value));
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

    fn next_line(&self, is_long: &impl Fn(&T) -> bool) -> Option<usize> {
        let overdue = self.lines.iter().position(|line| line.passed >= PATIENCE);
        let fewest = || {
            let lines = self.lines.iter().enumerate();
            lines
                .min_by_key(|(at, line)| (self.running(line.peer), line.is_long(is_long), *at))
                .map(|(at, _)| at)
        };
        overdue.or_else(fewest)
    }
}

/// How often a line may be passed between two of its turns, and something by what is behind it in its line.
const PATIENCE: usize = 16;
/// Places that are looked up. Whoever is further behind has other worries than the exact one.
const FORESEEN: usize = 256;

#[cfg(test)]
mod tests;
