//! A queue in which each peer has a line of its own and the lines take turns, so that a peer with a
//! hundred jobs delays another peer's first job by one job.

use std::collections::VecDeque;

use crate::peer::Peer;

/// Things that wait, by peer.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lines: VecDeque<(Peer, VecDeque<T>)>,
    length: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            lines: VecDeque::new(),
            length: 0,
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds to the end of the peer's line; a new line goes to the end of the round.
    pub(super) fn push(&mut self, peer: Peer, item: T) {
        self.length += 1;
        match self.lines.iter_mut().find(|(owner, _)| *owner == peer) {
            Some((_, line)) => line.push_back(item),
            None => self.lines.push_back((peer, VecDeque::from([item]))),
        }
    }

    /// Takes from the line whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(Peer, T)> {
        let (peer, mut line) = self.lines.pop_front()?;
        let item = line.pop_front()?;
        self.length -= 1;
        if !line.is_empty() {
            self.lines.push_back((peer, line));
        }
        Some((peer, item))
    }

    /// Drops what need not wait any more, and names the peer of each.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) -> Vec<Peer> {
        let mut dropped = Vec::new();
        for (peer, line) in &mut self.lines {
            let before = line.len();
            line.retain(&keep);
            dropped.extend(std::iter::repeat_n(*peer, before - line.len()));
        }
        self.lines.retain(|(_, line)| !line.is_empty());
        self.length -= dropped.len();
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([192, 0, 2, last]).into()
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
        let order: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(_, item)| item)
            .collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_dropped_makes_room_and_is_reported() {
        let mut queue = Queue::default();
        for (owner, item) in [(1, 1), (1, 2), (2, 3), (2, 4)] {
            queue.push(peer(owner), item);
        }
        assert_eq!(queue.retain(|item| *item == 2), [peer(1), peer(2), peer(2)]);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop(), Some((peer(1), 2)));
        assert_eq!(queue.pop(), None);
    }
}
