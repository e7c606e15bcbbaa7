//! A server under attack, and requests to it.
//!
//! Nothing here cares whose server it is: an address, a certificate, a log and a process.

use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};
use stap_protocol::job::InputFile;
use stap_protocol::reply::{Parts as Reply, Reply as Decoded, ReplyLimits};
use stap_protocol::request::{Parts, Request, SysInfo};
use stap_transport::Deadlines;
use stap_transport::client;

use super::{Against, Situation, Verdict, Who, stock};
use crate::{process, wait};

/// The program that stands in for stap.
pub const HOSTILE: &str = "hostile-stap";

/// A server that runs.
#[derive(Debug)]
pub struct Service {
    /// Whose it is.
    pub against: Against,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long an answer may take.
    pub patience: Duration,
    /// Its certificate, in DER.
    pub certificate: Vec<u8>,
    /// Its log.
    pub log: PathBuf,
    child: Child,
}

/// A server that keeps silent.
#[derive(Debug)]
pub struct NoAnswer(Duration);

/// How a server of ours is started.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// The policy's text.
    pub policy: String,
    /// More options.
    pub options: Vec<&'a str>,
    /// What replaces stap; `None` for the roots' own.
    pub stap: Option<PathBuf>,
}

impl Service {
    /// Starts a server of ours and waits until it serves.
    ///
    /// # Errors
    /// When it ends instead; its log says why.
    pub fn start(situation: &Situation, name: &str, start: &Start<'_>) -> anyhow::Result<Self> {
        let place = |file: &str| situation.scratch.join(file);
        let policy = place(&format!("{name}.toml"));
        fs::write(&policy, &start.policy)?;
        let log = place("logs").join(format!("{name}.log"));
        // An earlier server of this name listened elsewhere.
        if log.exists() {
            fs::remove_file(&log)?;
        }
        let mut command = Command::new(situation.programs.join("stap-serverd"));
        command
            .arg(format!("--log={}", log.display()))
            .arg(format!("--policy={}", policy.display()))
            .arg(format!("--ssl={}", database(situation).display()))
            .arg("--no-advertise")
            .args(&start.options)
            .env_clear()
            .env("HOME", place("home"))
            .env("TMPDIR", place("temporary"))
            .env("PATH", crate::world::PATH)
            .env("STAP_PR11197_OVERRIDE", "y")
            .env("SECRET", SECRET)
            .uid(situation.server_uid())
            .gid(situation.server_uid())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(place("logs").join(format!("{name}.err")))?);
        if let Some(stap) = &start.stap {
            command.env("SYSTEMTAP_STAP", stap);
        }
        let child = command.spawn().context("starting stap-serverd")?;
        Self::of(Against::Ours, child, log)
    }

    /// A server that was just started, once it answers.
    pub(super) fn of(against: Against, child: Child, log: PathBuf) -> anyhow::Result<Self> {
        let service = Self {
            against,
            patience: PATIENCE,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate: Vec::new(),
            log,
            child,
        };
        service.once_up()
    }

    fn once_up(mut self) -> anyhow::Result<Self> {
        let mut ended = None;
        let port = wait::until("the server listens or ends", || {
            ended = self.child.try_wait().ok()?;
            if ended.is_some() {
                return Some(0);
            }
            let said = self.said();
            let (_, port) = said.rsplit_once("Using network address [::]:")?;
            let end = port.find(|digit: char| !digit.is_ascii_digit())?;
            port[..end].parse().ok()
        });
        if let Some(status) = ended {
            bail!("the server ended with {status}: {}", self.said());
        }
        self.address.set_port(port);
        let deadlines = Deadlines::default();
        let probe = client::probe_certificate(self.address, &deadlines);
        self.certificate = runtime()?.block_on(probe)?;
        Ok(self)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process id of its worker.
    ///
    /// # Errors
    /// When it has none.
    pub fn worker(&self) -> anyhow::Result<i32> {
        let own = i32::try_from(self.pid())?;
        let mut workers = process::named("stap-worker").into_iter();
        let worker = workers.find(|worker| worker.parent == own);
        Ok(worker.context("the server has no worker")?.pid)
    }

    /// All of its log.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether a layer is in force for its jobs, by its own word.
    #[must_use]
    pub fn enforces(&self, layer: &str) -> bool {
        self.said()
            .contains(&format!("isolation: {layer} is enforced"))
    }

    /// Sends a package as it is and returns all that comes back.
    ///
    /// # Errors
    /// When there is no connection, or no complete answer.
    pub fn exchange(&self, package: &[u8]) -> anyhow::Result<Vec<u8>> {
        let trusted = [self.certificate.clone()];
        runtime()?.block_on(async {
            let deadlines = Deadlines::default();
            let stream = client::connect(self.address, None, &trusted, &deadlines).await?;
            let answer = stream.exchange(package, MAX_REPLY);
            let patience = self.patience;
            let answer = tokio::time::timeout(patience, answer).await;
            Ok(answer.map_err(|_elapsed| NoAnswer(patience))??)
        })
    }

    /// Whether it shows its certificate to whoever asks.
    #[must_use]
    pub fn answers(&self) -> bool {
        let deadlines = Deadlines::default();
        let probe = client::probe_certificate(self.address, &deadlines);
        runtime().is_ok_and(|runtime| runtime.block_on(probe).is_ok())
    }

    /// Whether its process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let pid = i32::try_from(self.child.id()).unwrap_or_default();
        process::Process::of(pid).is_some_and(|process| process.state != 'Z')
    }

    /// Sends a request for `stap ARGUMENTS` with these files, and reads the reply.
    ///
    /// # Errors
    /// When there is none that a client would accept.
    pub fn ask(&self, arguments: &[&str], files: Vec<InputFile>) -> anyhow::Result<Reply> {
        let arguments = arguments.iter().map(|word| word.as_bytes().to_vec());
        let request = self.request(arguments.collect(), files)?;
        let reply = self.exchange(&request.encode())?;
        Ok(Decoded::decode(&reply, &ReplyLimits::default())?.into_parts())
    }

    /// The same without files, for a kernel of the target root.
    ///
    /// # Errors
    /// When there is none that a client would accept.
    pub fn ask_for(&self, release: &str, arguments: &[&str]) -> anyhow::Result<Reply> {
        let arguments = arguments.iter().map(|word| word.as_bytes().to_vec());
        let request = request_for(release, arguments.collect(), Vec::new())?;
        let reply = self.exchange(&request.encode())?;
        Ok(Decoded::decode(&reply, &ReplyLimits::default())?.into_parts())
    }

    /// A request for a kernel that this server serves.
    ///
    /// # Errors
    /// When it is not one.
    pub fn request(
        &self,
        arguments: Vec<Vec<u8>>,
        files: Vec<InputFile>,
    ) -> anyhow::Result<Request> {
        match self.against {
            Against::Ours => request(arguments, files),
            Against::Stock => request_for(&stock::release(), arguments, files),
        }
    }

    /// Has a job run an attack, and hears what came of it.
    ///
    /// # Errors
    /// When there is no answer, or one that says nothing about the attack.
    pub fn attack(&self, words: &[String]) -> anyhow::Result<Verdict> {
        let reply = self.run(words)?;
        let stderr = String::from_utf8_lossy(&reply.stderr);
        said(&String::from_utf8_lossy(&reply.stdout), &stderr)
            .with_context(|| format!("rc {}, {stderr}", reply.rc))
    }

    /// Has a job run an attack.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn run(&self, words: &[String]) -> anyhow::Result<Reply> {
        // Nothing is compiled, so nothing has to be warm.
        self.ask(&["-p2", "-e", &words.join(" ")], Vec::new())
    }

    /// Has a job run an attack, and hangs up as soon as `enough` holds.
    ///
    /// # Errors
    /// When there is an answer before that.
    pub fn run_and_hang_up(
        &self,
        words: &[String],
        mut enough: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let arguments = ["-p2", "-e", &words.join(" ")].map(|word| word.as_bytes().to_vec());
        let package = request(arguments.into(), Vec::new())?.encode();
        let trusted = [self.certificate.clone()];
        runtime()?.block_on(async {
            let deadlines = Deadlines::default();
            let stream = client::connect(self.address, None, &trusted, &deadlines).await?;
            let enough = async {
                while !enough() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                answer = stream.exchange(&package, MAX_REPLY) => {
                    bail!("it was answered before: {:?}", answer.map(|bytes| bytes.len()))
                }
                () = enough => Ok(()),
            }
        })
    }

    /// Stops it as an operator does, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(rustix::process::kill_process(
            pid.context("a pid")?,
            signal,
        )?)
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no answer within {:?}", self.0)
    }
}

impl std::error::Error for NoAnswer {}

impl Drop for Service {
    /// For runs that end by a fault; whoever wants to know how it ends calls [`Service::stop`].
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// A request of this host's own kind.
///
/// # Errors
/// When it is not one.
pub fn request(arguments: Vec<Vec<u8>>, files: Vec<InputFile>) -> anyhow::Result<Request> {
    let host = rustix::system::uname();
    request_for(host.release().to_str()?, arguments, files)
}

fn request_for(
    release: &str,
    arguments: Vec<Vec<u8>>,
    files: Vec<InputFile>,
) -> anyhow::Result<Request> {
    let host = rustix::system::uname();
    let target = SysInfo {
        release: release.parse()?,
        arch: Some(host.machine().to_str()?.parse()?),
    };
    Ok(Request::new(Parts {
        files,
        ..Parts::new(target, arguments)
    })?)
}

/// What the attack says of itself, or what is said of it when it was killed.
///
/// # Errors
/// When there is no word about it.
pub fn said(stdout: &str, end: &str) -> anyhow::Result<Verdict> {
    let last = stdout.lines().last().unwrap_or_default();
    if let Some(how) = last.strip_prefix("worked: ") {
        return Ok(Verdict::Escaped {
            how: how.to_owned(),
        });
    }
    if let Some(reason) = last.strip_prefix("stopped: ") {
        return Ok(Verdict::Contained {
            reason: reason.to_owned(),
        });
    }
    let ends = ["signal", "reached the limit", "was stopped"];
    let told = |line: &&str| ends.iter().any(|word| line.contains(word));
    match end.lines().find(told) {
        Some(line) => Ok(Verdict::Contained {
            reason: line.to_owned(),
        }),
        None => bail!("it neither worked nor was it stopped: {stdout:?}, {end:?}"),
    }
}

/// The policy of a server: the strictest that its user can be held to, with the values of some keys
/// changed.
#[must_use]
pub fn policy(who: Who, changes: &[(&str, &str)]) -> String {
    let text = match who {
        Who::Root => stap_policy::builtin::STRICT,
        Who::User => stap_policy::builtin::SHARED_HOST,
    };
    let base = super::situation::UID_BASE.to_string();
    let own = ("uid-base", base.as_str());
    let changed = |line: &str| {
        let key = line.split_whitespace().next();
        let mut all = changes.iter().chain([&own]);
        let change = all.find(|(name, _)| Some(*name) == key);
        change.map_or_else(
            || line.to_owned(),
            |(name, value)| format!("{name} = {value}"),
        )
    };
    let lines: Vec<_> = text.lines().map(changed).collect();
    lines.join("\n")
}

/// The server's certificate and key.
#[must_use]
pub fn database(situation: &Situation) -> PathBuf {
    situation.scratch.join("database")
}

/// Where a server of ours keeps what is warm.
#[must_use]
pub fn warm_directory(situation: &Situation) -> PathBuf {
    match situation.who {
        Who::Root => Path::new("/var/cache/stap-server/warm").to_owned(),
        Who::User => situation.scratch.join("home/.cache/stap-server/warm"),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// In the server's environment, and in whatever else jobs must not see.
pub const SECRET: &str = "the-secret-of-the-corpus";
/// How long an answer may take on a machine that is busy with the first compile for a kernel.
const PATIENCE: Duration = Duration::from_secs(300);
const MAX_REPLY: u64 = 256 << 20;
