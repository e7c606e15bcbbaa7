//! What signals mean to a server.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop the server, and those that must not.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Having a handler is all that they need: it keeps the kernel from ending the process when a
    /// terminal goes away or a limit of the caller is hit.
    _survived: [Signal; 3],
}

impl Signals {
    /// Takes the signals over from the kernel's defaults.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _survived: [
                signal(SignalKind::hangup())?,
                signal(SignalKind::from_raw(Kind::XFSZ.as_raw()))?,
                signal(SignalKind::from_raw(Kind::XCPU.as_raw()))?,
            ],
        })
    }

    /// Waits for a wish to stop; the next one counts anew.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

use rustix::process::Signal as Kind;
