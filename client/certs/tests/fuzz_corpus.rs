//! Replays the fuzz corpus with the ordinary tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Files are named for what they are: `good-` ones are certificates and `bad-` ones are not; what a
/// fuzzer found has another name and must only not panic.
#[test]
fn every_file_of_the_corpus_is_read_as_its_name_says() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/certificate");
    let files: Vec<PathBuf> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let (mut good, mut bad) = (0, 0);
    for file in files {
        let is_certificate = stap_certs::fuzzing::certificate(&fs::read(&file).unwrap());
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("good-") {
            assert!(is_certificate, "{name} was refused");
            good += 1;
        } else if name.starts_with("bad-") {
            assert!(!is_certificate, "{name} was taken for a certificate");
            bad += 1;
        }
    }
    assert!(
        good >= 8 && bad >= 8,
        "the corpus lost its seeds: {good} good, {bad} bad"
    );
}
