//! What a client hears before its reply.

use stap_protocol::notice::{Notice, NoticeError, Notices};
use stap_protocol::request::MAX_TARGETS;
use tokio::time::Instant;

/// Takes notices out of what arrives, if the client has asked for any.
pub(crate) struct Hearing<H> {
    notices: Option<Notices>,
    since: Instant,
    hear: H,
}

impl Hearing<fn(Notice)> {
    /// Everything that arrives is the reply.
    pub(crate) fn none() -> Self {
        Self {
            notices: None,
            since: Instant::now(),
            hear: drop,
        }
    }
}

impl<H: FnMut(Notice)> Hearing<H> {
    /// Notices go to `hear`.
    pub(crate) fn new(hear: H) -> Self {
        Self {
            notices: Some(Notices::default()),
            since: Instant::now(),
            hear,
        }
    }

    /// Takes what arrived, and returns what is the reply's.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> Result<Vec<u8>, NoticeError> {
        let Some(notices) = &mut self.notices else {
            return Ok(piece.to_vec());
        };
        let seconds = u32::try_from(self.since.elapsed().as_secs()).unwrap_or(u32::MAX);
        let allowed = seconds.saturating_mul(A_SECOND).saturating_add(AT_ONCE);
        notices.feed(piece, allowed, &mut self.hear)
    }

    /// Whether something has begun that may become a notice.
    pub(crate) fn is_within(&self) -> bool {
        self.notices.as_ref().is_some_and(Notices::is_within)
    }

    /// The reply, when nothing more arrives.
    pub(crate) fn end(self, reply: Vec<u8>) -> Vec<u8> {
        match self.notices {
            Some(notices) if reply.is_empty() => notices.into_rest(),
            _ => reply,
        }
    }
}

/// Our servers send one a second, and clocks differ.
const A_SECOND: u32 = 2;
/// How many a server may send at its first chance: one for each target of a request, and as many more.
const AT_ONCE: u32 = 128;
const _: () = assert!(AT_ONCE as usize == 2 * MAX_TARGETS);
