//! The body of the fuzz target in `fuzz/`, as a plain function, so that the committed corpus is
//! replayed by the ordinary tests. It panics when a promise is broken.

use sha2::{Digest, Sha256};

use crate::entry::{decode, encode, is_worth_keeping};
use crate::key::Key;

/// A file of the store, as it is and with a digest that fits: whatever is taken may be kept, and is
/// written again as it was read.
pub fn entry(bytes: &[u8]) {
    let key = Key::from_bytes([0; Key::LENGTH]);
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
