//! The locale that a client wants its messages in.
//!
//! It travels as `NAME=value` lines and ends as the environment of a compile, so only known names
//! and harmless values get through. What does not is dropped with a notice for the client, as stock
//! servers do it, because a bad locale is no reason to refuse a request.

use crate::text;

/// The variables that are forwarded, in the order in which clients send them.
pub const VARIABLES: [&str; 8] = [
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_COLLATE",
    "LC_MESSAGES",
    "LC_TIME",
    "LC_MONETARY",
    "LC_NUMERIC",
];

/// The longest value, in bytes. The longest name of a locale that glibc ships has 30.
pub const MAX_VALUE: usize = 128;

/// The most bytes of the `locale` member that are looked at: all variables, each at its longest.
pub const MAX_TEXT: usize = VARIABLES.len() * (MAX_VALUE + 16);

/// Whether `value` may become the value of a locale variable.
#[must_use]
pub fn is_legal(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"@_.=-".contains(&byte);
    value.len() <= MAX_VALUE && value.bytes().all(allowed)
}

/// What a `locale` member held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locale {
    /// Known names with legal values, each name once.
    pub variables: Vec<(String, String)>,
    /// One sentence for the client about each line that was dropped.
    pub notices: Vec<String>,
}

impl Locale {
    /// Reads a `locale` member.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut locale = Self::default();
        if bytes.len() > MAX_TEXT {
            let notice = format!("Localization data is longer than {MAX_TEXT} bytes");
            locale.notices.push(notice);
            return locale;
        }
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match parse_line(line) {
                Ok((name, value)) => locale.set(name, value),
                Err(notice) => locale.notices.push(notice),
            }
        }
        locale
    }

    /// The last line about a variable wins, as it does in an environment built line by line.
    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }
}

/// Returns the content of a `locale` member. Variables with unknown names or illegal values are left
/// out, since the other side would only complain about them.
#[must_use]
pub fn encode(variables: &[(String, String)]) -> Vec<u8> {
    let known = variables
        .iter()
        .filter(|(name, value)| is_known(name) && is_legal(value));
    known
        .flat_map(|(name, value)| format!("{name}={value}\n").into_bytes())
        .collect()
}

fn is_known(name: &str) -> bool {
    VARIABLES.contains(&name)
}

fn parse_line(line: &[u8]) -> Result<(&str, &str), String> {
    let pair = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split_once('='));
    let Some((name, value)) = pair else {
        return Err(format!(
            "Localization key=value line '{}' is malformed",
            text::escape(line)
        ));
    };
    if !is_known(name) {
        let name = text::escape(name.as_bytes());
        return Err(format!(
            "Localization key '{name}' is not one that is forwarded"
        ));
    }
    if !is_legal(value) {
        let value = text::escape(value.as_bytes());
        return Err(format!(
            "Localization value '{value}' contains illegal characters"
        ));
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn known_variables_get_through_empty_ones_too() {
        let locale = Locale::parse(b"LANG=fr_FR.UTF-8\nLC_ALL=\nLC_TIME=de_DE@euro\n");
        let expected = [
            ("LANG", "fr_FR.UTF-8"),
            ("LC_ALL", ""),
            ("LC_TIME", "de_DE@euro"),
        ];
        assert_eq!(locale.variables, pairs(&expected));
        assert!(locale.notices.is_empty());
    }

    #[test]
    fn anything_else_is_dropped_and_named() {
        let locale = Locale::parse(b"PATH=/tmp\nLANG=$(id);\nnonsense\nLD_PRELOAD=x\nLC_ALL=C\n");
        assert_eq!(locale.variables, pairs(&[("LC_ALL", "C")]));
        assert_eq!(
            locale.notices,
            [
                "Localization key 'PATH' is not one that is forwarded",
                "Localization value '$(id);' contains illegal characters",
                "Localization key=value line 'nonsense' is malformed",
                "Localization key 'LD_PRELOAD' is not one that is forwarded",
            ]
        );
    }

    #[test]
    fn an_endless_locale_is_not_looked_at() {
        let locale = Locale::parse(&b"LANG=C\n".repeat(MAX_TEXT));
        assert!(locale.variables.is_empty());
        assert_eq!(locale.notices.len(), 1);
    }

    proptest! {
        #[test]
        fn what_comes_out_is_always_legal(bytes: Vec<u8>) {
            let locale = Locale::parse(&bytes);
            prop_assert!(locale.variables.iter().all(|(name, value)| is_known(name) && is_legal(value)));
        }

        #[test]
        fn legal_variables_survive_the_way(
            values in prop::collection::vec("[A-Za-z0-9@_.=-]{0,20}", VARIABLES.len())
        ) {
            let sent: Vec<_> = VARIABLES.iter().map(|name| (*name).to_owned()).zip(values).collect();
            let locale = Locale::parse(&encode(&sent));
            prop_assert_eq!(locale.variables, sent);
        }
    }
}
