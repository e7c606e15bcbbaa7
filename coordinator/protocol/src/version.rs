//! The version that peers tell each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A protocol version. Stock peers use the number of their SystemTap release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProtocolVersion {
    major: u16,
    minor: u16,
}

impl ProtocolVersion {
    /// What we speak: the protocol as SystemTap 5.1 and later speak it.
    pub const CURRENT: Self = Self { major: 5, minor: 1 };

    /// What a peer speaks that does not say, or whose word cannot be understood.
    pub const OLDEST: Self = Self { major: 1, minor: 0 };

    /// Makes a version.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Reads `MAJOR.MINOR`, or a plain `MAJOR`, with blanks or line ends around it and anything
    /// after a further `.`, `/` or `-` ignored. A peer is free to call itself anything; what is not
    /// a version is `None` and must not matter.
    #[must_use]
    pub fn parse_lenient(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.get(..bytes.len().min(MAX_TEXT))?)
            .ok()?
            .trim();
        let text = text.split(['/', '-', ' ']).next()?;
        let mut numbers = text.split('.');
        let major = number(numbers.next()?)?;
        let minor = numbers.next().map_or(Some(0), number)?;
        Some(Self { major, minor })
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Digits only: `u16::from_str` would also take a sign.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// More than any version needs; the rest of a longer text is not looked at.
const MAX_TEXT: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_of_all_stock_peers_are_understood() {
        for (text, version) in [
            ("5.1", (5, 1)),
            ("5.6\n", (5, 6)),
            ("1.0", (1, 0)),
            ("99.1", (99, 1)),
            ("5", (5, 0)),
            ("4.8/0.188", (4, 8)),
            ("5.1.2", (5, 1)),
        ] {
            let expected = Some(ProtocolVersion::new(version.0, version.1));
            assert_eq!(
                ProtocolVersion::parse_lenient(text.as_bytes()),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_not_a_version_is_none() {
        for text in [
            "",
            "abc",
            "-1.0",
            "+5.1",
            "5.x",
            ".5",
            "99999.1",
            "5.99999",
            "\u{665}.1",
        ] {
            assert_eq!(
                ProtocolVersion::parse_lenient(text.as_bytes()),
                None,
                "{text:?}"
            );
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(ProtocolVersion::new(5, 10) > ProtocolVersion::new(5, 9));
        assert!(ProtocolVersion::new(10, 0) > ProtocolVersion::CURRENT);
        assert!(ProtocolVersion::OLDEST < ProtocolVersion::CURRENT);
    }

    proptest! {
        #[test]
        fn a_printed_version_is_read_back(major: u16, minor: u16) {
            let version = ProtocolVersion::new(major, minor);
            prop_assert_eq!(ProtocolVersion::parse_lenient(version.to_string().as_bytes()), Some(version));
        }

        #[test]
        fn any_bytes_are_a_version_that_prints_as_one_or_none(bytes: Vec<u8>) {
            if let Some(version) = ProtocolVersion::parse_lenient(&bytes) {
                let printed = version.to_string();
                prop_assert_eq!(ProtocolVersion::parse_lenient(printed.as_bytes()), Some(version));
            }
        }
    }
}
