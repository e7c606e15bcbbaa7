//! Tells the log what happens at the door, in a bounded number of lines.
//!
//! Whoever can reach the port can make things happen at the speed of his network. Each of them is worth
//! a line, ten thousand are not, and a disk full of them would hurt. So a peer has a budget of lines a
//! minute, and all peers together have one. What goes beyond is counted, and told in one line when the
//! minute is over.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::peer::Peer;

/// The log of what clients do.
#[derive(Debug)]
pub struct DoorLog {
    page: Mutex<Page>,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection that never came to speak the protocol.
    Handshake,
    /// A connection that ended before it had a request.
    NoRequest,
    /// An idle connection that gave way to a younger one.
    Evicted,
    /// A request that was not served.
    Refused,
    /// A request that was served.
    Served,
    /// A client that did not wait for its answer.
    Left,
    /// An answer that was not taken.
    NotTaken,
}

/// Where a client is, for a line of the log.
#[derive(Clone, Copy, Debug)]
pub struct Visitor {
    /// Its address.
    pub address: SocketAddr,
    /// Who it is.
    pub peer: Peer,
}

impl fmt::Display for Visitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)?;
        match self.peer {
            Peer::User(id) => write!(formatter, " user={id}"),
            Peer::Address(_) => Ok(()),
        }
    }
}

impl Default for DoorLog {
    fn default() -> Self {
        Self {
            page: Mutex::new(Page::starting(Instant::now())),
        }
    }
}

impl DoorLog {
    /// Writes a line if there is room for it, and counts it otherwise. Returns whether there was.
    pub fn tell(&self, peer: Peer, event: Event, line: impl FnOnce()) -> bool {
        let (over, has_room) = self.enter(peer, event);
        if let Some(over) = over {
            over.sum_up();
        }
        if has_room {
            line();
        }
        has_room
    }

    /// Tells at the end of each minute what had no line of its own.
    pub async fn sum_up_each_minute(&self) {
        let mut minutes = interval(MINUTE);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            minutes.tick().await;
            if let Some(over) = self.page().turn(Instant::now()) {
                over.sum_up();
            }
        }
    }

    /// Tells what had no line of its own until now.
    pub fn sum_up(&self) {
        let next = Page::starting(Instant::now());
        let over = std::mem::replace(&mut *self.page(), next);
        over.sum_up();
    }

    fn enter(&self, peer: Peer, event: Event) -> (Option<Page>, bool) {
        let mut page = self.page();
        let over = page.turn(Instant::now());
        (over, page.enter(peer, event))
    }

    /// A page is whole after every statement that changes it.
    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One minute.
#[derive(Debug)]
struct Page {
    started: Instant,
    lines: u32,
    peers: HashMap<Peer, Account>,
    /// Of the peers that the table has no room for.
    others: Account,
    untold: [u64; EVENTS.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    lines: u32,
    untold: u64,
}

impl Page {
    fn starting(started: Instant) -> Self {
        Self {
            started,
            lines: 0,
            peers: HashMap::new(),
            others: Account::default(),
            untold: [0; EVENTS.len()],
        }
    }

    /// Begins a new page when a minute is over, and returns the old one.
    fn turn(&mut self, now: Instant) -> Option<Self> {
        let is_over = now.saturating_duration_since(self.started) >= MINUTE;
        is_over.then(|| std::mem::replace(self, Self::starting(now)))
    }

    fn enter(&mut self, peer: Peer, event: Event) -> bool {
        let account = if self.peers.len() < MOST_PEERS || self.peers.contains_key(&peer) {
            self.peers.entry(peer).or_default()
        } else {
            &mut self.others
        };
        if account.lines < LINES_OF_A_PEER && self.lines < LINES {
            account.lines += 1;
            self.lines += 1;
            return true;
        }
        account.untold += 1;
        self.untold[event as usize] += 1;
        false
    }

    fn sum_up(&self) {
        if let Some(summary) = self.summary() {
            tracing::info!("without lines of their own: {summary}");
        }
    }

    fn summary(&self) -> Option<String> {
        let mut summary = String::new();
        for (count, words) in self
            .untold
            .iter()
            .zip(EVENTS)
            .filter(|(count, _)| **count > 0)
        {
            let comma = if summary.is_empty() { "" } else { ", " };
            write!(summary, "{comma}{count} {words}").expect("writing to a String cannot fail");
        }
        let loud = self.peers.iter().filter(|(_, account)| account.untold > 0);
        let (peer, account) = loud.clone().max_by_key(|(_, account)| account.untold)?;
        let (peers, untold) = (loud.count(), account.untold);
        let more = if self.others.untold > 0 {
            "more than "
        } else {
            ""
        };
        write!(
            summary,
            "; from {more}{peers} peers, {untold} of them from {peer}"
        )
        .expect("writing to a String cannot fail");
        Some(summary)
    }
}

/// In the order of [`Event`].
const EVENTS: [&str; 7] = [
    "failed handshakes",
    "connections without a request",
    "idle connections that gave way",
    "refused requests",
    "accepted requests",
    "clients that left before their answer",
    "replies that were not taken",
];
const MINUTE: Duration = Duration::from_secs(60);
/// Lines a minute. With lines of the usual length, a flood that never ends writes 200 MB a day.
const LINES: u32 = 1000;
const LINES_OF_A_PEER: u32 = 200;
/// Peers that are told apart in one minute.
const MOST_PEERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &DoorLog, peer: u32, times: usize) -> usize {
        let tell = |_: &usize| log.tell(Peer::User(peer), Event::Refused, || ());
        (0..times).filter(tell).count()
    }

    #[test]
    fn a_flood_writes_a_bounded_number_of_lines_and_a_sum() {
        let log = DoorLog::default();
        assert_eq!(told(&log, 1, 100_000), LINES_OF_A_PEER as usize);
        assert_eq!(told(&log, 2, 10), 10, "others still have lines");
        let summary = log.page().summary().unwrap();
        assert_eq!(
            summary,
            "99800 refused requests; from 1 peers, 99800 of them from user 1 of this host"
        );
        let over = log.page().turn(Instant::now() + MINUTE).unwrap();
        assert_eq!(over.summary(), Some(summary));
        assert_eq!(told(&log, 1, 1), 1, "the next minute has its own");
        assert_eq!(log.page().summary(), None);
    }

    #[test]
    fn many_peers_together_are_bounded_too() {
        let log = DoorLog::default();
        let lines: usize = (0..100_000).map(|peer| told(&log, peer, 1)).sum();
        assert_eq!(lines, LINES as usize);
        let page = log.page();
        assert_eq!(page.peers.len(), MOST_PEERS);
        assert!(page.summary().unwrap().contains("from more than "));
    }

    #[test]
    fn each_event_has_its_words() {
        let events = [
            Event::Handshake,
            Event::NoRequest,
            Event::Evicted,
            Event::Refused,
            Event::Served,
            Event::Left,
            Event::NotTaken,
        ];
        let places: Vec<_> = events.iter().map(|event| *event as usize).collect();
        assert_eq!(places, (0..EVENTS.len()).collect::<Vec<_>>());
    }
}
