//! Reads one argument after the other.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use stap_protocol::target::TargetName;

use super::values::{bad_value, number, release, target};
use super::{Invocation, OptionError, Options, PolicyChoice};
use crate::dry_run::Inquiry;

/// A command line that is being read.
#[derive(Default)]
pub(super) struct Parser {
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
    Warm,
    MakeSigningKey,
    Help,
    Version,
}

impl Mode {
    /// The option that asks for it, if it is not to serve.
    const fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Serve => return None,
            Self::ListTargets => "--list-targets",
            Self::CheckPolicy(_) => "--check-policy",
            Self::May => "--may",
            Self::Doctor => "--doctor",
            Self::Warm => "--warm",
            Self::MakeSigningKey => "--make-signing-key",
            Self::Help => "--help",
            Self::Version => "--version",
        })
    }
}

impl Parser {
    /// The arguments that follow the program's name.
    pub(super) fn of(arguments: Vec<OsString>) -> Self {
        Self {
            arguments: arguments.into_iter(),
            ..Self::default()
        }
    }

    /// Reads them all.
    pub(super) fn parse(mut self) -> Result<Invocation, OptionError> {
        self.positional_form()?;
        while let Some(argument) = self.arguments.next() {
            self.argument(&argument)?;
        }
        self.finish()
    }

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
            b"warm" => |parser| parser.mode = Mode::Warm,
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
        self.options
            .unknown
            .push(argument.escape_debug().to_string());
    }

    fn finish(self) -> Result<Invocation, OptionError> {
        if let (Some(name), Some(_)) = (self.mode.name(), self.options.ready_fd) {
            return Err(OptionError::NotServing(name));
        }
        let (options, json) = (self.options, self.json);
        // A server starts without it. Whoever asks would take the answer to another question for his.
        let unknown = options.unknown.first();
        if let (false, Some(unknown)) = (matches!(self.mode, Mode::Serve), unknown) {
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
            Mode::Warm => Invocation::Warm { options, json },
            Mode::MakeSigningKey => Invocation::MakeSigningKey(options),
            Mode::Help => Invocation::Help,
            Mode::Version => Invocation::Version,
        })
    }
}

const PORT: &str = "a port from 0 to 65535";
const BYTES: &str = "a number of bytes of at least 1";
