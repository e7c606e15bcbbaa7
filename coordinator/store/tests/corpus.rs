//! The committed corpus of the fuzz target.
//!
//! It is made here, so that a fuzzer starts from every flaw that we know. `STAP_WRITE_CORPUS=1 cargo test
//! -p stap-store --test corpus` writes it anew; findings of a fuzzer are added to it by hand and
//! replayed like the rest.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use stap_protocol::job::{Outcome, OutputFile, Report, Usage};
use stap_store::fuzzing;

/// Files without the digest at their end, which the fuzz target adds.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let good = fuzzing::body(&report(Outcome::Exited { code: 0 }));
    let failed = fuzzing::body(&report(Outcome::Exited { code: 1 }));
    let mut endless = good.clone();
    endless[48..56].copy_from_slice(&u64::MAX.to_be_bytes());
    let mut other_version = good.clone();
    other_version[13] = b'9';
    let cut = good[..good.len() / 2].to_vec();
    vec![
        ("good", good),
        ("failed", failed),
        ("endless", endless),
        ("other-version", other_version),
        ("cut", cut),
    ]
}

fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        stdout: b"x.ko\n".to_vec(),
        stderr: Vec::new(),
        files: vec![OutputFile {
            name: "x.ko".try_into().unwrap(),
            content: b"\x7fELF".to_vec(),
        }],
        private_directories: vec!["/work".into()],
        usage: Usage::default(),
        is_whole: true,
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/entry")
}

#[test]
fn the_corpus_holds_every_flaw_that_we_know() {
    let write = std::env::var_os("STAP_WRITE_CORPUS").is_some();
    for (name, bytes) in seeds() {
        if write {
            fs::create_dir_all(directory()).unwrap();
            fs::write(directory().join(name), &bytes).unwrap();
        }
        let committed = fs::read(directory().join(name)).unwrap_or_default();
        assert!(committed == bytes, "{name} is missing or has changed");
    }
}

#[test]
fn the_corpus_breaks_no_promise() {
    for file in fs::read_dir(directory()).unwrap() {
        fuzzing::entry(&fs::read(file.unwrap().path()).unwrap());
    }
}
