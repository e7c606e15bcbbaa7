//! Room for connections.
//!
//! A seat is taken before a connection is accepted, so that a flood waits in the kernel and not in
//! our memory. When a peer's share or the house is full, a connection that waits for nothing of ours
//! gives way: first one of whoever has most of them, so that somebody who opens connections and stays
//! silent only hurts himself.

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
    total: usize,
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
    unpacking: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    seated: usize,
    peers: HashMap<Peer, Party>,
}

/// The connections of one peer, those that are idle longest first.
#[derive(Debug)]
struct Party {
    occupants: Vec<Occupant>,
    unpacking: Arc<Semaphore>,
}

#[derive(Debug)]
struct Occupant {
    number: u64,
    /// When it sat down, or was answered, in the order of such events.
    since: u64,
    /// Cancelling it ends the connection; `None` while a request is under way.
    idle: Option<CancellationToken>,
}

impl Seats {
    /// Makes `total` seats, of which one peer may have `per_peer`, and a few for those who are leaving.
    #[must_use]
    pub fn new(total: usize, per_peer: usize) -> Self {
        let with_leaving = total.saturating_add(LEAVING).min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(with_leaving)),
            taken: Arc::default(),
            total,
            per_peer,
        }
    }

    /// Waits until there is a seat for one more connection. Dropping the wait loses nothing.
    pub async fn free(&self) -> FreeSeat {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        FreeSeat(permit.expect("the semaphore of seats is never closed"))
    }

    /// Sits a peer down. When it has its share, its connection that was idle longest gives way; when
    /// the house is full, that of the peer with most connections does, which may be this one.
    #[must_use]
    pub fn take(&self, FreeSeat(permit): FreeSeat, peer: Peer) -> Seat {
        let evicted = CancellationToken::new();
        let mut table = lock(&self.taken);
        let has_share = table
            .peers
            .get(&peer)
            .is_some_and(|party| party.occupants.len() >= self.per_peer);
        let found_room = if has_share {
            table.evict_from(peer)
        } else {
            table.seated < self.total || table.evict_for(peer)
        };
        let (number, unpacking) = table.seat(peer, evicted.clone());
        drop(table);
        Seat {
            _permit: permit,
            taken: Arc::clone(&self.taken),
            peer,
            number,
            evicted,
            crowded: !found_room,
            unpacking,
        }
    }
}

impl Seat {
    /// Who sits here.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether there was no room, because requests are under way on all connections that could have
    /// given way; the client should hear that the server is busy.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.crowded
    }

    /// Is cancelled when the seat is wanted for a younger connection.
    #[must_use]
    pub fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    /// Waits until no other request of the same peer is being unpacked.
    pub async fn turn_to_unpack(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.unpacking).acquire_owned().await;
        turn.expect("the semaphore of a peer is never closed")
    }

    /// Says that a request has arrived: the connection is not idle any more.
    pub fn delivered(&self) {
        lock(&self.taken).set_idle(self, None);
    }

    /// Says that the request is answered: from here on the connection only lasts for the client's
    /// comfort.
    pub fn answered(&self) {
        lock(&self.taken).set_idle(self, Some(self.evicted.clone()));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.taken).remove(self.peer, self.number);
    }
}

impl Table {
    fn seat(&mut self, peer: Peer, evict: CancellationToken) -> (u64, Arc<Semaphore>) {
        self.last += 1;
        self.seated += 1;
        let party = self.peers.entry(peer).or_insert_with(|| Party {
            occupants: Vec::new(),
            unpacking: Arc::new(Semaphore::new(1)),
        });
        party.occupants.push(Occupant {
            number: self.last,
            since: self.last,
            idle: Some(evict),
        });
        (self.last, Arc::clone(&party.unpacking))
    }

    /// Occupants are in the order in which they became idle, so a change moves one to the end.
    fn set_idle(&mut self, seat: &Seat, idle: Option<CancellationToken>) {
        self.last += 1;
        let Some(party) = self.peers.get_mut(&seat.peer) else {
            return;
        };
        let at = party
            .occupants
            .iter()
            .position(|occupant| occupant.number == seat.number);
        // One that was told to go is not here any more.
        if let Some(at) = at {
            let occupant = party.occupants.remove(at);
            party.occupants.push(Occupant {
                since: self.last,
                idle,
                ..occupant
            });
        }
    }

    /// Makes one connection of the peer that has most of them give way. A newcomer counts as seated.
    fn evict_for(&mut self, newcomer: Peer) -> bool {
        let weight =
            |peer: &Peer, party: &Party| party.occupants.len() + usize::from(*peer == newcomer);
        let fattest = self
            .peers
            .iter()
            .filter_map(|(peer, party)| Some((*peer, weight(peer, party), party.idle_since()?)))
            .max_by_key(|(_, seats, since)| (*seats, std::cmp::Reverse(*since)));
        fattest.is_some_and(|(peer, ..)| self.evict_from(peer))
    }

    /// Makes the connection of a peer give way that was idle longest. It does not count any more.
    fn evict_from(&mut self, peer: Peer) -> bool {
        let idle = |occupant: &Occupant| {
            let evict = occupant.idle.clone()?;
            Some((occupant.number, evict))
        };
        let party = self.peers.get(&peer);
        let Some((number, evict)) = party.and_then(|party| party.occupants.iter().find_map(idle))
        else {
            return false;
        };
        evict.cancel();
        self.remove(peer, number);
        true
    }

    fn remove(&mut self, peer: Peer, number: u64) {
        let Some(party) = self.peers.get_mut(&peer) else {
            return;
        };
        let before = party.occupants.len();
        party.occupants.retain(|one| one.number != number);
        self.seated -= before - party.occupants.len();
        if party.occupants.is_empty() {
            self.peers.remove(&peer);
        }
    }
}

impl Party {
    fn idle_since(&self) -> Option<u64> {
        let idle = self.occupants.iter().find(|one| one.idle.is_some());
        idle.map(|one| one.since)
    }
}

/// The table is whole after every statement, so a panic elsewhere cannot have left it half changed.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections that were told to go and have not gone yet, or that are only told that the server is
/// busy.
pub const LEAVING: usize = 32;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;

    use super::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([192, 0, 2, last]).into()
    }

    async fn sit(seats: &Seats, last: u8) -> Seat {
        seats.take(seats.free().await, peer(last))
    }

    #[tokio::test]
    async fn a_silent_connection_gives_way_to_a_younger_one_of_the_same_peer() {
        let seats = Seats::new(8, 2);
        let oldest = sit(&seats, 1).await;
        let second = sit(&seats, 1).await;
        let other = sit(&seats, 2).await;
        let third = sit(&seats, 1).await;
        assert!(oldest.evicted().is_cancelled());
        assert!(!second.evicted().is_cancelled() && !other.evicted().is_cancelled());
        assert!(!third.crowded());
    }

    #[tokio::test]
    async fn a_full_house_costs_whoever_has_most_connections_his_oldest_silent_one() {
        let seats = Seats::new(4, 4);
        let alone = sit(&seats, 2).await;
        let working = sit(&seats, 1).await;
        working.delivered();
        let idle = sit(&seats, 1).await;
        let younger = sit(&seats, 1).await;
        let newcomer = sit(&seats, 3).await;
        assert!(idle.evicted().is_cancelled());
        let others = [&alone, &working, &younger, &newcomer];
        assert!(others.iter().all(|seat| !seat.evicted().is_cancelled()));
        assert!(!newcomer.crowded());
    }

    #[tokio::test]
    async fn a_flood_of_one_peer_never_costs_another_its_connection() {
        let seats = Seats::new(8, 8);
        let quiet = sit(&seats, 2).await;
        let mut flood = std::collections::VecDeque::new();
        for _ in 0..1000 {
            flood.push_back(sit(&seats, 1).await);
            if flood.len() > 8 {
                flood.pop_front();
            }
        }
        assert!(!quiet.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn a_newcomer_of_the_peer_with_most_connections_costs_that_peer() {
        let seats = Seats::new(4, 4);
        let others = [sit(&seats, 2).await, sit(&seats, 2).await];
        let own = [sit(&seats, 1).await, sit(&seats, 1).await];
        let _newcomer = sit(&seats, 1).await;
        assert!(own[0].evicted().is_cancelled());
        assert!(others.iter().all(|seat| !seat.evicted().is_cancelled()));
    }

    #[tokio::test]
    async fn nobody_gives_way_before_somebody_comes() {
        let seats = Seats::new(1, 1);
        let only = sit(&seats, 1).await;
        let free = seats.free().await;
        assert!(!only.evicted().is_cancelled());
        let _newcomer = seats.take(free, peer(2));
        assert!(only.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn an_answer_on_its_way_is_not_the_oldest_idle_connection() {
        let seats = Seats::new(8, 2);
        let answered = sit(&seats, 1).await;
        answered.delivered();
        let silent = sit(&seats, 1).await;
        answered.answered();
        let _third = sit(&seats, 1).await;
        assert!(silent.evicted().is_cancelled() && !answered.evicted().is_cancelled());
    }

    #[tokio::test]
    async fn a_connection_with_a_request_stays() {
        let seats = Seats::new(8, 1);
        let working = sit(&seats, 1).await;
        working.delivered();
        assert!(sit(&seats, 1).await.crowded());
        assert!(!working.evicted().is_cancelled());
        let full = Seats::new(1, 1);
        let working = sit(&full, 1).await;
        working.delivered();
        assert!(sit(&full, 2).await.crowded());
    }

    #[tokio::test]
    async fn connections_that_were_told_to_go_are_waited_for() {
        let seats = Seats::new(1, 1);
        let mut gone = Vec::new();
        for _ in 0..=LEAVING {
            gone.push(sit(&seats, 1).await);
        }
        assert!(seats.free().now_or_never().is_none());
        gone.pop();
        seats.free().await;
    }

    #[tokio::test]
    async fn a_seat_is_free_again_when_it_is_dropped() {
        let seats = Seats::new(1, 1);
        drop(sit(&seats, 1).await);
        let again = sit(&seats, 1).await;
        assert!(!again.crowded());
        again.delivered();
        again.answered();
        drop(again);
        assert_eq!(lock(&seats.taken).seated, 0);
        assert!(lock(&seats.taken).peers.is_empty());
    }

    #[tokio::test]
    async fn a_peer_unpacks_one_request_at_a_time() {
        let seats = Seats::new(8, 8);
        let (first, second) = (sit(&seats, 1).await, sit(&seats, 1).await);
        let other = sit(&seats, 2).await;
        let turn = first.turn_to_unpack().await;
        let _others = other.turn_to_unpack().await;
        assert!(second.turn_to_unpack().now_or_never().is_none());
        drop(turn);
        drop(second.turn_to_unpack().await);
    }
}
