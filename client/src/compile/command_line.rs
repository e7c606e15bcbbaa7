//! What a command line asks for: what is the client's own, what is packaged, what is sent, and what
//! `staprun` is told.
//!
//! The grammar is stap's, in `stap_protocol::options`; here its words get their meaning. Nothing is
//! looked up or opened.

mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use stap_protocol::options::{CommandLine, Item, KEPT_BY_CLIENTS, OptionError, Order, parse_with};
use stap_protocol::target::{Arch, TargetNameError, TargetPattern};

use self::values::{MAX_PID, color, global, last_pass, os, pass_5_digit, pattern, within};
use super::staprun::{RunOptions, Runtime};
use crate::server_spec::{ServerSpec, ServerSpecError};

/// What the words after the program's name ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// `-h`, `--help`.
    Help,
    /// `-V`, `--version`.
    Version,
    /// `--list-servers`, `--trust-servers`: nothing is compiled.
    Servers(Box<Plan>),
    /// Everything else.
    Compile(Box<Plan>),
}

/// A compile, and perhaps a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// `--server=`, in order.
    pub(crate) servers: Vec<ServerSpec>,
    /// `--ssl=`, in order.
    pub(crate) databases: Vec<PathBuf>,
    /// The words behind `--list-servers`.
    pub(crate) list_servers: Option<String>,
    /// The words behind `--trust-servers`.
    pub(crate) trust_servers: Option<String>,
    /// The last pass that is wanted.
    pub(crate) last_pass: LastPass,
    /// Where the script comes from.
    pub(crate) script: Script,
    /// `-I DIR`, in order.
    pub(crate) tapsets: Vec<PathBuf>,
    /// Options that go to the server as they are, one word each.
    pub(crate) forwarded: Vec<Vec<u8>>,
    /// Options that are not sent although a module would be another one with them.
    pub(crate) left_out: Vec<String>,
    /// What the script is given.
    pub(crate) script_arguments: Vec<Vec<u8>>,
    /// `-r`, each value once: a release, `RELEASE:ARCH`, or a build tree.
    pub(crate) releases: Vec<OsString>,
    /// `--targets`, in order.
    pub(crate) patterns: Vec<TargetPattern>,
    /// `--json`.
    pub(crate) json: bool,
    /// `-a`, the last one.
    pub(crate) arch: Option<Arch>,
    /// `-m`, without `.ko`.
    pub(crate) module_name: Option<String>,
    /// How often `-v` was given.
    pub(crate) verbosity: usize,
    /// `--privilege`, `--unprivileged`.
    pub(crate) names_privilege: bool,
    /// `-k`.
    pub(crate) keep: bool,
    /// What `staprun` is told.
    pub(crate) run: RunOptions,
}

/// Where a script comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Script {
    /// Nowhere: a listing, or a mistake that the server's stap explains.
    #[default]
    None,
    /// `-e TEXT`, which is one of the forwarded options.
    Inline,
    /// A file.
    File(PathBuf),
    /// `-`.
    StandardInput,
}

/// The last pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LastPass {
    /// Pass 1, 2 or 3: text.
    Text,
    /// Pass 4: a module.
    Module,
    /// Pass 5: a module that is run.
    #[default]
    Run,
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandLineError {
    #[error(transparent)]
    Grammar(#[from] OptionError),
    #[error(transparent)]
    Server(#[from] ServerSpecError),
    #[error("Missing argument to {0}")]
    Missing(String),
    #[error("Invalid pass number (should be 1-5).")]
    Pass,
    #[error("Invalid buffer size (should be 1-4095).")]
    Buffer,
    #[error("Invalid target process ID number.")]
    Target,
    #[error("You can't specify -c and -x together.")]
    CommandAndTarget,
    #[error("Invalid module name (must only be composed of characters [_a-zA-Z0-9]).")]
    ModuleName,
    #[error("Invalid argument '{0}' to -G: it should be NAME=VALUE.")]
    Global(String),
    #[error("Invalid argument '{0}' to --color: it should be always, auto or never.")]
    Color(String),
    #[error(
        "Invalid argument '{0}' to --targets: {1}.\n\
         It should be RELEASE[:ARCH], in which * and ? stand for any text and one character."
    )]
    Targets(String, #[source] TargetNameError),
    #[error("Invalid argument to -a: {0}.")]
    Arch(#[from] TargetNameError),
    #[error(
        "-R cannot be used with a compile server\n\
         A runtime is C code that the server would compile; leave -R out, or use stap itself"
    )]
    Runtime,
    #[error(
        "{0} cannot be used with the bpf runtime\n\
         stapbpf, which runs the result, has nothing like it; leave it out, or build a kernel module"
    )]
    NotWithBpf(&'static str),
    #[error("{0} is not supported by stap-client\nUse stap itself for it")]
    Unsupported(String),
}

impl Question {
    /// Reads the words after the program's name.
    pub(crate) fn parse(words: &[Vec<u8>], order: Order) -> Result<Self, CommandLineError> {
        let line = parse_with(words, order, &OWN)?;
        let is_help = |item: &Item| is_option(item, 'h', "help");
        let is_version = |item: &Item| is_option(item, 'V', "version");
        match line
            .options()
            .find(|item| is_help(item) || is_version(item))
        {
            Some(item) if is_help(item) => Ok(Self::Help),
            Some(_) => Ok(Self::Version),
            None => {
                let plan = Box::new(Plan::of(&line)?);
                Ok(
                    match plan.list_servers.is_some() || plan.trust_servers.is_some() {
                        true => Self::Servers(plan),
                        false => Self::Compile(plan),
                    },
                )
            }
        }
    }
}

impl Plan {
    /// Whether there is one result for each of several targets.
    pub(crate) fn is_for_several(&self) -> bool {
        self.json || !self.patterns.is_empty() || self.releases.len() > 1
    }

    fn of(line: &CommandLine) -> Result<Self, CommandLineError> {
        let mut plan = Self::default();
        for item in line.options() {
            plan.take(item)?;
        }
        if plan.run.command.is_some() && plan.run.target.is_some() {
            return Err(CommandLineError::CommandAndTarget);
        }
        if plan.run.runtime == Runtime::Bpf
            && let Some(option) = plan.run.unknown_to_stapbpf()
        {
            return Err(CommandLineError::NotWithBpf(option));
        }
        let lists = line.options().any(is_listing);
        if lists {
            plan.last_pass = LastPass::Text;
        }
        plan.place_operands(line, lists);
        Ok(plan)
    }

    /// The first operand is the script, unless the script is given in another way, anywhere.
    fn place_operands(&mut self, line: &CommandLine, lists: bool) {
        let mut operands = line.operands().map(<[u8]>::to_vec);
        self.script = if line.has_short('e') {
            Script::Inline
        } else if lists {
            Script::None
        } else {
            match operands.next() {
                None => Script::None,
                Some(word) if word == b"-" => Script::StandardInput,
                Some(word) => Script::File(os(&word).into()),
            }
        };
        self.script_arguments = operands.collect();
    }

    fn take(&mut self, item: &Item) -> Result<(), CommandLineError> {
        match item {
            Item::Short { letter, value } => self.take_short(*letter, value.as_deref(), item),
            Item::Long { name, value } => self.take_long(name, value.as_deref(), item),
            Item::Unknown(word) => self.take_unknown(word),
            Item::Operand(_) => Ok(()),
        }
    }

    fn take_short(
        &mut self,
        letter: char,
        value: Option<&[u8]>,
        item: &Item,
    ) -> Result<(), CommandLineError> {
        // stap would take an empty value for a script, a file or a number, and none of them can be.
        if value.is_some_and(<[u8]>::is_empty) {
            return Err(CommandLineError::Missing(format!("-{letter}")));
        }
        let value = value.unwrap_or_default();
        match letter {
            // These stay here.
            'I' => {
                self.tapsets.push(os(value).into());
                return Ok(());
            }
            'r' => {
                if !self.releases.contains(&os(value)) {
                    self.releases.push(os(value));
                }
                return Ok(());
            }
            'G' => {
                self.run.globals.push(global(value)?);
                return Ok(());
            }
            'k' => {
                self.keep = true;
                return Ok(());
            }
            'R' => return Err(CommandLineError::Runtime),
            'i' => return Err(CommandLineError::Unsupported("-i".to_owned())),
            // These have a meaning here and are sent too.
            'p' => self.last_pass = last_pass(value)?,
            'a' => self.arch = Some(String::from_utf8_lossy(value).parse()?),
            'm' => self.name_module(value)?,
            'v' => {
                self.verbosity += 1;
                self.run.verbosity += 1;
            }
            'w' => self.run.no_warnings = true,
            'o' => self.run.output = Some(os(value)),
            'c' => self.run.command = Some(os(value)),
            'x' => self.run.target = Some(within(value, 1..=MAX_PID, CommandLineError::Target)?),
            's' => self.run.buffer = Some(within(value, 1..=4095, CommandLineError::Buffer)?),
            'F' => self.run.flight_recorder = true,
            'S' => self.run.split = Some(os(value)),
            // The others are the business of the server's stap alone.
            _ => (),
        }
        self.forward(item);
        Ok(())
    }

    fn take_long(
        &mut self,
        name: &str,
        value: Option<&[u8]>,
        item: &Item,
    ) -> Result<(), CommandLineError> {
        if UNSUPPORTED.contains(&name) {
            return Err(CommandLineError::Unsupported(format!("--{name}")));
        }
        if name == "color" || name == "colour" {
            self.run.color = color(value)?;
            return Ok(());
        }
        let about_servers = match name {
            "list-servers" => Some(&mut self.list_servers),
            "trust-servers" => Some(&mut self.trust_servers),
            _ => None,
        };
        if let Some(words) = about_servers {
            *words = Some(String::from_utf8_lossy(value.unwrap_or_default()).into_owned());
            return Ok(());
        }
        // What stock clients call it; without a value it asks for what is done anyway.
        if name == "use-server" {
            let named = value.map(ServerSpec::parse).transpose()?;
            self.servers.extend(named);
            return Ok(());
        }
        if KEPT_BY_CLIENTS.contains(&name) {
            if matches!(name, "ldd" | "all-modules") {
                self.left_out.push(format!("--{name}"));
            }
            return Ok(());
        }
        if matches!(name, "privilege" | "unprivileged") {
            self.names_privilege = true;
        }
        match (name, value) {
            ("bpf", _) | ("runtime", Some(b"bpf")) => self.run.runtime = Runtime::Bpf,
            ("runtime", _) => self.run.runtime = Runtime::Kernel,
            _ => (),
        }
        if name == "vp" {
            self.run.verbosity += value.and_then(pass_5_digit).unwrap_or(0);
        }
        self.forward(item);
        Ok(())
    }

    /// The client's own options are unknown to stap; what is unknown to both is sent for the server's
    /// stap to complain of.
    fn take_unknown(&mut self, word: &[u8]) -> Result<(), CommandLineError> {
        if word == b"--server" {
            return Err(ServerSpecError::Missing.into());
        }
        if word == b"--ssl" || word == b"--ssl=" {
            return Err(CommandLineError::Missing("--ssl".to_owned()));
        }
        if let Some(value) = word.strip_prefix(b"--server=") {
            self.servers.push(ServerSpec::parse(value)?);
        } else if let Some(value) = word.strip_prefix(b"--targets=") {
            self.patterns.push(pattern(value)?);
        } else if word == b"--json" {
            self.json = true;
        } else if let Some(value) = word.strip_prefix(b"--ssl=") {
            self.databases.push(os(value).into());
        } else {
            self.forwarded.push(word.to_vec());
        }
        Ok(())
    }

    /// The name becomes that of a file in the current directory, so it is judged here and not only
    /// by the server's stap.
    fn name_module(&mut self, value: &[u8]) -> Result<(), CommandLineError> {
        let name = value.strip_suffix(b".ko").unwrap_or(value);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let text = std::str::from_utf8(name)
            .ok()
            .filter(|_| name.iter().all(plain));
        let text = text
            .filter(|text| !text.is_empty())
            .ok_or(CommandLineError::ModuleName)?;
        self.module_name = Some(text.to_owned());
        self.run.fixed_name = true;
        Ok(())
    }

    fn forward(&mut self, item: &Item) {
        self.forwarded.extend(item.to_arguments());
    }
}

fn is_option(item: &Item, short: char, long: &str) -> bool {
    match item {
        Item::Short { letter, .. } => *letter == short,
        Item::Long { name, .. } => *name == long,
        Item::Unknown(_) | Item::Operand(_) => false,
    }
}

/// Lists take the place of a script and end with pass 2.
fn is_listing(item: &Item) -> bool {
    match item {
        Item::Short { letter, .. } => matches!(letter, 'l' | 'L'),
        Item::Long { name, .. } => name.starts_with("dump-"),
        Item::Unknown(_) | Item::Operand(_) => false,
    }
}

/// Long options of stap that make no sense where a server compiles and this host runs.
const UNSUPPORTED: [&str; 6] = [
    "interactive",
    "monitor",
    "remote",
    "remote-prefix",
    "tmpdir",
    "use-server-on-error",
];

/// The options of our own whose value may be the next word.
const OWN: [&str; 1] = ["targets"];

#[cfg(test)]
mod tests;
