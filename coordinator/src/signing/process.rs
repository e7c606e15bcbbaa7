//! Starts `stap-signer`, once, before this process has read a foreign byte.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};

use stap_protocol::signing::messages::{Configuration, FromSigner, Keys, MAX_FRAME, ToSigner};

use crate::worker::{Program, StartError, find};

/// A signer that has said which keys it has.
#[derive(Debug)]
pub struct Spawned {
    /// The program.
    pub process: Program,
    /// The conversation with it.
    pub socket: UnixStream,
    /// What it writes for the log.
    pub stderr: ChildStderr,
    /// What it can sign with, besides the server's own key.
    pub keys: Keys,
}

/// Starts the signer and waits until it is ready.
///
/// # Errors
/// When there is no signer, or it cannot work under this configuration.
pub fn start(configuration: Configuration) -> Result<Spawned, StartError> {
    let program = find(NAME)?;
    let failed = |source| StartError::Spawn {
        program: program.clone(),
        source,
    };
    let (socket, theirs) = UnixStream::pair().map_err(failed)?;
    let mut child: Child = Command::new(&program)
        // Its end of the line; there is nothing else that it should read.
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_clear()
        .process_group(0)
        .current_dir("/")
        .spawn()
        .map_err(failed)?;
    let stderr = child.stderr.take().expect("the signer's stderr is a pipe");
    match introduce(&socket, configuration) {
        Ok(FromSigner::Keys(keys)) => Ok(Spawned {
            process: Program::new(NAME, child)?,
            socket,
            stderr,
            keys,
        }),
        Ok(FromSigner::NotReady { reason }) => Err(StartError::NotReady(reason)),
        Ok(_) => Err(StartError::Language),
        Err(source) => {
            drop(socket);
            let ended = child
                .wait()
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            let mut said = String::new();
            // Whatever it said is only an explanation.
            stderr
                .take(LAST_WORDS)
                .read_to_string(&mut said)
                .unwrap_or_default();
            Err(StartError::BrokeOff {
                program: NAME,
                ended,
                source,
                last_line: said.lines().last().unwrap_or_default().to_owned(),
            })
        }
    }
}

fn introduce(mut socket: &UnixStream, configuration: Configuration) -> io::Result<FromSigner> {
    let message =
        postcard::to_stdvec(&ToSigner::Configure(configuration)).map_err(io::Error::other)?;
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    socket.write_all(&length.to_be_bytes())?;
    socket.write_all(&message)?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > MAX_FRAME as u64 {
        return Err(io::Error::other("the frame is too large"));
    }
    let mut frame = Vec::new();
    socket.take(length).read_to_end(&mut frame)?;
    postcard::from_bytes(&frame).map_err(io::Error::other)
}

const NAME: &str = "stap-signer";
const LAST_WORDS: u64 = 4096;
