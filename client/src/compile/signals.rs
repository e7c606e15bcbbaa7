//! The signals that concern a compile or a run.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks the client to stop something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// SIGINT: the user pressed Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Hangup,
}

/// Catches the signals from its making on, so that none of them ends the program before it has
/// cleaned up. (SIGPIPE is ignored by every Rust program, and put back for the ones it starts.)
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Starts to catch them.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel safe: a signal that was not returned is returned by the next call.
    pub(crate) async fn next(&mut self) -> Interruption {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Interruption::Interrupt,
            Some(()) = self.terminate.recv() => Interruption::Terminate,
            Some(()) = self.hangup.recv() => Interruption::Hangup,
            else => std::future::pending().await,
        }
    }

    /// The next signal that ends a compile; a hangup does not.
    pub(crate) async fn next_end(&mut self) -> Interruption {
        loop {
            match self.next().await {
                Interruption::Hangup => (),
                end => return end,
            }
        }
    }
}
