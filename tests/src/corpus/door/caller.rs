//! A client that says what we want, made of openssl's own tool: it shares no code with the server.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context as _;
use stap_protocol::reply::{Parts, Reply, ReplyLimits};

use crate::corpus::service::Service;
use crate::{wait, world};

/// A connection whose handshake is under way or done.
#[derive(Debug)]
pub(super) struct Caller {
    child: Child,
    stdin: Option<ChildStdin>,
    heard: PipeReader,
}

impl Caller {
    /// Connects as root.
    pub(super) fn connect(server: &Service) -> anyhow::Result<Self> {
        Self::start(server, 0, &[QUIET])
    }

    /// Connects as a user of this host, with other options of the tool.
    pub(super) fn start(server: &Service, user: u32, options: &[&str]) -> anyhow::Result<Self> {
        Self::to(server.address, user, options)
    }

    /// Connects as root to something in front of the server.
    pub(super) fn through(address: SocketAddr, options: &[&str]) -> anyhow::Result<Self> {
        Self::to(address, 0, options)
    }

    fn to(address: SocketAddr, user: u32, options: &[&str]) -> anyhow::Result<Self> {
        let (heard, said) = io::pipe()?;
        let complaints = match options.contains(&QUIET) {
            true => Stdio::null(),
            false => said.try_clone()?.into(),
        };
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string()])
            .args(options)
            .env_clear()
            .env("PATH", world::PATH)
            .uid(user)
            .gid(user)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(said)
            .stderr(complaints)
            .spawn()
            .context("starting openssl")?;
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            stdin,
            heard,
        })
    }

    /// Sends a request as a user and reads the reply.
    pub(super) fn ask(server: &Service, user: u32, bytes: &[u8]) -> anyhow::Result<Parts> {
        let mut caller = Self::start(server, user, &[QUIET])?;
        caller.say(bytes)?;
        let answer = caller.hear()?;
        Ok(Reply::decode(&answer, &ReplyLimits::default())?.into_parts())
    }

    /// Says something, in one or more records.
    pub(super) fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("it has hung up")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// Waits for the end of what the server says.
    pub(super) fn hear(mut self) -> anyhow::Result<Vec<u8>> {
        let mut heard = Vec::new();
        self.heard.read_to_end(&mut heard)?;
        Ok(heard)
    }

    /// Waits until the tool, which must not be quiet, says this. `false` when it ends before.
    pub(super) fn says(&mut self, words: &str) -> anyhow::Result<bool> {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !heard.ends_with(words.as_bytes()) {
            if self.heard.read(&mut byte)? == 0 {
                return Ok(false);
            }
            heard.extend(byte);
        }
        Ok(true)
    }

    /// Waits for the end of the handshake, which the tool tells when it is not quiet.
    pub(super) fn wait_for_handshake(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.says("Verif")?, "no handshake");
        Ok(())
    }

    /// Hangs up once everything is sent, and waits for that.
    pub(super) fn leave(mut self) -> anyhow::Result<()> {
        self.stdin = None;
        anyhow::ensure!(self.ends()?, "openssl does not end with its input");
        Ok(())
    }

    /// Whether the connection has ended.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for that.
    pub(super) fn ends(&mut self) -> anyhow::Result<bool> {
        let mut ended = Ok(false);
        wait::within_patience(|| {
            ended = self.has_ended();
            !matches!(ended, Ok(false))
        });
        ended
    }
}

/// Makes the tool write what it hears and nothing else, and take nothing that it sends for a command. It
/// then stays when its input ends.
pub(super) const QUIET: &str = "-quiet";

impl Drop for Caller {
    /// Whoever hangs up leaves without a word.
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
