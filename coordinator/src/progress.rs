//! What a client that waits is told, if it has asked for it.
//!
//! Whoever does the request writes down what is new; whoever has the connection takes what there is, when the client
//! can be told. Neither waits for the other, and what is overtaken meanwhile is never told.

use std::time::Duration;

use stap_protocol::notice::{MAX_NOTICES, Notice};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

use crate::request_id::RequestId;
use crate::scheduler::Standing;

/// What there is to tell of one request.
#[derive(Debug)]
pub struct Progress {
    news: watch::Sender<News>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct News {
    is_wanted: bool,
    /// Of each job that is under way.
    jobs: Vec<(RequestId, Standing)>,
    /// Ends that were not told yet: no more than the request has targets.
    ends: Vec<Notice>,
}

#[derive(Debug)]
struct Told {
    standing: Option<Notice>,
    lines: usize,
    /// When there may be the next piece.
    next: Instant,
}

impl Progress {
    /// Nothing yet. What is over within a second is told by its reply alone.
    #[must_use]
    pub fn new() -> Self {
        let told = Told {
            standing: None,
            lines: 0,
            next: Instant::now() + PERIOD,
        };
        Self {
            news: watch::Sender::default(),
            told: Mutex::new(told),
        }
    }

    /// Says that the client has asked for it.
    pub fn is_wanted(&self) {
        self.news.send_modify(|news| news.is_wanted = true);
    }

    /// Says what has become of a job.
    pub fn standing(&self, job: RequestId, standing: Standing) {
        self.news.send_modify(|news| {
            news.jobs.retain(|(other, _)| *other != job);
            news.jobs.push((job, standing));
        });
    }

    /// Says that a job is not under way any more, and what that means, if anything.
    pub fn ended(&self, job: RequestId, notice: Option<Notice>) {
        self.news.send_modify(|news| {
            news.jobs.retain(|(other, _)| *other != job);
            news.ends.extend(notice);
        });
    }

    /// Waits for something new, and gives the lines that tell it: one piece a second at most.
    pub async fn next(&self) -> Vec<u8> {
        let mut told = self.told.lock().await;
        let mut news = self.news.subscribe();
        loop {
            sleep_until(told.next).await;
            let notices = self.take(&mut told.standing);
            told.lines += notices.len();
            if !notices.is_empty() && told.lines <= MAX_NOTICES as usize {
                told.next = Instant::now() + PERIOD;
                return notices.iter().flat_map(Notice::encode).collect();
            }
            // The sender is here, so there is no error.
            news.changed().await.unwrap_or_default();
        }
    }

    fn take(&self, told: &mut Option<Notice>) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.news.send_if_modified(|news| {
            if news.is_wanted {
                notices.append(&mut news.ends);
                let standing = news
                    .standing()
                    .filter(|standing| Some(standing) != told.as_ref());
                if standing.is_some() {
                    told.clone_from(&standing);
                }
                notices.extend(standing);
            }
            false
        });
        notices
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl News {
    /// Of several jobs, the one that is furthest.
    fn standing(&self) -> Option<Notice> {
        let standings = self.jobs.iter().map(|(_, standing)| *standing);
        let place = |standing| match standing {
            Standing::Waiting(place) => Some(place),
            Standing::Taken | Standing::Learning | Standing::Running => None,
        };
        let has = |wanted| standings.clone().any(|standing| standing == wanted);
        if has(Standing::Running) {
            return Some(Notice::Running);
        }
        if has(Standing::Learning) {
            return Some(Notice::Learning);
        }
        let first = standings
            .filter_map(place)
            .min_by_key(|place| place.position)?;
        Some(Notice::Queued {
            position: narrow(first.position),
            waiting: narrow(first.waiting),
            seconds: narrow(first.wait.as_millis().div_ceil(1000)),
        })
    }
}

/// Nobody has more of anything that is told.
pub(crate) fn narrow(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// Between two notices, and before the first.
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::request_id::RequestIds;
    use crate::scheduler::Place;

    fn waiting(position: usize) -> Standing {
        Standing::Waiting(Place {
            position,
            waiting: 9,
            wait: Duration::from_millis(1001),
        })
    }

    fn end(done: u32) -> Notice {
        Notice::Ended {
            done,
            targets: 64,
            target: stap_protocol::target::TargetName {
                release: "6.1.0".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
            },
            is_good: true,
        }
    }

    /// What is told within a minute, with the time of each piece.
    async fn told(progress: &Progress, since: Instant) -> Vec<(u128, String)> {
        let mut told = Vec::new();
        while let Ok(piece) = timeout(Duration::from_secs(60), progress.next()).await {
            let text = String::from_utf8(piece).unwrap();
            told.push((since.elapsed().as_millis(), text));
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_not_asked_is_told_nothing() {
        let progress = Progress::new();
        let id = RequestIds::default().next();
        progress.standing(id, waiting(1));
        progress.ended(id, Some(end(1)));
        assert!(told(&progress, Instant::now()).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_one_piece_a_second_with_the_last_that_is_known() {
        let (progress, since) = (Progress::new(), Instant::now());
        progress.is_wanted();
        let id = RequestIds::default().next();
        let working = async {
            for position in (1..=9).rev() {
                progress.standing(id, waiting(position));
                sleep(Duration::from_millis(300)).await;
            }
            // The same again is no news.
            progress.standing(id, waiting(1));
            progress.standing(id, Standing::Running);
        };
        let (told, ()) = tokio::join!(told(&progress, since), working);
        let line = |position| format!("notice: queued {position} 9 2\n");
        let expected = [
            (1000, line(6)),
            (2000, line(3)),
            (3000, "notice: running\n".to_owned()),
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn every_end_is_told_once_and_the_job_that_is_furthest() {
        let (progress, since) = (Progress::new(), Instant::now());
        progress.is_wanted();
        let id = RequestIds::default().next();
        progress.standing(id.part(1), waiting(4));
        progress.standing(id.part(2), waiting(2));
        let working = async {
            sleep(Duration::from_millis(1500)).await;
            progress.standing(id.part(1), Standing::Running);
            progress.ended(id.part(1), Some(end(1)));
            progress.ended(id.part(3), Some(end(2)));
        };
        let (told, ()) = tokio::join!(told(&progress, since), working);
        let ends = [end(1), end(2)].map(|end| format!("notice: {end}\n"));
        let expected = [
            (1000, "notice: queued 2 9 2\n".to_owned()),
            (2000, ends.concat()),
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_told_no_more_than_it_may_hear() {
        let progress = Progress::new();
        progress.is_wanted();
        let id = RequestIds::default().next();
        let mut lines = 0;
        let changing = async {
            for position in 1.. {
                progress.standing(id, waiting(position));
                sleep(PERIOD).await;
            }
        };
        let hearing = async {
            while timeout(PERIOD * 10, progress.next()).await.is_ok() {
                lines += 1;
            }
        };
        tokio::select! {
            () = changing => {}
            () = hearing => {}
        }
        assert_eq!(lines, MAX_NOTICES);
    }
}
