//! What one server is started with, in the three forms in which people and files write it: options,
//! `NAME=VALUE` lines, and the echo in messages.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};

/// One thing that can be said about a server.
///
/// The order is that of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting {
    Arch,
    Release,
    AllReleases,
    Root,
    Include,
    Runtime,
    Build,
    Define,
    User,
    Nickname,
    Keep,
    Password,
    Log,
    Port,
    Database,
    Policy,
    Threads,
    RequestSize,
    CompressedRequest,
}

/// How often a setting can be given, and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value; a later one takes its place.
    One,
    /// Several values.
    Many,
    /// No value on a command line, `yes` in a file.
    Flag,
}

impl Setting {
    pub(super) const ALL: [Self; 19] = [
        Self::Arch,
        Self::Release,
        Self::AllReleases,
        Self::Root,
        Self::Include,
        Self::Runtime,
        Self::Build,
        Self::Define,
        Self::User,
        Self::Nickname,
        Self::Keep,
        Self::Password,
        Self::Log,
        Self::Port,
        Self::Database,
        Self::Policy,
        Self::Threads,
        Self::RequestSize,
        Self::CompressedRequest,
    ];

    /// Its name in configuration and state files, its option, and how often it can be given.
    #[rustfmt::skip]
    const fn spelling(self) -> (&'static str, &'static str, Kind) {
        match self {
            Self::Arch              => ("ARCH",             "-a",                       Kind::One),
            Self::Release           => ("RELEASE",          "-r",                       Kind::Many),
            Self::AllReleases       => ("ALLRELEASES",      "-i",                       Kind::Flag),
            Self::Root              => ("ROOT",             "--root",                   Kind::Many),
            Self::Include           => ("INCLUDE",          "-I",                       Kind::Many),
            Self::Runtime           => ("RUNTIME",          "-R",                       Kind::One),
            Self::Build             => ("BUILD",            "-B",                       Kind::Many),
            Self::Define            => ("DEFINE",           "-D",                       Kind::Many),
            Self::User              => ("USER",             "-u",                       Kind::One),
            Self::Nickname          => ("NICKNAME",         "-n",                       Kind::One),
            Self::Keep              => ("KEEP",             "-k",                       Kind::Flag),
            Self::Password          => ("PASSWORD",         "-P",                       Kind::Flag),
            Self::Log               => ("LOG",              "--log",                    Kind::One),
            Self::Port              => ("PORT",             "--port",                   Kind::One),
            Self::Database          => ("SSL",              "--ssl",                    Kind::One),
            Self::Policy            => ("POLICY",           "--policy",                 Kind::One),
            Self::Threads           => ("MAXTHREADS",       "--max-threads",            Kind::One),
            Self::RequestSize       => ("MAXREQSIZE",       "--max-request-size",       Kind::One),
            Self::CompressedRequest => ("MAXCOMPRESSEDREQ", "--max-compressed-request", Kind::One),
        }
    }

    pub(super) const fn kind(self) -> Kind {
        self.spelling().2
    }

    pub(super) const fn option(self) -> &'static str {
        self.spelling().1
    }

    pub(super) fn of_option(option: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.option() == option)
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.spelling().0 == name)
    }

    /// Options whose first value is for the first server that is named, the second for the second,
    /// and so on.
    pub(super) const fn is_dealt_out(self) -> bool {
        matches!(
            self,
            Self::Log
                | Self::Port
                | Self::Database
                | Self::Threads
                | Self::RequestSize
                | Self::CompressedRequest
        )
    }

    /// Whether a value of it names a file, which must mean the same to a restart elsewhere.
    pub(super) fn names_a_file(self, value: &str) -> bool {
        match self {
            Self::Root | Self::Include | Self::Runtime | Self::Log | Self::Database => true,
            // Classes of policies have plain names.
            Self::Policy => value.contains('/') || value.contains('.'),
            _ => false,
        }
    }

    /// What the server program itself is not told.
    const fn is_the_managers(self) -> bool {
        matches!(self, Self::User | Self::Nickname | Self::AllReleases)
    }
}

/// All settings of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<Setting, Vec<String>>);

/// A line of a file that says nothing about a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid input, \"{}\"", .0.escape_debug())]
pub(super) struct InvalidLine(String);

impl InvalidLine {
    pub(super) fn new(line: &str) -> Self {
        Self(line.to_owned())
    }
}

impl Settings {
    pub(super) fn one(&self, setting: Setting) -> Option<&str> {
        self.0.get(&setting)?.last().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, setting: Setting) -> bool {
        self.0.contains_key(&setting)
    }

    /// Adds a value as an option does. An empty one means the default.
    pub(super) fn add(&mut self, setting: Setting, value: String) {
        if setting.kind() != Kind::Many || value.is_empty() {
            self.0.remove(&setting);
        }
        if !value.is_empty() {
            self.0.entry(setting).or_default().push(value);
        }
    }

    /// Lets `changes` take the place of what is here, a list as a whole.
    pub(super) fn change(&mut self, changes: &Self) {
        for (setting, values) in &changes.0 {
            self.0.insert(*setting, values.clone());
        }
    }

    /// The same with each value replaced.
    ///
    /// # Errors
    /// The first of `replace`.
    pub(super) fn map<E>(
        self,
        mut replace: impl FnMut(Setting, String) -> Result<String, E>,
    ) -> Result<Self, E> {
        let mut settings = Self::default();
        for (setting, values) in self.0 {
            let values = values.into_iter().map(|value| replace(setting, value));
            settings
                .0
                .insert(setting, values.collect::<Result<_, _>>()?);
        }
        Ok(settings)
    }

    pub(super) fn without(mut self, setting: Setting) -> Self {
        self.0.remove(&setting);
        self
    }

    /// Whether a server with these settings is the same as one with the others, whatever either is called.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.clone().without(Setting::Nickname) == other.clone().without(Setting::Nickname)
    }

    /// Reads a configuration or state file. `NAME=VALUE` sets, `NAME+=VALUE` adds to a list; the value is the
    /// rest of the line as it is.
    ///
    /// # Errors
    /// The first line that is neither that, nor a comment, nor empty.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidLine> {
        let mut settings = Self::default();
        for line in text.lines().filter(|line| !is_comment(line)) {
            let invalid = || InvalidLine(line.to_owned());
            let (name, value) = line.split_once('=').ok_or_else(invalid)?;
            let (name, adds) = match name.strip_suffix('+') {
                Some(name) => (name, true),
                None => (name, false),
            };
            let setting = Setting::of_name(name).ok_or_else(invalid)?;
            if adds && setting.kind() != Kind::Many {
                return Err(invalid());
            }
            if !adds {
                settings.0.remove(&setting);
            }
            match (setting.kind(), value) {
                (Kind::Flag, "yes") | (Kind::One | Kind::Many, _) => {
                    settings.add(setting, value.to_owned());
                }
                (Kind::Flag, "no" | "") => {}
                (Kind::Flag, _) => return Err(invalid()),
            }
        }
        Ok(settings)
    }

    /// The lines that [`Self::parse`] reads back.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for (setting, values) in &self.0 {
            let (name, _, kind) = setting.spelling();
            let assign = if kind == Kind::Many { "+=" } else { "=" };
            for value in values {
                writeln!(text, "{name}{assign}{value}").expect(STRING);
            }
        }
        text
    }

    /// The command line of the server program.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        for (setting, values) in self.0.iter().filter(|(one, _)| !one.is_the_managers()) {
            for value in values {
                arguments.push(setting.option().into());
                if setting.kind() != Kind::Flag {
                    arguments.push(value.into());
                }
            }
        }
        arguments
    }
}

/// As a shell would have to read it.
impl fmt::Display for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (setting, values) in &self.0 {
            for value in values {
                write!(formatter, "{between}{}", setting.option())?;
                between = " ";
                if setting.kind() != Kind::Flag {
                    write!(formatter, " {}", quoted(value))?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a line of a file is there for people only.
pub(super) fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

fn quoted(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' | '$' | '`' => quoted.extend(['\\', character]),
            // A terminal must not obey a file name.
            control if control.is_control() => quoted.extend(control.escape_default()),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

const STRING: &str = "writing to a String cannot fail";

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn settings(lines: &str) -> Settings {
        Settings::parse(lines).unwrap()
    }

    #[test]
    fn lists_grow_with_plus_and_start_anew_without() {
        let text = "RELEASE=a\nRELEASE+=b\n# comment\n\nRELEASE=c\nRELEASE+=d e\nPORT=\nLOG=/l=1\n";
        let said = settings(text).to_string();
        assert_eq!(said, r#"-r "c" -r "d e" --log "/l=1""#);
    }

    #[test]
    fn what_is_no_setting_is_named() {
        for line in [
            "ARCH",
            "ARCH+=x",
            "COLOR=red",
            " ARCH=x",
            "KEEP=perhaps",
            "=x",
        ] {
            let error = Settings::parse(&format!("PORT=1\n{line}\n")).unwrap_err();
            assert_eq!(error, InvalidLine(line.to_owned()));
        }
    }

    #[test]
    fn the_echo_can_be_given_to_a_shell() {
        let echo = settings("LOG=/a \"b\" $(c) `d` \\e\nKEEP=yes\n").to_string();
        assert_eq!(echo, r#"-k --log "/a \"b\" \$(c) \`d\` \\e""#);
    }

    #[test]
    fn the_server_is_not_told_what_concerns_the_manager() {
        let all = settings("USER=u\nNICKNAME=n\nALLRELEASES=yes\nARCH=x86_64\nPASSWORD=yes\n");
        assert_eq!(all.arguments(), ["-a", "x86_64", "-P"]);
    }

    #[test]
    fn a_name_does_not_make_another_server() {
        let named = settings("ARCH=x\nNICKNAME=n\n");
        assert!(named.is_same_server(&settings("ARCH=x\n")));
        assert!(!named.is_same_server(&settings("ARCH=y\nNICKNAME=n\n")));
    }

    fn any_settings() -> impl Strategy<Value = Settings> {
        let value = "[^\\r\\n\\u{85}\\u{2028}\\u{2029}\\x0b\\x0c]{1,20}";
        vec((select(Setting::ALL.to_vec()), value), 0..12).prop_map(|given| {
            let mut settings = Settings::default();
            for (setting, value) in given {
                let value = if setting.kind() == Kind::Flag {
                    "yes".to_owned()
                } else {
                    value
                };
                settings.add(setting, value);
            }
            settings
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(settings in any_settings()) {
            prop_assert_eq!(Settings::parse(&settings.lines()), Ok(settings));
        }
    }
}
