//! What the launcher says, as it arrives.

use std::io;

use stap_jail::report::Event;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The stream of events of one launcher.
#[derive(Debug)]
pub(super) struct Events {
    pipe: pipe::Receiver,
    pending: Vec<u8>,
}

impl Events {
    pub(super) fn of(pipe: pipe::Receiver) -> Self {
        Self {
            pipe,
            pending: Vec::new(),
        }
    }

    /// Returns the next event; `None` at the end of the stream.
    ///
    /// Cancel-safe: what was read stays in `pending`. That is bounded, because an event that says it
    /// is too long is an error before its body is waited for.
    pub(super) async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = Event::take(&mut self.pending).map_err(io::Error::other)? {
                return Ok(Some(event));
            }
            if self.pipe.read_buf(&mut self.pending).await? == 0 {
                return Ok(None);
            }
        }
    }
}
