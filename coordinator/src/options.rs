//! The command line of `stap-serverd`: bytes in, [`Invocation`] out.
//!
//! The grammar is getopt_long's, because start scripts of two decades use it: `--port=1`, `--port 1`,
//! `-rREL`, `-r REL`, `-kP`. An option that we do not know is named once and then ignored, so that
//! a start script written for another version still starts a server; a value that cannot be meant
//! is an error.

mod parser;
mod values;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use stap_protocol::job::ReleaseChoice;
use stap_protocol::target::Arch;

use self::parser::Parser;
use crate::dry_run::Inquiry;

/// What the caller wants from this program.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve until told to stop.
    Serve(Options),
    /// Print the targets that would be served.
    ListTargets {
        /// As for serving.
        options: Options,
        /// For machines instead of people.
        json: bool,
    },
    /// Say whether a policy can be used.
    CheckPolicy {
        /// Which.
        choice: PolicyChoice,
        /// As for serving.
        options: Options,
        /// For machines instead of people.
        json: bool,
    },
    /// Say whether a command line would be served.
    May(Inquiry),
    /// Say what this host can give, and what it cannot.
    Doctor {
        /// As for serving.
        options: Options,
        /// For machines instead of people.
        json: bool,
    },
    /// Make targets warm, as serving would do at the first need.
    Warm {
        /// As for serving.
        options: Options,
        /// For machines instead of people.
        json: bool,
    },
    /// Make a key that signs modules for hosts with Secure Boot.
    MakeSigningKey(Options),
    /// Print how to call this program.
    Help,
    /// Print which version this is.
    Version,
}

/// How to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The port to listen on; 0 lets the kernel choose.
    pub port: u16,
    /// The server's certificate database, when it is not the documented one.
    pub database: Option<PathBuf>,
    /// A file to append log lines to, instead of stderr.
    pub log: Option<PathBuf>,
    /// The architecture served, when it is not this host's.
    pub arch: Option<Arch>,
    /// The kernels served; empty means all that are found.
    pub releases: Vec<ReleaseChoice>,
    /// Options for every run of stap, in the order given, each with its value attached.
    pub stap_options: Vec<String>,
    /// Keep the workspaces of jobs.
    pub keep: bool,
    /// Protect the key store with a password.
    pub password: bool,
    /// Jobs at the same time, when the policy is not to decide.
    pub max_threads: Option<usize>,
    /// The largest unpacked request in bytes, when the policy is not to decide.
    pub max_request: Option<u64>,
    /// The largest packed request in bytes, when the policy is not to decide.
    pub max_compressed_request: Option<u64>,
    /// Roots to look for targets in, besides `/`.
    pub roots: Vec<PathBuf>,
    /// Limits, layers and allowed options.
    pub policy: PolicyChoice,
    /// Serve without announcing it.
    pub no_advertise: bool,
    /// A pipe that hears whether the start succeeded.
    pub ready_fd: Option<i32>,
    /// What is no option or argument that we know, in printable characters.
    pub unknown: Vec<String>,
}

/// Which policy applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyChoice {
    /// A class that comes with the program.
    Class(String),
    /// An operator's own file.
    File(PathBuf),
}

/// Why the command line cannot be meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// An option at the end of the line lacks its value.
    #[error("option {0} needs a value")]
    MissingValue(String),
    /// A value was given to an option that takes none.
    #[error("option {0} takes no value")]
    UnexpectedValue(String),
    /// An option that we do not have, where an answer depends on every one.
    #[error("'{0}' is not an option of stap-serverd; nothing was done")]
    Unknown(String),
    /// A question of somebody who waits for a server, and would never see the answer.
    #[error("{0} starts no server; its answer is printed by stap-serverd {0}")]
    NotServing(&'static str),
    /// `--may` without a command line.
    #[error("--may needs a command line behind '--': stap-serverd --may -- stap -e SCRIPT")]
    NoCommandLine,
    /// The value is not what the option takes.
    #[error("{option}: '{}' is not {expected}", value.escape_debug())]
    BadValue {
        /// As it is documented.
        option: String,
        /// As it was given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
}

impl Default for PolicyChoice {
    fn default() -> Self {
        Self::Class("shared-host".to_owned())
    }
}

impl PolicyChoice {
    /// A name without a slash or dot is a class; everything else is a file.
    fn from_value(value: OsString) -> Self {
        let is_class = |text: &&str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match value.to_str().filter(is_class) {
            Some(class) => Self::Class(class.to_owned()),
            None => Self::File(value.into()),
        }
    }
}

impl Invocation {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// When a value is missing or cannot be meant.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, OptionError> {
        Parser::of(arguments.into_iter().collect()).parse()
    }

    /// Whether the arguments ask a question to which the exit status is an answer; a mistake in them
    /// has a status of its own then.
    #[must_use]
    pub fn is_question(arguments: &[OsString]) -> bool {
        let options = arguments.iter().take_while(|argument| *argument != "--");
        let mut names = options.map(|option| option.as_bytes().split(|byte| *byte == b'='));
        names.any(|mut parts| {
            let name = parts.next().unwrap_or_default();
            matches!(name, b"--doctor" | b"--may" | b"--check-policy" | b"--warm")
        })
    }
}

/// What `--help` prints.
pub const HELP: &str = include_str!("options/help.txt");

#[cfg(test)]
mod tests;
