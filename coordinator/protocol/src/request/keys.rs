//! What a client whose kernel insists on signed modules says about the keys that it trusts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text;

/// The most keys that are looked at; firmware has room for a handful.
pub const MAX_KEYS: usize = 64;

/// The longest `mok_fingerprints` member that is looked at.
const MAX_TEXT: usize = MAX_KEYS * 64;

/// The keys that the client's machine owner has enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MachineOwnerKeys {
    /// The client's kernel takes unsigned modules.
    #[default]
    NotAsked,
    /// The client's kernel insists on a signature, and no key of a server is enrolled.
    Missing,
    /// One of these keys must sign.
    Enrolled(Vec<Fingerprint>),
}

/// The SHA-1 of a key's certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 20]);

/// A text that is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is twenty pairs of hexadecimal digits with colons between them")]
pub struct NotAFingerprint;

impl MachineOwnerKeys {
    /// Reads a `mok_fingerprints` member; lines that cannot be read become notices.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> (Self, Vec<String>) {
        let mut keys = Vec::new();
        let mut notices = Vec::new();
        let bytes = &bytes[..bytes.len().min(MAX_TEXT)];
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines
            .filter(|line| !line.is_empty() && *line != MISSING)
            .take(MAX_KEYS)
        {
            match std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.parse().ok())
            {
                Some(key) => keys.push(key),
                None => notices.push(bad_line(line)),
            }
        }
        match keys.is_empty() {
            true => (Self::Missing, notices),
            false => (Self::Enrolled(keys), notices),
        }
    }

    /// The content of the `mok_fingerprints` member, if there is to be one.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        match self {
            Self::NotAsked => None,
            Self::Missing => Some([MISSING, b"\n"].concat()),
            Self::Enrolled(keys) => Some(
                keys.iter()
                    .flat_map(|key| format!("{key}\n").into_bytes())
                    .collect(),
            ),
        }
    }
}

const MISSING: &[u8] = b"missing";

fn bad_line(line: &[u8]) -> String {
    format!(
        "MOK fingerprint value '{}' isn't in the correct format",
        text::escape(line)
    )
}

impl Fingerprint {
    /// The fingerprint with these octets.
    #[must_use]
    pub const fn new(octets: [u8; 20]) -> Self {
        Self(octets)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs
                .next()
                .filter(|pair| pair.len() == 2)
                .ok_or(NotAFingerprint)?;
            let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let value = is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten();
            *byte = value.ok_or(NotAFingerprint)?;
        }
        if pairs.next().is_some() {
            return Err(NotAFingerprint);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(formatter, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINT: &str = "08:fc:00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:4f";

    #[test]
    fn fingerprints_are_read_as_they_are_printed() {
        let key: Fingerprint = PRINT.parse().unwrap();
        assert_eq!(key.to_string(), PRINT);
        assert_eq!(
            MachineOwnerKeys::parse(format!("{PRINT}\n").as_bytes()).0,
            MachineOwnerKeys::Enrolled(vec![key])
        );
    }

    #[test]
    fn other_shapes_are_not_fingerprints() {
        for text in [
            "",
            "08:fc",
            &PRINT[1..],
            &format!("{PRINT}:00"),
            &PRINT.replace('f', "+"),
        ] {
            assert_eq!(
                text.parse::<Fingerprint>(),
                Err(NotAFingerprint),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_bad_line_is_a_notice_and_no_key() {
        let (keys, notices) = MachineOwnerKeys::parse(b"../../etc\nmissing\n");
        assert_eq!(keys, MachineOwnerKeys::Missing);
        assert_eq!(
            notices,
            ["MOK fingerprint value '../../etc' isn't in the correct format"]
        );
    }
}
