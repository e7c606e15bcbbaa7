//! Equal jobs under way, each with everybody who waits for it.
//!
//! A flight is a task of its own that nobody's connection owns. It goes on as long as one seat is taken,
//! whoever took the first; when the last one is given up, it is cancelled, and whoever comes then boards
//! the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use stap_protocol::job::Report;
use stap_store::Key;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::scheduler::Refusal;

/// All flights.
#[derive(Debug, Default)]
pub(super) struct Flights {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    flying: HashMap<Key, Flying>,
}

/// One of them, as it is seen from the gate.
#[derive(Debug)]
struct Flying {
    number: u64,
    /// Whoever has one of these keeps it in the air.
    seats: Weak<DropGuard>,
    landing: watch::Receiver<Option<Landing>>,
}

/// How a flight ended.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// The result had been kept.
    Kept(Arc<Report>),
    /// The job was run.
    Flown(Arc<Report>),
    /// There was no room for it.
    Refused(Refusal),
}

/// Where a flight tells how it ended.
#[derive(Debug)]
pub(super) struct Runway {
    number: u64,
    landing: watch::Sender<Option<Landing>>,
}

/// A place in a flight.
#[derive(Debug)]
pub(super) struct Seat {
    /// Whether the flight began with this one.
    pub(super) is_first: bool,
    _held: Arc<DropGuard>,
    landing: watch::Receiver<Option<Landing>>,
}

impl Flights {
    /// Takes a seat in the flight of `key`, or begins one; `None` when `begin` could not.
    pub(super) fn board(
        &self,
        key: Key,
        begin: impl FnOnce(Runway, CancellationToken) -> Option<()>,
    ) -> Option<Seat> {
        let mut table = self.table();
        if let Some(flying) = table.flying.get(&key)
            && let Some(held) = flying.seats.upgrade()
        {
            return Some(Seat {
                is_first: false,
                _held: held,
                landing: flying.landing.clone(),
            });
        }
        table.last += 1;
        let number = table.last;
        let (sender, landing) = watch::channel(None);
        let cancelled = CancellationToken::new();
        let runway = Runway {
            number,
            landing: sender,
        };
        begin(runway, cancelled.clone())?;
        let held = Arc::new(cancelled.drop_guard());
        let flying = Flying {
            number,
            seats: Arc::downgrade(&held),
            landing: landing.clone(),
        };
        table.flying.insert(key, flying);
        Some(Seat {
            is_first: true,
            _held: held,
            landing,
        })
    }

    /// Ends a flight: who comes from now on begins another one.
    pub(super) fn land(&self, key: Key, runway: &Runway, landing: Landing) {
        let mut table = self.table();
        // Another one may have begun after the last seat of this one was given up.
        if table.flying.get(&key).map(|flying| flying.number) == Some(runway.number) {
            table.flying.remove(&key);
        }
        drop(table);
        runway.landing.send_replace(Some(landing));
    }

    /// How many wait, in all flights.
    #[cfg(test)]
    pub(super) fn seats(&self) -> usize {
        let table = self.table();
        let flying = table.flying.values();
        flying.map(|flying| flying.seats.strong_count()).sum()
    }

    /// The table is whole after every statement, so a panic elsewhere cannot have left it half changed.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits for the end of the flight.
    pub(super) async fn landing(mut self) -> Landing {
        let landed = self.landing.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(landing)) => landing.clone(),
            // The server stops, and its tasks are dropped.
            _ => Landing::Refused(Refusal::Stopped),
        }
    }
}
