//! Room for connections.
//!
//! A seat is taken before a connection is accepted, so that a flood waits in the kernel and not in
//! our memory. A peer that already has its share loses its oldest connection that has not delivered
//! a request yet: somebody who opens connections and stays silent only hurts himself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::peer::Peer;

/// All seats of the server.
#[derive(Clone, Debug)]
pub struct Seats {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Table>>,
    per_peer: usize,
}

/// A seat that nobody sits in yet.
#[derive(Debug)]
pub struct FreeSeat(OwnedSemaphorePermit);

/// One connection's seat; dropping it frees it.
#[derive(Debug)]
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    taken: Arc<Mutex<Table>>,
    peer: Peer,
    number: u64,
    evicted: CancellationToken,
    crowded: bool,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    peers: HashMap<Peer, Vec<Occupant>>,
}

#[derive(Debug)]
struct Occupant {
    number: u64,
    /// Cancelling it ends the connection; `None` once a request has arrived.
    idle: Option<CancellationToken>,
}

impl Table {
    fn evict_oldest_idle(&mut self) {
        let oldest = |occupants: &Vec<Occupant>| {
            occupants
                .iter()
                .find(|one| one.idle.is_some())
                .map(|one| one.number)
        };
        let peers = self
            .peers
            .iter_mut()
            .filter_map(|(_, occupants)| Some((oldest(occupants)?, occupants)));
        if let Some((_, occupants)) = peers.min_by_key(|(number, _)| *number) {
            evict_oldest_idle(occupants);
        }
    }
}

impl Seats {
    /// Makes `total` seats, of which one peer may have `per_peer`.
    #[must_use]
    pub fn new(total: usize, per_peer: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(total)),
            taken: Arc::default(),
            per_peer,
        }
    }

    /// Waits for a free seat. When there is none, the oldest idle connection of all gives way: silence
    /// must not keep out those who have something to say.
    pub async fn free(&self) -> FreeSeat {
        if self.free.available_permits() == 0 {
            lock(&self.taken).evict_oldest_idle();
        }
        let permit = Arc::clone(&self.free).acquire_owned().await;
        FreeSeat(permit.expect("the semaphore of seats is never closed"))
    }

    /// Sits a peer down, at the cost of its oldest idle connection when it has its share.
    #[must_use]
    pub fn take(&self, FreeSeat(permit): FreeSeat, peer: Peer) -> Seat {
        let evicted = CancellationToken::new();
        let mut table = lock(&self.taken);
        table.last += 1;
        let number = table.last;
        let occupants = table.peers.entry(peer).or_default();
        let crowded = occupants.len() >= self.per_peer && !evict_oldest_idle(occupants);
        occupants.push(Occupant {
            number,
            idle: Some(evicted.clone()),
        });
        drop(table);
        Seat {
            _permit: permit,
            taken: Arc::clone(&self.taken),
            peer,
            number,
            evicted,
            crowded,
        }
    }
}

impl Seat {
    /// Whether the peer has its share of connections, all of them with requests under way; it should
    /// hear that the server is busy.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.crowded
    }

    /// Is cancelled when the seat is wanted for a younger connection of the same peer.
    #[must_use]
    pub fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    /// Says that a request has arrived: the connection is not idle any more.
    pub fn delivered(&self) {
        self.set_idle(None);
    }

    /// Says that the request is answered: from here on the connection only lasts for the client's
    /// comfort.
    pub fn answered(&self) {
        self.set_idle(Some(self.evicted.clone()));
    }

    fn set_idle(&self, idle: Option<CancellationToken>) {
        let mut table = lock(&self.taken);
        let occupants = table.peers.get_mut(&self.peer);
        if let Some(occupant) = occupants
            .into_iter()
            .flatten()
            .find(|occupant| occupant.number == self.number)
        {
            occupant.idle = idle;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = lock(&self.taken);
        if let Some(occupants) = table.peers.get_mut(&self.peer) {
            occupants.retain(|occupant| occupant.number != self.number);
            if occupants.is_empty() {
                table.peers.remove(&self.peer);
            }
        }
    }
}

/// Occupants are in the order of their arrival. One that was told to go does not count any more.
fn evict_oldest_idle(occupants: &mut Vec<Occupant>) -> bool {
    let Some(oldest) = occupants
        .iter()
        .position(|occupant| occupant.idle.is_some())
    else {
        return false;
    };
    if let Some(evict) = occupants.remove(oldest).idle {
        evict.cancel();
    }
    true
}

/// The table is whole after every statement, so a panic elsewhere cannot have left it half changed.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[tokio::test]
    async fn a_silent_connection_gives_way_to_a_younger_one_of_the_same_peer() {
        let seats = Seats::new(8, 2);
        let oldest = seats.take(seats.free().await, peer(1));
        let second = seats.take(seats.free().await, peer(1));
        let other = seats.take(seats.free().await, peer(2));
        let third = seats.take(seats.free().await, peer(1));
        assert!(oldest.evicted().is_cancelled());
        assert!(!second.evicted().is_cancelled() && !other.evicted().is_cancelled());
        assert!(!third.crowded());
    }

    #[tokio::test]
    async fn when_all_seats_are_taken_the_oldest_silent_connection_gives_way() {
        let seats = Seats::new(2, 2);
        let oldest = seats.take(seats.free().await, peer(1));
        oldest.delivered();
        let idle = seats.take(seats.free().await, peer(2));
        let evicted = idle.evicted().clone();
        let leaving = async move { idle.evicted().cancelled().await };
        let (free, ()) = tokio::join!(seats.free(), leaving);
        let third = seats.take(free, peer(3));
        assert!(evicted.is_cancelled());
        assert!(!oldest.evicted().is_cancelled() && !third.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn a_connection_with_a_request_stays() {
        let seats = Seats::new(8, 1);
        let working = seats.take(seats.free().await, peer(1));
        working.delivered();
        assert!(seats.take(seats.free().await, peer(1)).crowded());
        assert!(!working.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn a_seat_is_free_again_when_it_is_dropped() {
        let seats = Seats::new(1, 1);
        drop(seats.take(seats.free().await, peer(1)));
        let again = seats.take(seats.free().await, peer(1));
        assert!(!again.crowded());
        assert!(lock(&seats.taken).peers.len() == 1);
    }
}
