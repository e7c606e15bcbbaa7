//! What somebody who waits is shown: on a terminal a discreet line, gone when there is something to read; with `-v` a
//! line for each thing that happens to a request that has to wait.
//!
//! A server that knows more is asked to tell it only when somebody looks on, so that others neither send nor get a byte more.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use stap_protocol::notice::Notice;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Shows how far a request is.
#[derive(Debug)]
pub(crate) struct Display {
    is_terminal: bool,
    is_verbose: bool,
    /// What the server has said last.
    heard: RefCell<Option<Notice>>,
    /// Whether the request is known to have waited for its turn.
    has_queued: Cell<bool>,
    is_shown: Cell<bool>,
}

impl Display {
    /// For a user who wants so many words more.
    pub(crate) fn new(verbosity: usize) -> Self {
        Self::on(io::stderr().is_terminal(), verbosity > 0)
    }

    fn on(is_terminal: bool, is_verbose: bool) -> Self {
        Self {
            is_terminal,
            is_verbose,
            heard: RefCell::default(),
            has_queued: Cell::default(),
            is_shown: Cell::default(),
        }
    }

    /// Whether somebody looks on.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_terminal || self.is_verbose
    }

    /// Begins anew, for another server.
    pub(crate) fn forget(&self) {
        self.heard.take();
        self.has_queued.set(false);
    }

    /// Takes in what the server says.
    pub(crate) fn hear(&self, notice: Notice) {
        let words = self.words(&notice).filter(|_| self.is_verbose);
        self.heard.replace(Some(notice));
        if let Some(words) = words {
            let erase = if self.is_shown.take() { ERASE } else { "" };
            write_whole(&format!("{erase}{words}\n"));
        }
    }

    /// Waits for `work`; when that takes long, says on a terminal what is waited for, and for how long.
    pub(crate) async fn while_waiting<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        if !self.is_terminal {
            return work.await;
        }
        let start = Instant::now();
        let mut ticks = interval_at(start + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let _erased = Erased(&self.is_shown);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => {
                    self.is_shown.set(true);
                    write_whole(&format!("{ERASE}{}", self.line(what, start.elapsed())));
                }
            }
        }
    }

    /// The line for a terminal, short enough not to be broken into two.
    fn line(&self, what: &str, since: Duration) -> String {
        let state = match &*self.heard.borrow() {
            None => what.to_owned(),
            Some(Notice::Queued {
                position,
                waiting,
                seconds,
            }) => {
                format!("In the server's queue: {position} of {waiting}, about {seconds} s to go")
            }
            Some(Notice::Learning) => {
                "The server finds out about this kernel first, once for all".to_owned()
            }
            Some(Notice::Running) => "The server is compiling".to_owned(),
            Some(Notice::Ended { done, targets, .. }) => {
                format!("The server is compiling: {done} of {targets} targets done")
            }
        };
        let end = format!(" ... {} s", since.as_secs());
        let room = WIDTH.saturating_sub(end.len());
        state.chars().take(room).collect::<String>() + &end
    }

    /// The line for a log, if this is news. Nobody needs to be told that a request that does not wait is compiled.
    fn words(&self, notice: &Notice) -> Option<String> {
        match notice {
            Notice::Queued {
                position,
                waiting,
                seconds,
            } => {
                self.has_queued.set(true);
                let is_told = matches!(&*self.heard.borrow(), Some(Notice::Queued { position: told, .. }) if told == position);
                (!is_told).then(|| {
                    format!("Waiting in the server's queue: {position} of {waiting}, about {seconds} s to go.")
                })
            }
            Notice::Learning | Notice::Running => {
                let has_queued = self.has_queued.take();
                has_queued.then(|| "The server is compiling.".to_owned())
            }
            Notice::Ended {
                done,
                targets,
                target,
                is_good,
            } => {
                let outcome = if *is_good { "ok" } else { "failed" };
                Some(format!(
                    "{done} of {targets} targets done: {target} {outcome}."
                ))
            }
        }
    }
}

/// Takes the line away when it is dropped, so that it is gone when the wait is interrupted, too.
struct Erased<'a>(&'a Cell<bool>);

impl Drop for Erased<'_> {
    fn drop(&mut self) {
        if self.0.take() {
            write_whole(ERASE);
        }
    }
}

fn write_whole(text: &str) {
    // A line that cannot be shown is no loss.
    io::stderr().write_all(text.as_bytes()).unwrap_or(());
}

const PERIOD: Duration = Duration::from_secs(1);

/// To the start of the line, and the line away.
const ERASE: &str = "\r\x1b[K";

/// A line that is broken into two cannot be taken away; few terminals are narrower.
const WIDTH: usize = 79;

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(position: u32, seconds: u32) -> Notice {
        Notice::Queued {
            position,
            waiting: 7,
            seconds,
        }
    }

    fn ended(done: u32) -> Notice {
        Notice::Ended {
            done,
            targets: 5,
            target: stap_protocol::target::TargetName {
                release: "6.1.0".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
            },
            is_good: done != 2,
        }
    }

    fn told(notices: &[Notice]) -> Vec<String> {
        let display = Display::on(false, true);
        let mut told = Vec::new();
        for notice in notices {
            told.extend(display.words(notice));
            display.heard.replace(Some(notice.clone()));
        }
        told
    }

    #[test]
    fn a_log_has_a_line_for_each_place_and_then_for_the_compile() {
        let notices = [
            queued(3, 12),
            queued(3, 11),
            queued(1, 4),
            Notice::Running,
            Notice::Running,
        ];
        let expected = [
            "Waiting in the server's queue: 3 of 7, about 12 s to go.",
            "Waiting in the server's queue: 1 of 7, about 4 s to go.",
            "The server is compiling.",
        ];
        assert_eq!(told(&notices), expected);
    }

    #[test]
    fn a_log_has_no_line_for_what_did_not_wait_but_for_each_target() {
        assert!(told(&[Notice::Running]).is_empty());
        let expected = [
            "1 of 5 targets done: 6.1.0 x86_64 ok.",
            "2 of 5 targets done: 6.1.0 x86_64 failed.",
        ];
        assert_eq!(told(&[Notice::Running, ended(1), ended(2)]), expected);
    }

    #[test]
    fn a_line_on_a_terminal_is_never_two() {
        let display = Display::on(true, false);
        let since = Duration::from_secs(100_000);
        let long = "é".repeat(200);
        assert_eq!(display.line(&long, since).chars().count(), WIDTH);
        for (notice, line) in [
            (
                queued(u32::MAX, u32::MAX),
                "In the server's queue: 4294967295 of 7, about 4294967295 s to go ... 100000 s",
            ),
            (
                ended(4),
                "The server is compiling: 4 of 5 targets done ... 100000 s",
            ),
            (
                Notice::Learning,
                "The server finds out about this kernel first, once for all ... 100000 s",
            ),
            (Notice::Running, "The server is compiling ... 100000 s"),
        ] {
            display.hear(notice);
            assert_eq!(display.line("", since), line);
        }
        display.forget();
        assert_eq!(display.line("What", since), "What ... 100000 s");
    }
}
