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

use super::Turn;
use crate::scheduler::{Refusal, Standing, followed};

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
    standings: watch::Receiver<Standing>,
}

/// How a flight ended.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// The result had been kept.
    Kept(Arc<Report>, Option<Arc<Turn>>),
    /// The job was run.
    Flown(Arc<Report>),
    /// There was no room for it.
    Refused(Refusal),
}

/// Where a flight tells how it ended, and until then what becomes of its job.
#[derive(Debug)]
pub(super) struct Runway {
    number: u64,
    landing: watch::Sender<Option<Landing>>,
    pub(super) standing: watch::Sender<Standing>,
}

/// A place in a flight.
#[derive(Debug)]
pub(super) struct Seat {
    /// Whether the flight began with this one.
    pub(super) is_first: bool,
    _held: Arc<DropGuard>,
    landing: watch::Receiver<Option<Landing>>,
    standings: watch::Receiver<Standing>,
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
                standings: flying.standings.clone(),
            });
        }
        table.last += 1;
        let number = table.last;
        let (sender, landing) = watch::channel(None);
        let (standing, standings) = watch::channel(Standing::Taken);
        let cancelled = CancellationToken::new();
        let runway = Runway {
            number,
            landing: sender,
            standing,
        };
        begin(runway, cancelled.clone())?;
        let held = Arc::new(cancelled.drop_guard());
        let flying = Flying {
            number,
            seats: Arc::downgrade(&held),
            landing: landing.clone(),
            standings: standings.clone(),
        };
        table.flying.insert(key, flying);
        Some(Seat {
            is_first: true,
            _held: held,
            landing,
            standings,
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
    /// Waits for the end of the flight, and passes on what becomes of its job until then.
    pub(super) async fn landing(mut self, tell: impl Fn(Standing)) -> Landing {
        let landed = async {
            let landed = self.landing.wait_for(Option::is_some).await;
            landed.ok().and_then(|landing| landing.clone())
        };
        followed(landed, self.standings, tell)
            .await
            // The server stops, and its tasks are dropped.
            .unwrap_or(Landing::Refused(Refusal::Stopped))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use stap_protocol::target::TargetIdentity;
    use stap_store::Tenant;

    use super::super::tests::job;
    use super::*;

    #[tokio::test]
    async fn whoever_comes_later_hears_where_the_job_stands_too() {
        let flights = Flights::default();
        let identity = TargetIdentity([7; 32]);
        let key = Key::of(&job("a", "x"), &identity, Tenant::Everybody);
        let mut begun = None;
        let begin = |runway, _cancelled| {
            begun = Some(runway);
            Some(())
        };
        let first = flights.board(key, begin).unwrap();
        let runway = begun.unwrap();
        runway.standing.send_replace(Standing::Running);
        let second = flights.board(key, |_, _| panic!("it flies")).unwrap();
        let (tell, heard) = channel();
        let waiting = second.landing(move |standing| tell.send(standing).unwrap());
        let landing = async {
            while heard.try_recv() != Ok(Standing::Running) {
                tokio::task::yield_now().await;
            }
            flights.land(key, &runway, Landing::Refused(Refusal::Stopped));
        };
        let (landed, ()) = tokio::join!(waiting, landing);
        assert!(matches!(landed, Landing::Refused(Refusal::Stopped)));
        drop(first);
    }
}
