//! Which of stap's options a client may send.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

/// The options that the intake lets through; every other one is refused.
///
/// The list stops accidents and misuse. It is not the boundary: even the options that look harmless
/// let a script run code in the compiler, and the jail is what holds that.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    allow: BTreeSet<OptionName>,
    privileges: BTreeSet<Privilege>,
}

/// An option as it is typed: `-e` or `--skip-badvars`, without a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct OptionName(String);

/// Whom a module is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    /// Members of `stapusr`: only what touches their own processes.
    Stapusr,
    /// Members of `stapsys`.
    Stapsys,
    /// Members of `stapdev`, and root: everything.
    Stapdev,
}

impl Options {
    /// Whether the short option `-letter` may be sent.
    #[must_use]
    pub fn allows_short(&self, letter: char) -> bool {
        self.allows(&format!("-{letter}"))
    }

    /// Whether the long option `--name` may be sent.
    #[must_use]
    pub fn allows_long(&self, name: &str) -> bool {
        self.allows(&format!("--{name}"))
    }

    /// Whether guru mode, in which a script may hold C, may be asked for.
    #[must_use]
    pub fn allows_guru(&self) -> bool {
        self.allows_short('g')
    }

    /// Whether modules may be built for people of this privilege.
    #[must_use]
    pub fn allows_privilege(&self, privilege: Privilege) -> bool {
        self.privileges.contains(&privilege)
    }

    /// Every option that may be sent, for a refusal that says what would be accepted.
    pub fn allowed(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().map(|name| name.0.as_str())
    }

    fn allows(&self, name: &str) -> bool {
        self.allow.contains(&OptionName(name.to_owned()))
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for OptionName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            [b'-', letter] if letter.is_ascii_alphanumeric() => Ok(Self(text)),
            [b'-', b'-', name @ ..] if is_long_name(name) => Ok(Self(text)),
            _ => Err(format!(
                "{text:?} is no option; write it as \"-e\" or \"--skip-badvars\""
            )),
        }
    }
}

fn is_long_name(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    (1..=MAX_LONG_NAME).contains(&name.len()) && name[0] != b'-' && name.iter().all(allowed)
}

/// Longer than any option of stap.
const MAX_LONG_NAME: usize = 64;
