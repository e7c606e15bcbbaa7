//! The conversation with the coordinator: one frame in, one frame out.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::fs::FileType;
use stap_protocol::signing::messages::{FromSigner, MAX_FRAME, ToSigner};

/// The coordinator's end of the line.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
}

impl Link {
    /// Takes over the socket that the coordinator left as stdin.
    pub(crate) fn inherited() -> io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(rustix::stdio::stdin())?.st_mode);
        if kind != FileType::Socket {
            return Err(io::Error::other(
                "stap-signer is started by stap-serverd, which gives it a socket as stdin; start stap-serverd instead",
            ));
        }
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST_FREE)?;
        Ok(Self {
            socket: socket.into(),
        })
    }

    /// The next message; `None` when the coordinator is gone.
    pub(crate) fn next(&mut self) -> io::Result<Option<ToSigner>> {
        let mut length = [0; 4];
        match self.socket.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > MAX_FRAME {
            return Err(io::Error::other("the coordinator's frame is too large"));
        }
        let mut frame = Vec::new();
        // Grows as bytes come, so that a length alone costs nothing.
        let taken = (&mut self.socket)
            .take(length as u64)
            .read_to_end(&mut frame)?;
        if taken < length {
            return Ok(None);
        }
        let message = postcard::from_bytes(&frame).map_err(|_not_ours| {
            io::Error::other(
                "the coordinator does not speak our language; install programs of one version",
            )
        });
        message.map(Some)
    }

    /// Answers.
    pub(crate) fn send(&mut self, message: &FromSigner) -> io::Result<()> {
        let frame = postcard::to_stdvec(message).map_err(io::Error::other)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        self.socket.write_all(&length.to_be_bytes())?;
        self.socket.write_all(&frame)
    }
}

/// Writes a line for the server's log, which begins with how serious it is.
pub(crate) fn say(line: &str) {
    // A coordinator that does not read any more will not get the signature either.
    io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap_or_default();
}

/// stdin, stdout and stderr come before it.
const FIRST_FREE: i32 = 3;
