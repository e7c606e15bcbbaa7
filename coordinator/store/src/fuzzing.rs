//! The body of the fuzz target in `fuzz/`, as a plain function, so that the committed corpus is
//! replayed by the ordinary tests. It panics when a promise is broken.

use sha2::{Digest, Sha256};

use stap_protocol::job::Report;

use crate::entry::{self, decode, encode, is_worth_keeping};
use crate::key::Key;

const KEY: [u8; Key::LENGTH] = [0; Key::LENGTH];

/// A seed: the entry of a report, kept or not, without its digest.
///
/// # Panics
/// When the report cannot be written at all.
#[must_use]
pub fn body(report: &Report) -> Vec<u8> {
    entry::body(&Key::from_bytes(KEY), report).expect("a report can be written")
}

/// A file of the store, as it is and with a digest that fits: whatever is taken may be kept, and is
/// written again as it was read.
pub fn entry(bytes: &[u8]) {
    let key = Key::from_bytes(KEY);
    let sealed = [bytes, &Sha256::digest(bytes)[..]].concat();
    for file in [bytes, &sealed] {
        let Ok(report) = decode(file, &key) else {
            continue;
        };
        assert!(is_worth_keeping(&report), "a bad result is taken");
        let again = encode(&key, &report).expect("what was taken can be kept");
        assert_eq!(decode(&again, &key), Ok(report), "a result changes");
    }
}
