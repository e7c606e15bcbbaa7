//! The committed corpus of the fuzz targets.
//!
//! It is made of the packages in this test, so that a fuzzer starts from every refusal that we know.
//! `STAP_WRITE_CORPUS=1 cargo test -p stap-protocol --test hostile corpus` writes it anew; findings of
//! a fuzzer are added to it by hand and replayed like the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stap_protocol::fuzzing;
use stap_protocol::job::{Configuration, JobId, ToWorker};
use stap_protocol::target::TargetName;

use crate::{Seed, replies, requests, several, words};

type Target = (&'static str, fn(&[u8]), Vec<(&'static str, Vec<u8>)>);

/// Bigger seeds make a fuzzer slow and are only tested.
const MAX_SEED: usize = 64 << 10;

fn targets() -> Vec<Target> {
    vec![
        (
            "request",
            fuzzing::request,
            both(requests::accepted(), requests::refused()),
        ),
        (
            "reply",
            fuzzing::reply,
            both(replies::accepted(), replies::refused()),
        ),
        (
            "several",
            fuzzing::several,
            both(several::accepted(), several::refused()),
        ),
        ("notices", fuzzing::notices, bytes(words::notices())),
        ("options", fuzzing::options, bytes(words::options())),
        (
            "announcement",
            fuzzing::announcement,
            bytes(words::announcements()),
        ),
        ("frame", fuzzing::frame, bytes(words::frames())),
        ("job", fuzzing::job, messages()),
    ]
}

fn bytes<E>(seeds: Vec<Seed<E>>) -> Vec<(&'static str, Vec<u8>)> {
    let small = seeds
        .into_iter()
        .filter(|(_, bytes, _)| bytes.len() <= MAX_SEED);
    small.map(|(name, bytes, _)| (name, bytes)).collect()
}

fn both<E, F>(accepted: Vec<Seed<E>>, refused: Vec<Seed<F>>) -> Vec<(&'static str, Vec<u8>)> {
    [bytes(accepted), bytes(refused)].concat()
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let configuration = Configuration {
        roots: vec![PathBuf::from("/")],
        releases: Vec::new(),
        arch: None,
        stap: None,
        server_options: vec!["-DX=1".to_owned()],
        policy: "class = \"strict\"".to_owned(),
        slots: 2,
        cache: PathBuf::from("/cache"),
        temporary: PathBuf::from("/tmp"),
        keep: false,
        hidden: Vec::new(),
    };
    let encoded = |message: ToWorker| postcard::to_stdvec(&message).unwrap();
    vec![
        (
            "configure",
            encoded(ToWorker::Configure(Box::new(configuration))),
        ),
        ("cancel", encoded(ToWorker::Cancel { id: JobId(7) })),
        (
            "identify",
            encoded(ToWorker::Identify {
                number: 7,
                target: TargetName {
                    release: "6.1.0-9".parse().unwrap(),
                    arch: "x86_64".parse().unwrap(),
                },
            }),
        ),
        ("endless-list", vec![0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ]
}

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn file_names(directory: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_corpus_holds_every_package_that_we_know() {
    let write = std::env::var_os("STAP_WRITE_CORPUS").is_some();
    for (target, _, seeds) in targets() {
        let directory = fuzz_directory().join("corpus").join(target);
        for (name, bytes) in seeds {
            if write {
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join(name), &bytes).unwrap();
            }
            let committed = fs::read(directory.join(name)).unwrap_or_default();
            assert!(
                committed == bytes,
                "{target}/{name} is missing or has changed"
            );
        }
    }
}

#[test]
fn the_whole_corpus_keeps_its_promises() {
    for (target, body, _) in targets() {
        let directory = fuzz_directory().join("corpus").join(target);
        let names = file_names(&directory);
        assert!(!names.is_empty(), "the corpus of {target} is empty");
        for name in names {
            body(&fs::read(directory.join(name)).unwrap());
        }
    }
}

#[test]
fn every_fuzz_target_has_a_corpus_and_the_other_way_round() {
    let expected: BTreeSet<_> = targets()
        .into_iter()
        .map(|(name, ..)| name.to_owned())
        .collect();
    let programs = file_names(&fuzz_directory().join("fuzz_targets"));
    let programs: BTreeSet<_> = programs
        .iter()
        .map(|name| name.replace(".rs", ""))
        .collect();
    assert_eq!(programs, expected);
    assert_eq!(file_names(&fuzz_directory().join("corpus")), expected);
}
