//! The command line of `stap-serverd`: bytes in, [`Invocation`] out.
//!
//! The grammar is getopt_long's, because start scripts of two decades use it: `--port=1`, `--port 1`,
//! `-rREL`, `-r REL`, `-kP`. An option that we do not know is named once and then ignored, so that
//! a start script written for another version still starts a server; a value that cannot be meant
//! is an error.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use stap_protocol::job::ReleaseChoice;
use stap_protocol::target::{Arch, KernelRelease, TargetName};

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
    /// What was said about options that are not known, for stderr and the log.
    pub diagnostics: Vec<String>,
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
    #[error("{0}")]
    Unknown(String),
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
        let mut parser = Parser {
            arguments: arguments.into_iter().collect::<Vec<_>>().into_iter(),
            ..Parser::default()
        };
        parser.positional_form()?;
        while let Some(argument) = parser.arguments.next() {
            parser.argument(&argument)?;
        }
        parser.finish()
    }

    /// Whether the arguments ask a question to which the exit status is an answer; a mistake in them
    /// has a status of its own then.
    #[must_use]
    pub fn is_question(arguments: &[OsString]) -> bool {
        let options = arguments.iter().take_while(|argument| *argument != "--");
        let mut names = options.map(|option| option.as_bytes().split(|byte| *byte == b'='));
        names.any(|mut parts| {
            let name = parts.next().unwrap_or_default();
            matches!(name, b"--doctor" | b"--may" | b"--check-policy")
        })
    }
}

#[derive(Default)]
struct Parser {
    arguments: std::vec::IntoIter<OsString>,
    options: Options,
    mode: Mode,
    json: bool,
    target: Option<TargetName>,
    peer: Option<IpAddr>,
    /// What stands behind `--`.
    command: Vec<Vec<u8>>,
}

#[derive(Default)]
enum Mode {
    #[default]
    Serve,
    ListTargets,
    CheckPolicy(PolicyChoice),
    May,
    Doctor,
    MakeSigningKey,
    Help,
    Version,
}

impl Parser {
    /// The form of 2009: `PORT [DBDIR]`.
    fn positional_form(&mut self) -> Result<(), OptionError> {
        let is_number =
            |text: &OsString| !text.is_empty() && text.as_bytes().iter().all(u8::is_ascii_digit);
        if let Some(port) = self
            .arguments
            .as_slice()
            .first()
            .filter(|first| is_number(first))
            .cloned()
        {
            self.arguments.next();
            self.options.port = number("PORT", &port, PORT)?;
            if let Some(directory) = self
                .arguments
                .as_slice()
                .first()
                .filter(|next| !next.as_bytes().starts_with(b"-"))
                .cloned()
            {
                self.arguments.next();
                self.options.database = Some(directory.into());
            }
        }
        Ok(())
    }

    fn argument(&mut self, argument: &OsStr) -> Result<(), OptionError> {
        match argument.as_bytes() {
            b"--" if matches!(self.mode, Mode::May) => {
                let command = self.arguments.by_ref();
                self.command = command.map(OsString::into_vec).collect();
            }
            b"--" => {}
            [b'-', b'-', long @ ..] => self.long(long)?,
            [b'-', short @ ..] if !short.is_empty() => self.short(short)?,
            other => self.ignore(other),
        }
        Ok(())
    }

    fn long(&mut self, argument: &[u8]) -> Result<(), OptionError> {
        let mut parts = argument.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let attached = parts.next().map(|value| OsString::from_vec(value.to_vec()));
        let option = format!("--{}", String::from_utf8_lossy(name));
        match name {
            b"port" => self.options.port = number(&option, &self.value(&option, attached)?, PORT)?,
            b"ssl" => self.options.database = Some(self.value(&option, attached)?.into()),
            b"log" => self.options.log = Some(self.value(&option, attached)?.into()),
            b"max-threads" => {
                self.options.max_threads = Some(number(
                    &option,
                    &self.value(&option, attached)?,
                    "a number of jobs",
                )?);
            }
            b"max-request-size" => self.options.max_request = Some(self.size(&option, attached)?),
            b"max-compressed-request" => {
                self.options.max_compressed_request = Some(self.size(&option, attached)?);
            }
            b"root" => {
                let root = self.value(&option, attached)?;
                self.options.roots.push(root.into());
            }
            b"policy" => {
                self.options.policy = PolicyChoice::from_value(self.value(&option, attached)?);
            }
            b"check-policy" => {
                self.mode =
                    Mode::CheckPolicy(PolicyChoice::from_value(self.value(&option, attached)?));
            }
            b"target" => {
                let value = self.value(&option, attached)?;
                self.target = Some(target(&option, &value)?);
            }
            b"peer" => {
                let value = self.value(&option, attached)?;
                self.peer = Some(number(&option, &value, "an IP address")?);
            }
            b"ready-fd" => {
                self.options.ready_fd = Some(number(
                    &option,
                    &self.value(&option, attached)?,
                    "a descriptor",
                )?);
            }
            _ => self.long_flag(name, &option, attached.as_deref(), argument)?,
        }
        Ok(())
    }

    /// What takes no value.
    fn long_flag(
        &mut self,
        name: &[u8],
        option: &str,
        attached: Option<&OsStr>,
        argument: &[u8],
    ) -> Result<(), OptionError> {
        let set: fn(&mut Self) = match name {
            b"may" => |parser| parser.mode = Mode::May,
            b"doctor" => |parser| parser.mode = Mode::Doctor,
            b"no-advertise" => |parser| parser.options.no_advertise = true,
            b"list-targets" => |parser| parser.mode = Mode::ListTargets,
            b"make-signing-key" => |parser| parser.mode = Mode::MakeSigningKey,
            b"json" => |parser| parser.json = true,
            b"help" => |parser| parser.mode = Mode::Help,
            b"version" => |parser| parser.mode = Mode::Version,
            _ => {
                self.ignore(&[b"--", argument].concat());
                return Ok(());
            }
        };
        self.flag(option, attached, set)
    }

    /// A bundle of short options; the first that takes a value takes the rest of the bundle.
    fn short(&mut self, bundle: &[u8]) -> Result<(), OptionError> {
        for (place, letter) in bundle.iter().enumerate() {
            match letter {
                b'k' => self.options.keep = true,
                b'P' => self.options.password = true,
                b'h' => self.mode = Mode::Help,
                b'V' => self.mode = Mode::Version,
                b'a' | b'r' | b'B' | b'D' | b'I' | b'R' => {
                    let option = format!("-{}", char::from(*letter));
                    let rest = bundle.get(place + 1..).filter(|rest| !rest.is_empty());
                    let value =
                        self.value(&option, rest.map(|rest| OsString::from_vec(rest.to_vec())))?;
                    return self.short_with_value(*letter, &option, value);
                }
                _ => self.ignore(&[b'-', *letter]),
            }
        }
        Ok(())
    }

    fn short_with_value(
        &mut self,
        letter: u8,
        option: &str,
        value: OsString,
    ) -> Result<(), OptionError> {
        match letter {
            b'a' => {
                let bad = bad_value(option, &value, "an architecture");
                self.options.arch = Some(
                    value
                        .to_str()
                        .and_then(|text| text.parse().ok())
                        .ok_or(bad)?,
                );
            }
            b'r' => self.options.releases.push(release(option, value)?),
            _ => {
                let bad = bad_value(option, &value, "text");
                let value = value.into_string().map_err(|_not_utf8| bad)?;
                self.options.stap_options.push(format!("{option}{value}"));
            }
        }
        Ok(())
    }

    fn value(&mut self, option: &str, attached: Option<OsString>) -> Result<OsString, OptionError> {
        attached
            .or_else(|| self.arguments.next())
            .filter(|value| !value.is_empty())
            .ok_or_else(|| OptionError::MissingValue(option.to_owned()))
    }

    fn size(&mut self, option: &str, attached: Option<OsString>) -> Result<u64, OptionError> {
        let value = self.value(option, attached)?;
        match number(option, &value, BYTES)? {
            0 => Err(bad_value(option, &value, BYTES)),
            bytes => Ok(bytes),
        }
    }

    fn flag(
        &mut self,
        option: &str,
        attached: Option<&OsStr>,
        set: impl FnOnce(&mut Self),
    ) -> Result<(), OptionError> {
        if attached.is_some() {
            return Err(OptionError::UnexpectedValue(option.to_owned()));
        }
        set(self);
        Ok(())
    }

    fn ignore(&mut self, argument: &[u8]) {
        let argument = String::from_utf8_lossy(argument);
        self.options.diagnostics.push(format!(
            "ignoring '{}', which is not an option of stap-serverd",
            argument.escape_debug()
        ));
    }

    fn finish(self) -> Result<Invocation, OptionError> {
        let (options, json) = (self.options, self.json);
        // Whoever asks would take the answer to another question for his.
        let unknown = options.diagnostics.first();
        if let (Mode::CheckPolicy(_) | Mode::May | Mode::Doctor, Some(unknown)) =
            (&self.mode, unknown)
        {
            return Err(OptionError::Unknown(unknown.clone()));
        }
        Ok(match self.mode {
            Mode::Serve => Invocation::Serve(options),
            Mode::ListTargets => Invocation::ListTargets { options, json },
            Mode::CheckPolicy(choice) => Invocation::CheckPolicy {
                choice,
                options,
                json,
            },
            Mode::May if self.command.is_empty() => return Err(OptionError::NoCommandLine),
            Mode::May => Invocation::May(Inquiry {
                policy: options.policy,
                target: self.target,
                peer: self.peer,
                words: self.command,
                json,
            }),
            Mode::Doctor => Invocation::Doctor { options, json },
            Mode::MakeSigningKey => Invocation::MakeSigningKey(options),
            Mode::Help => Invocation::Help,
            Mode::Version => Invocation::Version,
        })
    }
}

fn number<N: std::str::FromStr>(
    option: &str,
    value: &OsStr,
    expected: &'static str,
) -> Result<N, OptionError> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| bad_value(option, value, expected))
}

/// `RELEASE:ARCH`, or a release of this host's architecture.
fn target(option: &str, value: &OsStr) -> Result<TargetName, OptionError> {
    let bad = || bad_value(option, value, "a kernel release, or RELEASE:ARCH");
    let text = value.to_str().ok_or_else(bad)?;
    let host = rustix::system::uname();
    let host = host.machine().to_string_lossy();
    let (release, arch) = text.split_once(':').unwrap_or((text, &host));
    let (release, arch) = (release.parse(), arch.parse());
    match (release, arch) {
        (Ok(release), Ok(arch)) => Ok(TargetName { release, arch }),
        _ => Err(bad()),
    }
}

/// A path is a build tree, as it is for stap's own `-r`.
fn release(option: &str, value: OsString) -> Result<ReleaseChoice, OptionError> {
    if value.as_bytes().starts_with(b"/") {
        return Ok(ReleaseChoice::BuildTree(value.into()));
    }
    let bad = bad_value(
        option,
        &value,
        "a kernel release or the path of a build tree",
    );
    let release: KernelRelease = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or(bad)?;
    Ok(ReleaseChoice::Release(release.into()))
}

fn bad_value(option: &str, value: &OsStr, expected: &'static str) -> OptionError {
    OptionError::BadValue {
        option: option.to_owned(),
        value: value.to_string_lossy().into_owned(),
        expected,
    }
}

const PORT: &str = "a port from 0 to 65535";
const BYTES: &str = "a number of bytes of at least 1";

/// What `--help` prints.
pub const HELP: &str = include_str!("options/help.txt");

#[cfg(test)]
mod tests;
