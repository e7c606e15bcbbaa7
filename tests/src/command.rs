//! Running a program as somebody: arguments, a clean environment and a deadline.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::finished::Finished;
use crate::host::Host;
use crate::wait;

/// How long a command may take before the test fails with its name and what it said.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long the output may stay open behind it; whoever does not close it has it open for much longer.
const LETTING_GO: Duration = Duration::from_secs(10);

/// A command that has not been started.
#[derive(Debug)]
pub struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    identity: Option<u32>,
    directory: PathBuf,
    input: Option<Vec<u8>>,
    own_group: bool,
    deadline: Duration,
    host: Option<Host>,
}

impl Invocation {
    /// A command in `/` with an empty environment and nothing on stdin.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            identity: None,
            directory: PathBuf::from("/"),
            input: None,
            own_group: false,
            deadline: DEADLINE,
            host: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    /// Sets one variable; the last one of a name counts.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable away.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    /// Runs it with this user and group id and no other group.
    #[must_use]
    pub fn identity(mut self, id: u32) -> Self {
        self.identity = Some(id);
        self
    }

    /// Runs it on a host of the lab.
    #[must_use]
    pub fn on(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Runs it in a directory.
    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        directory.as_ref().clone_into(&mut self.directory);
        self
    }

    /// Gives it this on stdin.
    #[must_use]
    pub fn input(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = Some(input.as_ref().to_owned());
        self
    }

    /// Makes it the leader of a process group, so that the group can be signalled like a terminal's.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// Replaces [`DEADLINE`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(self) -> Running {
        let line = self.line();
        let mut command = self.command();
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.stdin(if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        if self.own_group {
            command.process_group(0);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting {line}: {error}"));
        if let Some(input) = self.input {
            feed(&mut child, &input);
        }
        Running {
            stdout: Stream::of(child.stdout.take().expect("stdout was piped")),
            stderr: Stream::of(child.stderr.take().expect("stderr was piped")),
            deadline: Instant::now() + wait::patient(self.deadline),
            child,
            line,
        }
    }

    /// The program where and as whom it is to run, still without its arguments.
    fn command(&self) -> Command {
        let host = self.host.as_ref();
        let entrance = host.and_then(|host| host.entrance(self.identity, &self.directory));
        if let Some([enter, options @ ..]) = entrance.as_deref() {
            let mut command = Command::new(enter);
            command.args(options).arg(&self.program);
            return command;
        }
        let mut command = Command::new(&self.program);
        command.current_dir(&self.directory);
        if let Some(id) = self.identity {
            command.uid(id).gid(id);
        }
        command
    }

    /// What a person would type, for messages.
    fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        words
            .map(|word| format!("{}", word.display()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Writes all of a small input. A child that does not read it has ended, which the test will see.
fn feed(child: &mut Child, input: &[u8]) {
    let mut stdin = child.stdin.take().expect("stdin was piped");
    if let Err(error) = stdin.write_all(input) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::BrokenPipe,
            "writing to stdin: {error}"
        );
    }
}

/// A command that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Stream,
    stderr: Stream,
    deadline: Instant,
    line: String,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids are positive integers")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.raw_pid(), signal).expect("it runs, and we are root");
    }

    /// Sends its process group a signal, as a terminal would.
    ///
    /// # Panics
    /// When the group has ended.
    pub fn signal_group(&self, signal: Signal) {
        rustix::process::kill_process_group(self.raw_pid(), signal)
            .expect("it leads a group, and we are root");
    }

    /// Waits until it has written this on stdout; what it wrote is still in [`Finished::stdout`].
    pub fn wait_for_stdout(&mut self, text: &str) {
        let stdout = &mut self.stdout;
        wait::until_true(&format!("{} writes {text:?}", self.line), || {
            stdout.contains(text)
        });
    }

    /// Waits until it has written this on stderr; what it wrote is still in [`Finished::stderr`].
    pub fn wait_for_stderr(&mut self, text: &str) {
        let stderr = &mut self.stderr;
        wait::until_true(&format!("{} says {text:?}", self.line), || {
            stderr.contains(text)
        });
    }

    /// Waits for its end, and for the end of everything that holds its output.
    ///
    /// # Panics
    /// When the deadline passes first.
    pub fn finish(mut self) -> Finished {
        let ended = self.wait_for_exit();
        // Who holds the pipes after the program's end lets a `$(...)` hang; what ends with it may need a moment.
        let grace = if ended {
            wait::patient(LETTING_GO)
        } else {
            Duration::ZERO
        };
        let closed = self.stdout.read_to_end(grace) && self.stderr.read_to_end(grace);
        let status = self.child.wait().expect("it is our child");
        let finished = Finished::new(self.line, status, self.stdout.bytes, self.stderr.bytes);
        assert!(ended, "{finished}\n(killed: its deadline had passed)");
        assert!(
            closed,
            "{finished}\n(it ended, but something it started still holds its output)"
        );
        finished
    }

    /// Waits for the end until the deadline, then kills.
    fn wait_for_exit(&mut self) -> bool {
        let pidfd = rustix::process::pidfd_open(self.raw_pid(), PidfdFlags::empty())
            .expect("an unreaped child has a pid");
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("deadlines are short");
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
        if matches!(ended, Ok(1)) {
            return true;
        }
        self.child.kill().expect("it is our child");
        false
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(self.pid()).expect("pids are positive integers")
    }
}

/// One output of a running command, collected by a thread.
#[derive(Debug)]
struct Stream {
    pieces: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Stream {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, pieces) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            pieces,
            bytes: Vec::new(),
        }
    }

    fn contains(&mut self, text: &str) -> bool {
        self.bytes.extend(self.pieces.try_iter().flatten());
        String::from_utf8_lossy(&self.bytes).contains(text)
    }

    /// Returns whether the end came within the grace.
    fn read_to_end(&mut self, grace: Duration) -> bool {
        loop {
            match self.pieces.recv_timeout(grace) {
                Ok(piece) => self.bytes.extend(piece),
                Err(end) => return end == std::sync::mpsc::RecvTimeoutError::Disconnected,
            }
        }
    }
}
