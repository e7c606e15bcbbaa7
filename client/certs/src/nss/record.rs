//! The record of what was in step: a small text file in the database, as public as what it is about.
//!
//! A record that is damaged is not taken for one that is missing: without it, what was revoked on one
//! side would be trusted again.

use super::merge::{Record, Set};
use crate::certificate::Fingerprint;
use crate::client::MAX_CERTIFICATES;

/// The record's name.
pub(crate) const RECORD: &str = ".nss";

/// The largest record: a line for each certificate on either side, and the first two.
pub(super) const MAX_RECORD_BYTES: usize = (2 * MAX_CERTIFICATES + 2) * MAX_LINE;

/// The record's own format, for those who come after.
const FIRST_LINE: &str = "stap-nss 1";

/// The longest word, a blank, 64 digits and the line's end.
const MAX_LINE: usize = 5 + 1 + 64 + 1;

impl Record {
    /// Reads what [`to_text`](Self::to_text) wrote, and nothing else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let store = lines.next()?.strip_prefix("store ")?;
        let mut record = Self {
            store: Fingerprint::from_hex(store)?,
            both: Set::new(),
            push: Set::new(),
            pull: Set::new(),
        };
        for line in lines {
            let (word, digits) = line.split_once(' ')?;
            let fingerprint = Fingerprint::from_hex(digits)?;
            let set = match word {
                "both" => &mut record.both,
                "push" => &mut record.push,
                "pull" => &mut record.pull,
                _ => return None,
            };
            set.insert(fingerprint);
        }
        Some(record)
    }

    /// The record as text, the same for the same content.
    pub(super) fn to_text(&self) -> String {
        let sets = [
            ("both", &self.both),
            ("push", &self.push),
            ("pull", &self.pull),
        ];
        let lines = sets
            .into_iter()
            .flat_map(|(word, set)| set.iter().map(move |one| format!("{word} {one}\n")));
        let head = format!("{FIRST_LINE}\nstore {}\n", self.store);
        std::iter::once(head).chain(lines).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(octet: u8) -> Fingerprint {
        Fingerprint::of(&[octet])
    }

    fn record() -> Record {
        Record {
            store: fingerprint(0),
            both: [fingerprint(1), fingerprint(2)].into(),
            push: [fingerprint(3)].into(),
            pull: Set::new(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let text = record().to_text();
        assert_eq!(Record::parse(text.as_bytes()), Some(record()));
        assert_eq!(text.lines().count(), 5);
    }

    #[test]
    fn a_record_that_is_damaged_is_none() {
        let text = record().to_text();
        for damaged in [
            "",
            "stap-nss 1\n",
            &text.replace("stap-nss 1", "stap-nss 2"),
            &text.replace("both", "bath"),
            &text.replace("push ", "push  "),
            &format!("{text}\n"),
            text.trim_end(),
            &text[..text.len() - 9],
            &text.to_uppercase(),
        ] {
            assert_eq!(Record::parse(damaged.as_bytes()), None, "{damaged:?}");
        }
    }
}
