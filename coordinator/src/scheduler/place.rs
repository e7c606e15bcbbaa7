//! Where a job stands, for whoever waits for it.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;

/// What has become of a job so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It was taken, and nobody has looked yet.
    #[default]
    Taken,
    /// It waits.
    Waiting(Place),
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

/// In what time the turn of a job with so many in front of it is: where `slots` jobs run that take `typical` each,
/// one of them ends every `typical / slots`.
fn wait(in_front: usize, typical: Duration, slots: usize) -> Duration {
    let ends = u32::try_from(in_front.saturating_add(1)).unwrap_or(u32::MAX);
    let slots = u32::try_from(slots.max(1)).unwrap_or(u32::MAX);
    typical.saturating_mul(ends) / slots
}

/// Tells those that wait, in the order of their turns.
pub(super) fn tell<'a>(
    waiting: impl ExactSizeIterator<Item = &'a watch::Sender<Standing>>,
    typical: Duration,
    slots: usize,
) {
    let all = waiting.len();
    for (in_front, standing) in waiting.enumerate() {
        let place = Standing::Waiting(Place {
            position: in_front + 1,
            waiting: all,
            wait: wait(in_front, typical, slots),
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

    #[test]
    fn two_slots_halve_the_wait() {
        let typical = Duration::from_secs(4);
        assert_eq!(wait(0, typical, 1), typical);
        assert_eq!(wait(2, typical, 1), typical * 3);
        assert_eq!(wait(2, typical, 2), typical * 3 / 2);
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_for_fewer_or_quicker_jobs_or_more_slots(
            (in_front, fewer) in (0_usize..1 << 20).prop_flat_map(|most| (Just(most), 0..=most)),
            (typical, quicker) in (0_u64..1 << 40).prop_flat_map(|most| (Just(most), 0..=most)),
            slots in 0_usize..1000,
            more in 0_usize..1000,
        ) {
            let (typical, quicker) = (Duration::from_nanos(typical), Duration::from_nanos(quicker));
            let longest = wait(in_front, typical, slots);
            prop_assert!(wait(fewer, typical, slots) <= longest);
            prop_assert!(wait(in_front, quicker, slots) <= longest);
            prop_assert!(wait(in_front, typical, slots + more) <= longest);
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
