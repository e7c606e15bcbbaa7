//! Replays the fuzz corpus with the ordinary tests.
#![expect(
    clippy::unwrap_used,
    reason = "a test program: a panic is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_certificate_of_the_corpus_is_read_as_its_name_says() {
    let (good, bad) = replay("certificate", stap_certs::fuzzing::certificate);
    assert!(
        good >= 8 && bad >= 8,
        "seeds are lost: {good} good, {bad} bad"
    );
}

#[test]
fn every_store_of_the_corpus_is_read_as_its_name_says() {
    let (good, bad) = replay("store", stap_certs::fuzzing::store);
    assert!(
        good >= 2 && bad >= 4,
        "seeds are lost: {good} good, {bad} bad"
    );
}

/// Files are named for what they are: `good-` ones are what is looked for and `bad-` ones are not; what
/// a fuzzer found has another name and must only not panic. Returns how many there are of either.
fn replay(target: &str, is_good: fn(&[u8]) -> bool) -> (usize, usize) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files: Vec<PathBuf> = fs::read_dir(corpus.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let (mut good, mut bad) = (0, 0);
    for file in files {
        let was_read = is_good(&fs::read(&file).unwrap());
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("good-") {
            assert!(was_read, "{name} was refused");
            good += 1;
        } else if name.starts_with("bad-") {
            assert!(!was_read, "{name} was taken for a {target}");
            bad += 1;
        }
    }
    (good, bad)
}
