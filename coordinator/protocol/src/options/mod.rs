//! stap's own command line grammar, as `getopt_long` reads it.
//!
//! Client and server must see the same options in the same words that stap sees: the client to know
//! what to send and what to do itself, the server to allow or refuse. So options are resolved here
//! once, abbreviations included, and [`CommandLine::to_arguments`] spells them in full, which leaves
//! stap nothing to interpret.

mod parse;
mod table;

use std::fmt;

use crate::text;

pub use parse::{OptionError, Order, parse, parse_ordered, parse_with};
pub use table::{Arity, KEPT_BY_CLIENTS, LONG, LongOption, SHORT};

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Options, and the operands between them, in their order.
    pub items: Vec<Item>,
    /// Operands behind `--`.
    pub after_separator: Vec<Vec<u8>>,
}

/// A piece of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A short option that stap knows.
    Short {
        /// Its letter.
        letter: char,
        /// Its value; always there when the option takes one.
        value: Option<Vec<u8>>,
    },
    /// A long option that stap knows, by its full name.
    Long {
        /// Its name without the dashes.
        name: &'static str,
        /// Its value; always there when the option requires one, never when it takes none.
        value: Option<Vec<u8>>,
    },
    /// An option that stap does not know, as it was written: `-Z` or `--no-such=1`.
    Unknown(Vec<u8>),
    /// Not an option.
    Operand(Vec<u8>),
}

impl CommandLine {
    /// The options in their order, without the operands.
    pub fn options(&self) -> impl Iterator<Item = &Item> {
        self.items
            .iter()
            .filter(|item| !matches!(item, Item::Operand(_)))
    }

    /// All operands in their order.
    pub fn operands(&self) -> impl Iterator<Item = &[u8]> {
        let among = self.items.iter().filter_map(|item| match item {
            Item::Operand(operand) => Some(&operand[..]),
            _ => None,
        });
        among.chain(self.after_separator.iter().map(Vec::as_slice))
    }

    /// The values of every `-x VALUE`, in their order.
    pub fn short_values(&self, wanted: char) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(move |item| match item {
            Item::Short {
                letter,
                value: Some(value),
            } if *letter == wanted => Some(&value[..]),
            _ => None,
        })
    }

    /// Whether `-x` is there.
    #[must_use]
    pub fn has_short(&self, wanted: char) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::Short { letter, .. } if *letter == wanted))
    }

    /// The values of every `--name`, in their order; `None` where it stands without one.
    pub fn long_values(&self, wanted: &str) -> impl Iterator<Item = Option<&[u8]>> {
        self.items.iter().filter_map(move |item| match item {
            Item::Long { name, value } if *name == wanted => Some(value.as_deref()),
            _ => None,
        })
    }

    /// Whether `--name` is there.
    #[must_use]
    pub fn has_long(&self, wanted: &str) -> bool {
        self.long_values(wanted).next().is_some()
    }

    /// Whether stap comes to compiling C for the kernel.
    #[must_use]
    pub fn reaches_pass_4(&self) -> bool {
        let stops_early = self
            .short_values('p')
            .any(|pass| matches!(pass, b"1" | b"2" | b"3"));
        let lists = ['l', 'L', 'V', 'h']
            .iter()
            .any(|letter| self.has_short(*letter));
        let is_bpf = self.has_long("bpf")
            || self
                .long_values("runtime")
                .any(|runtime| runtime == Some(b"bpf"));
        let dumps = [
            "dump-probe-types",
            "dump-probe-aliases",
            "dump-functions",
            "version",
            "help",
        ];
        !(stops_early || lists || is_bpf || dumps.iter().any(|name| self.has_long(name)))
    }

    /// Spells the command line so that it can be read in one way only: every option in full and with
    /// its value attached, where it can be, and operands that could be taken for options behind
    /// `--`.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<Vec<u8>> {
        let is_risky =
            |item: &&Item| matches!(item, Item::Operand(word) if looks_like_option(word));
        if self.items.iter().any(|item| is_risky(&item)) {
            return self.with_operands_last();
        }
        let mut arguments: Vec<_> = self.items.iter().flat_map(Item::to_arguments).collect();
        if !self.after_separator.is_empty() {
            arguments.push(SEPARATOR.to_vec());
            arguments.extend_from_slice(&self.after_separator);
        }
        arguments
    }

    /// Only a command line read under `POSIXLY_CORRECT` has operands that look like options in front
    /// of the separator; the separator protects them for a reader that permutes.
    fn with_operands_last(&self) -> Vec<Vec<u8>> {
        let mut arguments: Vec<_> = self.options().flat_map(Item::to_arguments).collect();
        arguments.push(SEPARATOR.to_vec());
        arguments.extend(self.operands().map(<[u8]>::to_vec));
        arguments
    }
}

impl Item {
    /// Spells this item in full: one word, or two for a short option with an empty value.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Short {
                letter,
                value: Some(value),
            } if value.is_empty() => {
                vec![format!("-{letter}").into_bytes(), Vec::new()]
            }
            Self::Short { letter, value } => {
                vec![
                    [
                        format!("-{letter}").as_bytes(),
                        value.as_deref().unwrap_or(b""),
                    ]
                    .concat(),
                ]
            }
            Self::Long { name, value: None } => vec![format!("--{name}").into_bytes()],
            Self::Long {
                name,
                value: Some(value),
            } => {
                vec![[format!("--{name}=").as_bytes(), value].concat()]
            }
            Self::Unknown(word) | Self::Operand(word) => vec![word.clone()],
        }
    }
}

impl fmt::Display for Item {
    /// The option without its value, or the operand, escaped: for messages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { letter, .. } => write!(formatter, "-{letter}"),
            Self::Long { name, .. } => write!(formatter, "--{name}"),
            Self::Unknown(word) | Self::Operand(word) => formatter.write_str(&text::escape(word)),
        }
    }
}

const SEPARATOR: &[u8] = b"--";

/// `-` alone is an operand: standard input.
fn looks_like_option(word: &[u8]) -> bool {
    word.len() > 1 && word.starts_with(b"-")
}
