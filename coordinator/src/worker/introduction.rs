//! The first exchange with the worker, while this process still has one thread.
//!
//! It can take as long as warming a kernel's headers takes. All the while the worker's stderr is
//! read, too: a worker that waits for room in that pipe would never become ready.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ChildStderr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use stap_protocol::job::{FromWorker, MAX_FRAME, ToWorker};

use super::lines::{Lines, log_line};
use super::process::encode;

/// What is known when the worker does not answer.
#[derive(Debug)]
pub(super) struct BrokenOff {
    pub(super) source: io::Error,
    /// The last line that it wrote, which most likely says why.
    pub(super) last_line: String,
}

/// Tells the worker what to do and waits for its answer.
pub(super) fn introduce(
    socket: &UnixStream,
    stderr: &mut ChildStderr,
    first: &ToWorker,
) -> Result<FromWorker, BrokenOff> {
    let mut listening = Listening {
        socket,
        stderr,
        lines: Lines::default(),
        last_line: String::new(),
        frame: Vec::new(),
    };
    let answer = listening.say(first).and_then(|()| listening.answer());
    answer.map_err(|source| BrokenOff {
        source,
        last_line: listening.last_words(),
    })
}

struct Listening<'a> {
    socket: &'a UnixStream,
    stderr: &'a mut ChildStderr,
    lines: Lines,
    last_line: String,
    frame: Vec<u8>,
}

impl Listening<'_> {
    fn say(&self, message: &ToWorker) -> io::Result<()> {
        let message = encode(message)?;
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        let mut socket = self.socket;
        socket.write_all(&length.to_be_bytes())?;
        socket.write_all(&message)
    }

    fn answer(&mut self) -> io::Result<FromWorker> {
        let mut stderr_open = true;
        loop {
            let (answered, wrote) = self.wait(stderr_open)?;
            if wrote {
                stderr_open = self.hear_stderr()?;
            }
            if answered && let Some(message) = self.hear_socket()? {
                return Ok(message);
            }
        }
    }

    /// Whether the socket, and whether stderr, has something to read or has ended.
    fn wait(&self, stderr_open: bool) -> io::Result<(bool, bool)> {
        let mut waited = vec![PollFd::new(self.socket, PollFlags::IN)];
        if stderr_open {
            waited.push(PollFd::new(&*self.stderr, PollFlags::IN));
        }
        match poll(&mut waited, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = waited.iter().map(|waited| !waited.revents().is_empty());
        Ok((
            ready.next().unwrap_or_default(),
            ready.next().unwrap_or_default(),
        ))
    }

    fn hear_stderr(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        let length = self.stderr.read(&mut chunk)?;
        let last_line = &mut self.last_line;
        self.lines
            .feed(chunk.get(..length).unwrap_or_default(), |line| {
                log_line("worker", line);
                line.clone_into(last_line);
            });
        Ok(length > 0)
    }

    fn hear_socket(&mut self) -> io::Result<Option<FromWorker>> {
        let mut chunk = [0; CHUNK];
        let mut socket = self.socket;
        let length = socket.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.frame
            .extend_from_slice(chunk.get(..length).unwrap_or_default());
        let Some((header, body)) = self.frame.split_first_chunk() else {
            return Ok(None);
        };
        let announced = usize::try_from(u32::from_be_bytes(*header)).map_err(io::Error::other)?;
        match body.len() {
            _ if announced > MAX_FRAME => Err(io::Error::other("the frame is too large")),
            length if length < announced => Ok(None),
            length if length > announced => {
                Err(io::Error::other("the worker speaks before it is asked"))
            }
            _ => postcard::from_bytes(body)
                .map(Some)
                .map_err(io::Error::other),
        }
    }

    /// Hears the rest of what a worker wrote that is gone now.
    fn last_words(mut self) -> String {
        for _ in 0..MOST_LAST_CHUNKS {
            match self.wait(true) {
                Ok((_, true)) if self.hear_stderr().unwrap_or(false) => {}
                _ => break,
            }
        }
        let last_line = &mut self.last_line;
        self.lines.end(|line| {
            log_line("worker", line);
            line.clone_into(last_line);
        });
        self.last_line
    }
}

const CHUNK: usize = 4096;
/// How much of a dead worker's stderr is logged.
const MOST_LAST_CHUNKS: usize = 16;
