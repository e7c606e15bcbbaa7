//! What a server tells a client that waits for its reply, if the client has asked for it.
//!
//! A notice is one line in front of the reply, which has no frame of its own: `notice: ` and some words. A
//! reply begins as an archive does, with `PK`, so the two cannot be taken for each other. Words that a client
//! does not know mean nothing to it, so that a newer server may say more.

use std::fmt;

use crate::target::TargetName;

/// The longest line of a notice, its newline included.
pub const MAX_NOTICE: usize = 256;

/// The most notices in front of one reply: one a second for more than four hours. They may come all at once, when
/// a client's machine was asleep for as long.
pub const MAX_NOTICES: u32 = 1 << 14;

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Its job waits for its turn.
    Queued {
        /// Its place among those that wait, 1 for the one that is next.
        position: u32,
        /// How many wait.
        waiting: u32,
        /// In how many seconds its turn is, if all goes as it did.
        seconds: u32,
    },
    /// Its job has its turn, and the server finds out about its target first, once for all.
    Learning,
    /// Its job runs.
    Running,
    /// The job for one of its targets has ended.
    Ended {
        /// For how many targets that can be said.
        done: u32,
        /// How many targets there are.
        targets: u32,
        /// The target.
        target: TargetName,
        /// Whether all that was asked for was made.
        is_good: bool,
    },
}

/// Why what a server sends cannot be its notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// A line without an end.
    #[error("a notice is longer than {MAX_NOTICE} bytes")]
    TooLong,
    /// More than a server of ours sends.
    #[error("more than {MAX_NOTICES} notices were sent before the reply")]
    TooMany,
}

/// Tells notices from the reply behind them, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Notices {
    line: Vec<u8>,
    /// Lines that were notices, whatever they said.
    heard: u32,
    is_over: bool,
}

impl Notices {
    /// Takes the next piece. Notices go to `hear`, and what belongs to the reply is returned.
    ///
    /// # Errors
    /// When a line has no end, or there are too many.
    pub fn feed(
        &mut self,
        piece: &[u8],
        mut hear: impl FnMut(Notice),
    ) -> Result<Vec<u8>, NoticeError> {
        if self.is_over {
            return Ok(piece.to_vec());
        }
        for (at, byte) in piece.iter().enumerate() {
            self.line.push(*byte);
            if !begins_like(&self.line) {
                self.is_over = true;
                let mut reply = std::mem::take(&mut self.line);
                reply.extend_from_slice(&piece[at + 1..]);
                return Ok(reply);
            }
            if *byte == b'\n' {
                self.count()?;
                Notice::of_line(&self.line).into_iter().for_each(&mut hear);
                self.line.clear();
            } else if self.line.len() >= MAX_NOTICE {
                return Err(NoticeError::TooLong);
            }
        }
        Ok(Vec::new())
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.line.is_empty()
    }

    /// What was held back in case it became a notice, when nothing follows.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.line
    }

    fn count(&mut self) -> Result<(), NoticeError> {
        if self.heard >= MAX_NOTICES {
            return Err(NoticeError::TooMany);
        }
        self.heard += 1;
        Ok(())
    }
}

/// Whether this can still become a notice, or is one.
fn begins_like(line: &[u8]) -> bool {
    let common = line.len().min(LEAD.len());
    line[..common] == LEAD[..common]
}

impl Notice {
    /// The line, with its newline.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [LEAD, self.to_string().as_bytes(), b"\n"].concat()
    }

    /// What a line says; `None` for what only a later version knows, and for nonsense.
    fn of_line(line: &[u8]) -> Option<Self> {
        let words = line.strip_prefix(LEAD)?.strip_suffix(b"\n")?;
        let words: Vec<&str> = std::str::from_utf8(words).ok()?.split(' ').collect();
        match words[..] {
            ["queued", position, waiting, seconds] => {
                Self::queued(number(position)?, number(waiting)?, number(seconds)?)
            }
            ["learning"] => Some(Self::Learning),
            ["running"] => Some(Self::Running),
            ["ended", done, targets, release, arch, outcome] => Self::ended(
                number(done)?,
                number(targets)?,
                TargetName {
                    release: release.parse().ok()?,
                    arch: arch.parse().ok()?,
                },
                outcome,
            ),
            _ => None,
        }
    }

    fn queued(position: u32, waiting: u32, seconds: u32) -> Option<Self> {
        (1..=waiting).contains(&position).then_some(Self::Queued {
            position,
            waiting,
            seconds,
        })
    }

    fn ended(done: u32, targets: u32, target: TargetName, outcome: &str) -> Option<Self> {
        let is_good = match outcome {
            GOOD => true,
            BAD => false,
            _ => return None,
        };
        (1..=targets).contains(&done).then_some(Self::Ended {
            done,
            targets,
            target,
            is_good,
        })
    }
}

/// The words of a line.
impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued {
                position,
                waiting,
                seconds,
            } => write!(formatter, "queued {position} {waiting} {seconds}"),
            Self::Learning => formatter.write_str("learning"),
            Self::Running => formatter.write_str("running"),
            Self::Ended {
                done,
                targets,
                target,
                is_good,
            } => {
                let outcome = if *is_good { GOOD } else { BAD };
                write!(formatter, "ended {done} {targets} {target} {outcome}")
            }
        }
    }
}

/// A number in its only spelling.
fn number(word: &str) -> Option<u32> {
    let number: u32 = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

/// What each notice begins with, and no archive.
const LEAD: &[u8] = b"notice: ";
const GOOD: &str = "ok";
const BAD: &str = "failed";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notices() -> impl Strategy<Value = Notice> {
        let pair = || (1..=u32::MAX).prop_flat_map(|most| (1..=most, Just(most)));
        let target = ("[0-9][0-9a-z.-]{0,20}", "[a-z][a-z0-9_]{0,8}");
        let target = target.prop_filter_map("no target", |(release, arch): (String, String)| {
            Some(TargetName {
                release: release.parse().ok()?,
                arch: arch.parse().ok()?,
            })
        });
        prop_oneof![
            (pair(), any::<u32>()).prop_map(|((position, waiting), seconds)| Notice::Queued {
                position,
                waiting,
                seconds
            }),
            Just(Notice::Learning),
            Just(Notice::Running),
            (pair(), target, any::<bool>()).prop_map(|((done, targets), target, is_good)| {
                Notice::Ended {
                    done,
                    targets,
                    target,
                    is_good,
                }
            }),
        ]
    }

    fn heard(stream: &[u8], size: usize) -> Result<(Vec<Notice>, Vec<u8>), NoticeError> {
        let mut notices = Notices::default();
        let (mut heard, mut reply) = (Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            reply.extend(notices.feed(piece, |notice| heard.push(notice))?);
        }
        reply.extend(notices.into_rest());
        Ok((heard, reply))
    }

    #[test]
    fn a_line_of_many_bytes_is_refused_before_it_ends() {
        let mut notices = Notices::default();
        let line = [LEAD, &[b'x'; MAX_NOTICE]].concat();
        let most = &line[..MAX_NOTICE - 1];
        assert_eq!(notices.feed(most, |_| ()), Ok(Vec::new()));
        assert_eq!(notices.feed(b"x", |_| ()), Err(NoticeError::TooLong));
        let whole = [most, b"\n"].concat();
        assert_eq!(Notices::default().feed(&whole, |_| ()), Ok(Vec::new()));
    }

    #[test]
    fn more_lines_than_a_server_sends_are_refused_whatever_they_say() {
        for line in [Notice::Running.encode(), [LEAD, b"\n"].concat()] {
            let mut notices = Notices::default();
            let most = line.repeat(MAX_NOTICES as usize);
            assert_eq!(notices.feed(&most, |_| ()), Ok(Vec::new()));
            assert_eq!(notices.feed(&line, |_| ()), Err(NoticeError::TooMany));
        }
    }

    #[test]
    fn words_that_mean_nothing_are_passed_over() {
        for words in [
            "",
            "paused",
            "running now",
            "queued 1 1",
            "queued 0 3 4",
            "queued 4 3 4",
            "queued 01 3 4",
            "queued +1 3 4",
            "queued 1 3 99999999999",
            "ended 1 2 6.1.0-9 x86_64 perhaps",
            "ended 3 2 6.1.0-9 x86_64 ok",
            "ended 1 2 ../etc x86_64 ok",
            "ended 1 2 \x1b[2J x86_64 ok",
        ] {
            let stream = format!("notice: {words}\nnotice: running\nPK");
            let told = heard(stream.as_bytes(), 7).unwrap();
            assert_eq!(told, (vec![Notice::Running], b"PK".to_vec()), "{words:?}");
        }
    }

    #[test]
    fn what_is_no_notice_is_the_reply_to_its_last_byte() {
        for reply in [
            "",
            "PK\x03\x04notice: running\n",
            "notic",
            "notice:",
            "note\n",
        ] {
            let told = heard(reply.as_bytes(), 2).unwrap();
            assert_eq!(told, (Vec::new(), reply.as_bytes().to_vec()));
        }
    }

    proptest! {
        #[test]
        fn notices_and_the_reply_arrive_in_any_pieces(
            sent in prop::collection::vec(notices(), 0..8),
            reply in prop::collection::vec(any::<u8>(), 0..40),
            size in 1_usize..50,
        ) {
            let reply = [b"PK", &reply[..]].concat();
            let lines: Vec<Vec<u8>> = sent.iter().map(Notice::encode).collect();
            prop_assert!(lines.iter().all(|line| line.len() <= MAX_NOTICE));
            let stream = [lines.concat(), reply.clone()].concat();
            prop_assert_eq!(heard(&stream, size), Ok((sent, reply)));
        }
    }
}
