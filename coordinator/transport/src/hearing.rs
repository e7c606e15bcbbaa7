//! What a client hears before its reply.

use stap_protocol::notice::{Notice, NoticeError, Notices};

/// Takes notices out of what arrives, if the client has asked for any.
pub(crate) struct Hearing<H> {
    notices: Option<Notices>,
    hear: H,
}

impl Hearing<fn(Notice)> {
    /// Everything that arrives is the reply.
    pub(crate) fn none() -> Self {
        Self {
            notices: None,
            hear: drop,
        }
    }
}

impl<H: FnMut(Notice)> Hearing<H> {
    /// Notices go to `hear`.
    pub(crate) fn new(hear: H) -> Self {
        Self {
            notices: Some(Notices::default()),
            hear,
        }
    }

    /// Takes what arrived, and returns what is the reply's.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> Result<Vec<u8>, NoticeError> {
        let Some(notices) = &mut self.notices else {
            return Ok(piece.to_vec());
        };
        notices.feed(piece, &mut self.hear)
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
