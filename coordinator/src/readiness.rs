//! The pipe that hears whether the start succeeded (`--ready-fd`).
//!
//! It carries one line, `ready PORT` or `failed REASON`, and is then closed. A pipe beats polling a
//! process list: the line cannot be early, and a crash shows as an end without a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::RawFd;

use rustix::fs::FileType;

use crate::log::one_line;

/// Where the outcome of the start is announced; says nothing when nobody asked.
#[derive(Debug)]
pub struct Readiness {
    pipe: Option<File>,
}

/// Why `--ready-fd` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadinessError {
    /// The number stands for stdin, stdout, stderr or nothing.
    #[error(
        "descriptor {0} cannot be used for --ready-fd; give the write end of a pipe, 3 or higher"
    )]
    Number(RawFd),
    /// Not open, or not for writing.
    #[error("descriptor {descriptor} of --ready-fd cannot be written to: {source}")]
    Open {
        /// As it was given.
        descriptor: RawFd,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file or a socket, where the reader would not see an end.
    #[error("descriptor {0} of --ready-fd is not a pipe")]
    NotAPipe(RawFd),
}

impl Readiness {
    /// Takes the descriptor over, so that no child inherits it.
    ///
    /// # Errors
    /// When it is not an open pipe.
    pub fn adopt(descriptor: Option<RawFd>) -> Result<Self, ReadinessError> {
        let Some(descriptor) = descriptor else {
            return Ok(Self { pipe: None });
        };
        if descriptor < FIRST_FREE {
            return Err(ReadinessError::Number(descriptor));
        }
        // Opening it anew yields an owned descriptor without trusting a number from the command line.
        let open = |source| ReadinessError::Open { descriptor, source };
        let pipe = OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{descriptor}"))
            .map_err(open)?;
        let kind = rustix::fs::fstat(&pipe)
            .map_err(|errno| open(errno.into()))?
            .st_mode;
        if FileType::from_raw_mode(kind) != FileType::Fifo {
            return Err(ReadinessError::NotAPipe(descriptor));
        }
        nix::unistd::close(descriptor).map_err(|errno| open(errno.into()))?;
        Ok(Self { pipe: Some(pipe) })
    }

    /// Says that clients may come.
    pub fn ready(self, port: u16) {
        self.say(&format!("ready {port}\n"));
    }

    /// Says that there will be no server, and why. Lines of the reason become its sentences.
    pub fn failed(self, reason: &str) {
        let lines: Vec<_> = reason.lines().map(str::trim).collect();
        self.say(&format!("failed {}\n", one_line(&lines.join("; "))));
    }

    fn say(self, line: &str) {
        if let Some(mut pipe) = self.pipe
            && let Err(error) = pipe.write_all(line.as_bytes())
        {
            tracing::debug!(%error, "nobody waits for the start any more");
        }
    }
}

/// stdin, stdout and stderr come before it.
const FIRST_FREE: RawFd = 3;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::IntoRawFd as _;

    use super::*;

    fn adopted() -> (io::PipeReader, Readiness) {
        let (reader, writer) = io::pipe().unwrap();
        (
            reader,
            Readiness::adopt(Some(writer.into_raw_fd())).unwrap(),
        )
    }

    fn rest(mut reader: io::PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_pipe_carries_one_line_and_ends() {
        let (reader, readiness) = adopted();
        readiness.ready(4711);
        assert_eq!(rest(reader), "ready 4711\n");
    }

    #[test]
    fn a_reason_of_several_lines_stays_one_line() {
        let (reader, readiness) = adopted();
        readiness.failed("no database\n  try: another\x07 one");
        assert_eq!(rest(reader), "failed no database; try: another\\u{7} one\n");
    }

    #[test]
    fn only_an_open_pipe_is_taken() {
        assert!(matches!(
            Readiness::adopt(Some(2)),
            Err(ReadinessError::Number(2))
        ));
        assert!(matches!(
            Readiness::adopt(Some(9999)),
            Err(ReadinessError::Open { .. })
        ));
        let file = tempfile::tempfile().unwrap().into_raw_fd();
        assert!(matches!(
            Readiness::adopt(Some(file)),
            Err(ReadinessError::NotAPipe(_))
        ));
    }
}
