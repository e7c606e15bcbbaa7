//! The command line of `stap-server`: an action, and any number of servers.
//!
//! A server is begun by the first option that concerns it, and by `-n` or `-p` after one that was begun so; the
//! options behind it are its own. `--log` and its kind are dealt out instead: the first value is for
//! the first server, the second for the second.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::settings::{Kind, Setting, Settings};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    /// Restart, but only what runs.
    CondRestart,
    ForceReload,
    Status,
    /// Not supported, and said so.
    Reload,
    /// Also for whatever is no action.
    Usage,
}

/// How a server is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Identity {
    /// By its settings alone.
    #[default]
    Settings,
    Nickname(String),
    Pid(u32),
}

/// One server as the command line tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) identity: Identity,
    /// What differs from the server of that identity.
    pub(super) changes: Settings,
}

/// The whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) action: Action,
    /// More global configuration, read in this order after the default one.
    pub(super) configurations: Vec<PathBuf>,
    pub(super) servers: Vec<Description>,
}

/// Why a command line cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentError {
    #[error("unknown option '{}'", .0.escape_debug())]
    Unknown(String),
    #[error("option {0} needs a value")]
    MissingValue(&'static str),
    #[error("'{}' is not text, or holds a line break or a NUL", .0.escape_debug())]
    NotText(String),
    #[error("-p takes a process id, not '{}'", .0.escape_debug())]
    NotAPid(String),
    #[error("more than {MAX_SERVERS} servers or {MAX_ARGUMENTS} arguments")]
    TooMany,
    #[error("{option} has more values than there are servers")]
    LeftOver { option: &'static str },
}

impl CommandLine {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// The first thing that cannot be meant.
    pub(super) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, ArgumentError> {
        let mut words = Vec::new();
        for argument in arguments {
            if words.len() == MAX_ARGUMENTS {
                return Err(ArgumentError::TooMany);
            }
            words.push(text(argument)?);
        }
        let mut words = words.into_iter();
        let action = Action::named(words.next().as_deref());
        let mut parser = Parser {
            words,
            configurations: Vec::new(),
            servers: Vec::new(),
            dealt: Vec::new(),
        };
        if action != Action::Usage {
            parser.options()?;
        }
        parser.deal()?;
        Ok(Self {
            action,
            configurations: parser.configurations,
            servers: parser.servers,
        })
    }
}

impl Action {
    fn named(word: Option<&str>) -> Self {
        match word {
            Some("start") => Self::Start,
            Some("stop") => Self::Stop,
            Some("restart") => Self::Restart,
            Some("condrestart" | "try-restart") => Self::CondRestart,
            Some("force-reload") => Self::ForceReload,
            Some("status") => Self::Status,
            Some("reload") => Self::Reload,
            _ => Self::Usage,
        }
    }
}

struct Parser {
    words: std::vec::IntoIter<String>,
    configurations: Vec<PathBuf>,
    servers: Vec<Description>,
    dealt: Vec<(Setting, Vec<String>)>,
}

impl Parser {
    fn options(&mut self) -> Result<(), ArgumentError> {
        while let Some(word) = self.words.next() {
            let (option, attached) = split(&word);
            match option {
                "-c" => {
                    let file = self.value("-c", attached)?;
                    self.configurations.push(file.into());
                }
                "-p" => {
                    let pid = self.value("-p", attached)?;
                    let pid = pid
                        .parse()
                        .map_err(|_no_number| ArgumentError::NotAPid(pid))?;
                    self.identify(Identity::Pid(pid))?;
                }
                "-n" => {
                    let nickname = self.value("-n", attached)?;
                    self.identify(Identity::Nickname(nickname))?;
                }
                other => self.setting(other, attached, &word)?,
            }
        }
        Ok(())
    }

    fn setting(
        &mut self,
        option: &str,
        attached: Option<String>,
        word: &str,
    ) -> Result<(), ArgumentError> {
        let unknown = || ArgumentError::Unknown(word.to_owned());
        let setting = Setting::of_option(option).ok_or_else(unknown)?;
        let value = match setting.kind() {
            Kind::Flag if attached.is_some() => return Err(unknown()),
            Kind::Flag => "yes".to_owned(),
            _ => self.value(setting.option(), attached)?,
        };
        if setting.is_dealt_out() {
            match self.dealt.iter_mut().find(|(dealt, _)| *dealt == setting) {
                Some((_, values)) => values.push(value),
                None => self.dealt.push((setting, vec![value])),
            }
            return Ok(());
        }
        if self.servers.is_empty() {
            self.begin(Identity::default())?;
        }
        if let Some(server) = self.servers.last_mut() {
            server.changes.add(setting, value);
        }
        Ok(())
    }

    /// Names the server that was begun without a name, or begins another.
    fn identify(&mut self, identity: Identity) -> Result<(), ArgumentError> {
        match self.servers.last_mut() {
            Some(server) if server.identity == Identity::Settings => {
                server.identity = identity;
                Ok(())
            }
            _ => self.begin(identity),
        }
    }

    fn begin(&mut self, identity: Identity) -> Result<(), ArgumentError> {
        if self.servers.len() == MAX_SERVERS {
            return Err(ArgumentError::TooMany);
        }
        self.servers.push(Description {
            identity,
            changes: Settings::default(),
        });
        Ok(())
    }

    fn deal(&mut self) -> Result<(), ArgumentError> {
        if self.servers.is_empty() && !self.dealt.is_empty() {
            self.begin(Identity::default())?;
        }
        for (setting, values) in std::mem::take(&mut self.dealt) {
            if values.len() > self.servers.len() {
                let option = setting.option();
                return Err(ArgumentError::LeftOver { option });
            }
            for (server, value) in self.servers.iter_mut().zip(values) {
                server.changes.add(setting, value);
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        option: &'static str,
        attached: Option<String>,
    ) -> Result<String, ArgumentError> {
        attached
            .or_else(|| self.words.next())
            .filter(|value| !value.is_empty())
            .ok_or(ArgumentError::MissingValue(option))
    }
}

/// `--port=1` and `-p1` into option and value.
fn split(word: &str) -> (&str, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word, None),
        };
    }
    match word.split_at_checked(2) {
        Some((option, value)) if option.starts_with('-') && !value.is_empty() => {
            (option, Some(value.to_owned()))
        }
        _ => (word, None),
    }
}

/// Values end up in files that have one line for each.
fn text(argument: OsString) -> Result<String, ArgumentError> {
    let text = String::from_utf8(argument.into_vec());
    let text = text.map_err(|error| {
        ArgumentError::NotText(String::from_utf8_lossy(error.as_bytes()).into_owned())
    })?;
    if text.contains(['\n', '\r', '\0']) {
        return Err(ArgumentError::NotText(text));
    }
    Ok(text)
}

/// One server for each kernel of a large fleet, with some options each.
const MAX_SERVERS: usize = 256;
const MAX_ARGUMENTS: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, ArgumentError> {
        CommandLine::parse(line.split_whitespace().map(OsString::from))
    }

    fn servers(line: &str) -> Vec<(Identity, String)> {
        let servers = parse(line).unwrap().servers.into_iter();
        servers
            .map(|server| (server.identity, server.changes.to_string()))
            .collect()
    }

    #[test]
    fn every_action_has_its_word_and_anything_else_asks_for_help() {
        for (word, action) in [
            ("start", Action::Start),
            ("stop", Action::Stop),
            ("restart", Action::Restart),
            ("condrestart", Action::CondRestart),
            ("try-restart", Action::CondRestart),
            ("force-reload", Action::ForceReload),
            ("status", Action::Status),
            ("reload", Action::Reload),
            ("usage", Action::Usage),
            ("dance --bogus", Action::Usage),
            ("", Action::Usage),
        ] {
            assert_eq!(parse(word).unwrap().action, action, "{word:?}");
        }
    }

    #[test]
    fn options_belong_to_the_server_in_front_of_them() {
        let nickname = |name: &str| Identity::Nickname(name.to_owned());
        assert_eq!(
            servers("start -r a -r b -n one -a x86_64 -n two -ru -p 7 -k"),
            [
                (nickname("one"), r#"-a "x86_64" -r "a" -r "b""#.to_owned()),
                (nickname("two"), r#"-r "u""#.to_owned()),
                (Identity::Pid(7), "-k".to_owned()),
            ]
        );
        assert_eq!(servers("stop"), []);
    }

    #[test]
    fn lists_are_dealt_out_in_the_order_of_the_servers() {
        let dealt = servers("start --port 1 --port=2 -n a -n b -n c --log l");
        let said: Vec<_> = dealt.iter().map(|(_, said)| said.as_str()).collect();
        assert_eq!(said, [r#"--log "l" --port "1""#, r#"--port "2""#, ""]);
        assert_eq!(
            parse("start -n a --port 1 --port 2"),
            Err(ArgumentError::LeftOver { option: "--port" })
        );
    }

    #[test]
    fn a_configuration_counts_wherever_it_stands() {
        let line = parse("status -n a -c /f -c/g").unwrap();
        assert_eq!(line.configurations, ["/f", "/g"].map(PathBuf::from));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (line, error) in [
            (
                "start --bogus",
                ArgumentError::Unknown("--bogus".to_owned()),
            ),
            ("start word", ArgumentError::Unknown("word".to_owned())),
            ("start -kx", ArgumentError::Unknown("-kx".to_owned())),
            ("start -r", ArgumentError::MissingValue("-r")),
            ("start --log=", ArgumentError::MissingValue("--log")),
            ("start -p me", ArgumentError::NotAPid("me".to_owned())),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
        let broken = CommandLine::parse(["start".into(), "-n".into(), "a\nUSER=root".into()]);
        assert!(matches!(broken, Err(ArgumentError::NotText(_))));
    }

    #[test]
    fn a_flood_of_servers_is_refused() {
        let line = format!("stop{}", " -n x".repeat(MAX_SERVERS + 1));
        assert_eq!(parse(&line), Err(ArgumentError::TooMany));
    }
}
