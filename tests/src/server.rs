//! A compile server of ours under test.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::command::Invocation;
use crate::finished::Finished;
use crate::host::Host;
use crate::lab::{Lab, User};
use crate::process::{self, Process};
use crate::wait;
use crate::world;

/// A server that was started the documented way.
#[derive(Debug)]
pub struct Server {
    /// What `stap-start-server` printed.
    pub pid: i32,
    /// Where it listens.
    pub port: u16,
    /// Its log.
    pub log: PathBuf,
}

impl Lab {
    /// Starts a server of `user` and waits until it can be found.
    pub fn serve(&self, user: User) -> Server {
        let server = self.serve_with(user, []);
        wait::until_true("the server is found", || {
            let found = user.run("stap-find-servers", ["--all"]);
            found.out().contains(&format!(" {} ", server.port))
        });
        server
    }

    /// Starts a server of `user` with more arguments. It need not be found.
    pub fn serve_with<'a>(
        &self,
        user: User,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Server {
        self.first_host().serve_with(user, arguments)
    }
}

impl Host {
    /// Starts a server of `user` there. It need not be found.
    pub fn serve_with<'a>(
        &self,
        user: User,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Server {
        let log = fresh_log(user);
        let start = self
            .command(user, "stap-start-server")
            .arg(log_option(&log))
            .args(arguments);
        Server::started(&start.run(), log)
    }
}

impl Server {
    /// What a successful `stap-start-server` with [`log_option`] has started.
    ///
    /// # Panics
    /// When it was not successful.
    #[must_use]
    pub fn started(finished: &Finished, log: PathBuf) -> Self {
        finished.exits(0);
        Self::logging(parse_pid(&finished.out()), log)
    }

    /// A server that was started otherwise and logs there, once it listens.
    ///
    /// # Panics
    /// When it does not come to that.
    #[must_use]
    pub fn logging(pid: i32, log: PathBuf) -> Self {
        let (mut port, mut said) = (None, String::new());
        wait::within_patience(|| {
            said = fs::read_to_string(&log).unwrap_or_default();
            port = port_in(&said);
            port.is_some()
        });
        let port = port.unwrap_or_else(|| panic!("the log names no port: {said}"));
        Self { pid, port, log }
    }

    /// `HOST:PORT` of this server on the lab's network.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", world::ADDRESS, self.port)
    }

    /// Its entry in the process table.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::of(self.pid)
            .unwrap_or_else(|| panic!("server {} has ended:\n{}", self.pid, self.said()))
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Process::of(self.pid).is_some_and(|process| process.state != 'Z')
    }

    /// All of its log.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log contains a text, and returns the line.
    pub fn logs(&self, text: &str) -> String {
        wait::until(&format!("{} says {text:?}", self.log.display()), || {
            self.said()
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
    }

    /// Stops it and waits for its end.
    pub fn stop(&self) {
        process::signal(self.pid, Signal::TERM);
        wait::until_true("the server has ended", || !self.is_alive());
    }

    /// Ids of the requests that it has received, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let said = self.said();
        let mut ids: Vec<&str> = Vec::new();
        for id in said.lines().filter_map(request_id) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().map(str::to_owned).collect()
    }
}

/// Parses what `stap-start-server` prints.
///
/// # Panics
/// When it is not one line with one decimal number.
pub fn parse_pid(printed: &str) -> i32 {
    let line = printed
        .strip_suffix('\n')
        .unwrap_or_else(|| panic!("{printed:?} is not a line"));
    assert!(
        !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()),
        "{printed:?} is no pid"
    );
    line.parse().expect("pids fit")
}

/// A log file that only `user` can write and that does not exist yet.
#[must_use]
pub fn fresh_log(user: User) -> PathBuf {
    let notes = Path::new(world::NOTES).join(user.name);
    let free = (0..).map(|number| notes.join(format!("server-{number}.log")));
    let path = free
        .into_iter()
        .find(|path| !path.exists())
        .expect("numbers do not end");
    fs::write(&path, "").expect("root may write everywhere");
    std::os::unix::fs::chown(&path, Some(user.id), Some(user.id)).expect("we are root");
    path
}

/// The option that makes a server write to a log.
#[must_use]
pub fn log_option(log: &Path) -> String {
    format!("--log={}", log.display())
}

/// A command that starts a server in the foreground, as our own child.
#[must_use]
pub fn foreground(user: User, log: &Path) -> Invocation {
    user.command("stap-serverd").arg(log_option(log))
}

/// What is not a whole line yet may lack the last digits.
fn port_in(log: &str) -> Option<u16> {
    let (whole, _) = log.rsplit_once('\n')?;
    let line = whole
        .lines()
        .rev()
        .find_map(|line| line.split_once("Using network address [::]:"))?;
    line.1
        .split(|other: char| !other.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The name of the request that a line is about: `[<start>-<number>]` behind the time.
fn request_id(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(": [")?;
    let (id, _) = rest.split_once(']')?;
    let (start, number) = id.split_once('-')?;
    let are = |text: &str, digit: fn(&u8) -> bool| {
        !text.is_empty() && text.bytes().all(|byte| digit(&byte))
    };
    (are(start, u8::is_ascii_hexdigit) && are(number, u8::is_ascii_digit)).then_some(id)
}
