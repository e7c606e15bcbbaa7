//! A discreet line for somebody who waits at a terminal, gone when there is something to read.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Waits for `work`; when that takes long, says on a terminal what is waited for, and for how long.
pub(crate) async fn while_waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let start = Instant::now();
    let mut ticks = interval_at(start + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut line = Line { shown: false };
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => line.show(what, start.elapsed()),
        }
    }
}

/// Erases itself when it is dropped, so that it is gone when the wait is interrupted, too.
struct Line {
    shown: bool,
}

impl Line {
    fn show(&mut self, what: &str, since: Duration) {
        self.shown = true;
        write_whole(&format!("{ERASE}{what} ... {} s", since.as_secs()));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
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
