//! Where a job stands, for whoever waits for it.

use std::pin::pin;
use std::time::Duration;

use stap_protocol::job::Report;
use tokio::sync::{oneshot, watch};

use super::Refusal;

/// A place in the queue, then in a slot. Dropping it cancels the job.
#[derive(Debug)]
pub struct Ticket {
    pub(super) report: oneshot::Receiver<Report>,
    pub(super) standings: watch::Receiver<Standing>,
}

impl Ticket {
    /// What becomes of the job until it ends. The place of one that waits is looked up once a second.
    #[must_use]
    pub fn standings(&self) -> watch::Receiver<Standing> {
        self.standings.clone()
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    /// [`Refusal::Stopped`] when the job was dropped because the server stops.
    pub async fn report(self) -> Result<Report, Refusal> {
        self.report.await.map_err(|_dropped| Refusal::Stopped)
    }
}

/// What has become of a job so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It was taken, and nobody has looked yet.
    #[default]
    Taken,
    /// It waits.
    Waiting(Place),
    /// It has its turn, and the worker finds out about its target first.
    Learning,
    /// It runs.
    Running,
}

/// The place of a job that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 1 for the job that is next.
    pub position: usize,
    /// How many wait.
    pub waiting: usize,
    /// In what time its turn probably is.
    pub wait: Duration,
}

/// In what time each of those that wait has its turn, given how long each takes. Where `slots` jobs run that have
/// `running` before them each, the first of them ends in `running / slots`, as if their ends came evenly.
fn waits(
    each: impl Iterator<Item = Duration>,
    running: Duration,
    slots: usize,
) -> impl Iterator<Item = Duration> {
    let slots = u32::try_from(slots.max(1)).unwrap_or(u32::MAX);
    each.scan(running, move |in_front, own| {
        let wait = *in_front / slots;
        *in_front = in_front.saturating_add(own);
        Some(wait)
    })
}

/// Tells those that wait, in the order of their turns, each with how long it takes.
pub(super) fn tell(
    waiting: &[(&watch::Sender<Standing>, Duration)],
    running: Duration,
    slots: usize,
) {
    let waits = waits(waiting.iter().map(|(_, own)| *own), running, slots);
    for (in_front, ((standing, _), wait)) in waiting.iter().zip(waits).enumerate() {
        let place = Standing::Waiting(Place {
            position: in_front + 1,
            waiting: waiting.len(),
            wait,
        });
        standing.send_if_modified(|told| std::mem::replace(told, place) != place);
    }
}

/// Waits for the end of a job, and passes on what becomes of it until then.
pub(crate) async fn followed<T>(
    end: impl Future<Output = T>,
    mut standings: watch::Receiver<Standing>,
    tell: impl Fn(Standing),
) -> T {
    let mut end = pin!(end);
    // Somebody who comes later hears of what was before, too.
    standings.mark_changed();
    loop {
        tokio::select! {
            biased;
            ended = &mut end => return ended,
            changed = standings.changed() => match changed {
                Ok(()) => tell(*standings.borrow_and_update()),
                Err(_no_more) => return end.await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(each: &[u64], running: u64, slots: usize) -> Vec<Duration> {
        let each = each.iter().map(|seconds| Duration::from_secs(*seconds));
        waits(each, Duration::from_secs(running), slots).collect()
    }

    #[test]
    fn two_slots_halve_the_wait() {
        let seconds = |waits: [u64; 3]| waits.map(Duration::from_secs);
        assert_eq!(all(&[4, 40, 4], 4, 1), seconds([4, 8, 48]));
        assert_eq!(all(&[4, 40, 4], 4, 2), seconds([2, 4, 24]));
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_because_somebody_left_or_there_is_a_slot_more(
            each in prop::collection::vec(0_u64..1 << 40, 1..20),
            leaves in any::<prop::sample::Index>(),
            running in 0_u64..1 << 40,
            slots in 0_usize..1000,
        ) {
            let before = all(&each, running, slots);
            prop_assert!(before.is_sorted());
            let more = all(&each, running, slots + 1);
            prop_assert!(more.iter().zip(&before).all(|(more, before)| more <= before));
            let left = leaves.index(each.len());
            let mut others = each.clone();
            others.remove(left);
            let mut expected = before;
            expected.remove(left);
            let after = all(&others, running, slots);
            prop_assert!(after.iter().zip(&expected).all(|(after, before)| after <= before));
        }
    }

    #[tokio::test]
    async fn somebody_who_comes_later_hears_where_the_job_stands() {
        let (sender, standings) = watch::channel(Standing::Running);
        let heard = std::sync::Mutex::new(Vec::new());
        let end = tokio::sync::Notify::new();
        let following = followed(end.notified(), standings, |standing| {
            heard.lock().unwrap().push(standing);
            end.notify_one();
        });
        following.await;
        drop(sender);
        assert_eq!(*heard.lock().unwrap(), [Standing::Running]);
    }
}
