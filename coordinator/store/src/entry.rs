//! One result as a file: what it is, for which key, how long, the result, and a digest of all that.

use sha2::{Digest, Sha256};
use stap_protocol::job::{Outcome, Report};

use crate::key::Key;

/// Why bytes are not the entry that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// It does not begin as one.
    #[error("it is no entry of this store, or one of another version")]
    Foreign,
    /// It ends too early.
    #[error("it is cut short")]
    Cut,
    /// It goes on.
    #[error("it is longer than it says")]
    Longer,
    /// Some bit of it is not as it was written.
    #[error("it was altered: its digest does not fit")]
    Altered,
    /// Somebody put it under another name.
    #[error("it is the entry of another key")]
    OtherKey,
    /// The content is no report, or none that is ever kept.
    #[error("it holds no result that may be kept")]
    NoResult,
    /// The file is not a plain file of ours.
    #[error("it is {0}")]
    Irregular(&'static str),
}

/// The largest entry in bytes; a report comes in one message of the worker.
pub const LARGEST: u64 = stap_protocol::job::MAX_FRAME as u64;

/// Whether a report may be kept: its job ended well, by itself, and no limit had a part in it.
#[must_use]
pub fn is_worth_keeping(report: &Report) -> bool {
    report.outcome == Outcome::Exited { code: 0 } && report.is_whole
}

/// Writes an entry; `None` for a report that may not be kept.
#[must_use]
pub fn encode(key: &Key, report: &Report) -> Option<Vec<u8>> {
    if !is_worth_keeping(report) {
        return None;
    }
    let mut bytes = body(key, report)?;
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Some(bytes)
}

/// All of an entry but its digest.
pub(crate) fn body(key: &Key, report: &Report) -> Option<Vec<u8>> {
    let payload = postcard::to_stdvec(report).ok()?;
    let length = (payload.len() as u64).to_be_bytes();
    let mut bytes = Vec::with_capacity(OVERHEAD + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&payload);
    Some(bytes)
}

/// Reads the entry of `key`.
///
/// # Errors
/// What is wrong with it; nothing of it may then be used.
pub fn decode(bytes: &[u8], key: &Key) -> Result<Report, Flaw> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| {
        // Less than a beginning may be the beginning of ours.
        if MAGIC.starts_with(bytes) {
            Flaw::Cut
        } else {
            Flaw::Foreign
        }
    })?;
    let (named, rest) = rest.split_first_chunk().ok_or(Flaw::Cut)?;
    let (length, rest) = rest.split_first_chunk().ok_or(Flaw::Cut)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_huge| Flaw::Cut)?;
    let (payload, rest) = rest.split_at_checked(length).ok_or(Flaw::Cut)?;
    let (digest, rest) = rest.split_first_chunk::<DIGEST>().ok_or(Flaw::Cut)?;
    if !rest.is_empty() {
        return Err(Flaw::Longer);
    }
    let signed = &bytes[..bytes.len() - DIGEST];
    if Sha256::digest(signed).as_slice() != digest {
        return Err(Flaw::Altered);
    }
    if Key::from_bytes(*named) != *key {
        return Err(Flaw::OtherKey);
    }
    match postcard::take_from_bytes::<Report>(payload) {
        Ok((report, [])) if is_worth_keeping(&report) => Ok(report),
        _ => Err(Flaw::NoResult),
    }
}

/// Ends with the version of the format.
const MAGIC: &[u8; 16] = b"stap-result  1\0\n";
const DIGEST: usize = 32;
const OVERHEAD: usize = MAGIC.len() + Key::LENGTH + 8 + DIGEST;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stap_protocol::job::{OutputFile, Usage};

    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_bytes([byte; 32])
    }

    fn report() -> Report {
        Report {
            outcome: Outcome::Exited { code: 0 },
            stdout: b"x.ko\n".to_vec(),
            stderr: b"Pass 4".to_vec(),
            files: vec![OutputFile {
                name: "x.ko".try_into().unwrap(),
                content: b"\x7fELF".to_vec(),
            }],
            private_directories: vec!["/work".into()],
            usage: Usage::default(),
            is_whole: true,
        }
    }

    fn entry() -> Vec<u8> {
        encode(&key(1), &report()).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode(&entry(), &key(1)), Ok(report()));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = entry();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, &key(1)).is_err(), "bit {bit}");
        }
        let mut altered = good.clone();
        altered[OVERHEAD - DIGEST] ^= 1;
        assert_eq!(decode(&altered, &key(1)), Err(Flaw::Altered));
    }

    #[test]
    fn every_cut_is_seen_and_so_is_a_tail() {
        let good = entry();
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length], &key(1)), Err(Flaw::Cut), "{length}");
        }
        let longer = [&good[..], b"\0"].concat();
        assert_eq!(decode(&longer, &key(1)), Err(Flaw::Longer));
    }

    #[test]
    fn an_entry_under_another_key_is_not_taken() {
        assert_eq!(decode(&entry(), &key(2)), Err(Flaw::OtherKey));
        assert_eq!(
            decode(b"#!/bin/sh\nrm -rf /\n", &key(1)),
            Err(Flaw::Foreign)
        );
    }

    #[test]
    fn what_did_not_end_well_is_never_kept() {
        let failed = Report {
            outcome: Outcome::Exited { code: 1 },
            ..report()
        };
        let cut = Report {
            is_whole: false,
            ..report()
        };
        for bad in [failed, cut] {
            assert_eq!(encode(&key(1), &bad), None);
            // Not even where somebody wrote a perfect entry of it.
            let payload = postcard::to_stdvec(&bad).unwrap();
            assert_eq!(decode(&sealed(&payload), &key(1)), Err(Flaw::NoResult));
        }
    }

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u64).to_be_bytes();
        let mut bytes = [&MAGIC[..], &[1; 32], &length, payload].concat();
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    proptest! {
        #[test]
        fn nothing_in_a_perfect_envelope_is_believed(payload: Vec<u8>) {
            if let Ok(report) = decode(&sealed(&payload), &key(1)) {
                prop_assert!(is_worth_keeping(&report));
            }
        }

        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes, &key(1)).is_err());
        }
    }
}
