//! Room for what strangers make us keep in memory.
//!
//! A package while it arrives, a request while it waits or runs, a reply until it is taken: all of it is
//! charged to its peer. The rule has one number: a peer may hold a quarter of what is still free. So one
//! peer alone gets a fifth of the room, and a dozen that take all they can get still leave a fourteenth.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stap_protocol::job::Report;

use crate::peer::Peer;

/// All the room there is.
#[derive(Clone, Debug)]
pub struct Memory {
    ledger: Arc<Mutex<Ledger>>,
}

/// What one connection holds; dropping it gives all of it back.
#[derive(Debug)]
pub struct Holding {
    ledger: Arc<Mutex<Ledger>>,
    peer: Peer,
    bytes: u64,
}

/// The peer holds all that it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is kept for {peer} takes up its share of this server's memory")]
pub struct Full {
    peer: Peer,
}

#[derive(Debug)]
struct Ledger {
    free: u64,
    peers: HashMap<Peer, u64>,
}

impl Memory {
    /// Makes room for `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let ledger = Ledger {
            free: total,
            peers: HashMap::new(),
        };
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
        }
    }

    /// Opens an account for a connection of `peer`; it holds nothing yet.
    #[must_use]
    pub fn hold(&self, peer: Peer) -> Holding {
        Holding {
            ledger: Arc::clone(&self.ledger),
            peer,
            bytes: 0,
        }
    }
}

impl Holding {
    /// Holds `more` bytes than before.
    ///
    /// # Errors
    /// When that is more than the peer may hold; then it holds what it held.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let more = more as u64;
        self.set(self.bytes.saturating_add(more))
    }

    /// Holds exactly `bytes`.
    ///
    /// # Errors
    /// When that is more than the peer may hold; then it holds what it held.
    pub fn set(&mut self, bytes: u64) -> Result<(), Full> {
        lock(&self.ledger).change(self.peer, self.bytes, bytes)?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let emptied = self.set(0);
        debug_assert!(emptied.is_ok(), "less is always granted");
    }
}

impl Ledger {
    fn change(&mut self, peer: Peer, from: u64, to: u64) -> Result<(), Full> {
        let held = self.peers.get(&peer).copied().unwrap_or_default();
        let others = held.saturating_sub(from);
        let free = self.free.saturating_add(from);
        let (Some(held), Some(free)) = (others.checked_add(to), free.checked_sub(to)) else {
            return Err(Full { peer });
        };
        if to > from && held > free / SHARE {
            return Err(Full { peer });
        }
        self.free = free;
        match held {
            0 => drop(self.peers.remove(&peer)),
            held => drop(self.peers.insert(peer, held)),
        }
        Ok(())
    }
}

/// What a report, and then the reply that is made of it, keeps in memory.
#[must_use]
pub fn weight(report: &Report) -> u64 {
    let files = report.files.iter().map(|file| file.content.len());
    bytes_of(files.chain([report.stdout.len(), report.stderr.len()]))
}

/// What pieces of so many bytes keep in memory.
pub(crate) fn bytes_of(pieces: impl Iterator<Item = usize>) -> u64 {
    pieces.map(|bytes| bytes as u64 + OVERHEAD).sum()
}

/// What a file or an argument costs besides its bytes, roughly.
pub(crate) const OVERHEAD: u64 = 256;
/// The part of what is free that one peer may hold.
const SHARE: u64 = 4;

/// Both numbers are changed together, after everything that could fail.
fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_greedy_peer_leaves_four_times_what_it_has() {
        let memory = Memory::new(500);
        let mut greedy = memory.hold(Peer::User(1));
        assert_eq!(greedy.grow(100), Ok(()));
        let peer = Peer::User(1);
        assert_eq!(greedy.grow(1), Err(Full { peer }));
        let mut again = memory.hold(peer);
        assert!(again.grow(1).is_err(), "another connection is no way out");
        let mut second = memory.hold(Peer::User(2));
        assert_eq!(second.grow(80), Ok(()));
    }

    #[test]
    fn a_dozen_greedy_peers_leave_room_for_the_next() {
        let memory = Memory::new(512 << 20);
        let greedy: Vec<_> = (0..12)
            .map(|user| {
                let mut holding = memory.hold(Peer::User(user));
                while holding.grow(64 << 10).is_ok() {}
                holding
            })
            .collect();
        let mut newcomer = memory.hold(Peer::User(12));
        assert_eq!(newcomer.grow(7 << 20), Ok(()));
        drop(greedy);
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let memory = Memory::new(1000);
        let mut holding = memory.hold(Peer::User(1));
        holding.set(50).unwrap();
        holding.set(10).unwrap();
        holding.set(40).unwrap();
        drop(holding);
        let ledger = lock(&memory.ledger);
        assert_eq!((ledger.free, ledger.peers.len()), (1000, 0));
    }

    proptest! {
        #[test]
        fn the_books_balance(
            steps in prop::collection::vec((0_u32..5, 0_usize..4, 0_u64..2000), 1..200),
        ) {
            let memory = Memory::new(10_000);
            let mut holdings: Vec<Vec<Holding>> = (0..5)
                .map(|user| (0..4).map(|_| memory.hold(Peer::User(user))).collect())
                .collect();
            for (user, connection, bytes) in steps {
                let holding = &mut holdings[user as usize][connection];
                let before = holding.bytes;
                let after = holding.set(bytes).map_or(before, |()| bytes);
                prop_assert_eq!(holding.bytes, after);
                let held: u64 = holdings.iter().flatten().map(|one| one.bytes).sum();
                prop_assert_eq!(lock(&memory.ledger).free, 10_000 - held);
            }
        }
    }
}
