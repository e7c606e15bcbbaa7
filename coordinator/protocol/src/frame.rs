//! The frame around a request: four bytes of length, then so many bytes of archive.
//!
//! The length is a big-endian *signed* number. Zero means that the peer only wanted to see the
//! certificate. A reply has no frame: it ends with the stream.

/// The number of bytes in front of a request.
pub const HEADER: usize = 4;

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// No request will follow: the peer wanted the certificate.
    Probe,
    /// A request of this many bytes follows.
    Request(u32),
}

/// Why a request is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is above the limit. Judged before any of the body is waited for.
    #[error(
        "the request file is too large: {announced} bytes are announced and the limit is {limit} \
         (server option --max-compressed-request)"
    )]
    TooLarge {
        /// What the peer announced.
        announced: u32,
        /// What is allowed.
        limit: u32,
    },
    /// The announced length is negative.
    #[error("the announced request size {0} is negative; the peer does not speak this protocol")]
    Negative(i32),
    /// A request too long to be announced in 31 bits.
    #[error("a request of {0} bytes cannot be sent; the format ends at {max}", max = i32::MAX)]
    Unannounceable(usize),
}

/// Judges a header by what it announces.
pub fn judge(header: [u8; HEADER], limit: u32) -> Result<Announced, FrameError> {
    let size = i32::from_be_bytes(header);
    match u32::try_from(size) {
        Err(_) => Err(FrameError::Negative(size)),
        Ok(0) => Ok(Announced::Probe),
        Ok(announced) if announced > limit => Err(FrameError::TooLarge { announced, limit }),
        Ok(announced) => Ok(Announced::Request(announced)),
    }
}

/// Returns the header that announces `body`.
pub fn header(body: &[u8]) -> Result<[u8; HEADER], FrameError> {
    let size = i32::try_from(body.len());
    size.map(i32::to_be_bytes)
        .map_err(|_too_big| FrameError::Unannounceable(body.len()))
}

/// The header of a peer that only wants the certificate.
pub const PROBE: [u8; HEADER] = [0; HEADER];

/// Puts a request together from whatever pieces the network delivers.
#[derive(Debug)]
pub struct RequestFrame {
    limit: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; HEADER], filled: usize },
    Body { announced: usize, bytes: Vec<u8> },
    Probe,
}

/// Where a [`RequestFrame`] stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many more bytes are needed before anything can be said.
    Needs(usize),
    /// The peer only wanted the certificate.
    Probe,
    /// The whole request.
    Request(Vec<u8>),
}

impl RequestFrame {
    /// Waits for a request of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            state: State::Header {
                bytes: [0; HEADER],
                filled: 0,
            },
        }
    }

    /// How many more bytes the header, or the body, needs. Zero when nothing more is needed.
    #[must_use]
    pub fn needs(&self) -> usize {
        match &self.state {
            State::Header { filled, .. } => HEADER - filled,
            State::Body { announced, bytes } => announced - bytes.len(),
            State::Probe => 0,
        }
    }

    /// Whether nothing at all has arrived.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        matches!(self.state, State::Header { filled: 0, .. })
    }

    /// Takes what the network delivered and returns how many of these bytes belong to the request;
    /// the rest is behind its end.
    pub fn feed(&mut self, mut input: &[u8]) -> Result<usize, FrameError> {
        let offered = input.len();
        loop {
            let (taken, rest) = input.split_at(self.needs().min(input.len()));
            input = rest;
            if taken.is_empty() {
                return Ok(offered - rest.len());
            }
            self.take(taken)?;
        }
    }

    /// Where things stand; hands out the request when it is whole.
    #[must_use]
    pub fn progress(self) -> Progress {
        match (self.needs(), self.state) {
            (_, State::Probe) => Progress::Probe,
            (0, State::Body { bytes, .. }) => Progress::Request(bytes),
            (missing, _) => Progress::Needs(missing),
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), FrameError> {
        match &mut self.state {
            State::Header { bytes, filled } => {
                bytes[*filled..*filled + piece.len()].copy_from_slice(piece);
                *filled += piece.len();
                if *filled == HEADER {
                    self.state = after_header(judge(*bytes, self.limit)?);
                }
            }
            State::Body { bytes, .. } => bytes.extend_from_slice(piece),
            State::Probe => {}
        }
        Ok(())
    }
}

/// The body grows as it arrives, so a peer that announces much and sends little costs little.
fn after_header(announced: Announced) -> State {
    match announced {
        Announced::Probe => State::Probe,
        Announced::Request(size) => {
            let announced =
                usize::try_from(size).expect("a size of 31 bits fits every host we run on");
            State::Body {
                announced,
                bytes: Vec::new(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_oversize_request_is_refused_by_its_header_alone() {
        let mut frame = RequestFrame::new(100);
        let error = frame.feed(&101_u32.to_be_bytes()).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLarge {
                announced: 101,
                limit: 100
            }
        );
        assert!(
            error.to_string().contains(" request file is too large"),
            "stock tests look for it"
        );
    }

    #[test]
    fn negative_sizes_are_refused() {
        assert_eq!(judge([0xff; 4], u32::MAX), Err(FrameError::Negative(-1)));
        assert_eq!(
            judge([0x80, 0, 0, 0], u32::MAX),
            Err(FrameError::Negative(i32::MIN))
        );
    }

    #[test]
    fn a_request_of_two_gibibytes_cannot_be_announced() {
        // Zeroed memory that nobody touches costs nothing.
        let body = vec![0; 1 << 31];
        assert_eq!(header(&body), Err(FrameError::Unannounceable(1 << 31)));
        assert_eq!(header(&body[1..]), Ok(i32::MAX.to_be_bytes()));
    }

    #[test]
    fn zero_is_a_probe_and_nothing_after_it_is_taken() {
        let mut frame = RequestFrame::new(100);
        assert_eq!(frame.feed(b"\0\0\0\0more"), Ok(4));
        assert_eq!(frame.progress(), Progress::Probe);
    }

    #[test]
    fn an_unfinished_request_says_what_is_missing() {
        let mut frame = RequestFrame::new(100);
        assert_eq!(frame.feed(b"\0\0\0\x05ab"), Ok(6));
        assert_eq!(frame.progress(), Progress::Needs(3));
    }

    proptest! {
        #[test]
        fn a_request_cut_anywhere_comes_out_as_it_went_in(
            body in prop::collection::vec(any::<u8>(), 1..300),
            behind in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let sent = [&header(&body).unwrap()[..], &body, &behind].concat();
            let mut frame = RequestFrame::new(300);
            let mut rest = &sent[..];
            let mut taken = 0;
            for cut in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                taken += frame.feed(piece).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(taken, sent.len() - behind.len());
            prop_assert_eq!(frame.progress(), Progress::Request(body));
        }
    }
}
