//! What one side writes, the other side reads, and so do the tools of everybody else.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use stap_protocol::job::{InputFile, OutputFile};
use stap_protocol::locale::VARIABLES;
use stap_protocol::path::RelativePath;
use stap_protocol::reply::{self, Answer, OfTarget, Origin, Replies, Reply, ReplyLimits};
use stap_protocol::request::{self, Limits, MachineOwnerKeys, Request, SysInfo};
use stap_protocol::target::{TargetName, TargetPattern};
use stap_protocol::version::ProtocolVersion;
use tempfile::TempDir;

fn sysinfo() -> impl Strategy<Value = SysInfo> {
    let arch = prop::option::of(prop::sample::select(&["x86_64", "arm64", "powerpc"]));
    ("[0-9]\\.[0-9]{1,3}\\+[a-z]{0,8}", arch).prop_map(|(release, arch)| SysInfo {
        release: release.parse().unwrap(),
        arch: arch.map(|arch| arch.parse().unwrap()),
    })
}

fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=u8::MAX, 0..400)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ]
}

fn input_files() -> impl Strategy<Value = Vec<InputFile>> {
    let path = "(script|tapset)(/[a-z \\\\\n*é-]{1,6}){1,3}";
    let file = (path, content()).prop_map(|(path, content)| InputFile {
        path: RelativePath::new(path).unwrap(),
        content,
    });
    let conflicting = |files: &Vec<InputFile>| {
        RelativePath::first_conflict(files.iter().map(|file| &file.path)).is_none()
    };
    prop::collection::vec(file, 0..6).prop_filter("names get in each other's way", conflicting)
}

fn locale() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = "[A-Za-z0-9@_.=-]{0,20}";
    prop::collection::btree_map(prop::sample::select(&VARIABLES), value, 0..5).prop_map(|map| {
        map.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

fn keys() -> impl Strategy<Value = MachineOwnerKeys> {
    let print = "([0-9a-f]{2}:){19}[0-9a-f]{2}".prop_map(|text| text.parse().unwrap());
    prop_oneof![
        Just(MachineOwnerKeys::NotAsked),
        Just(MachineOwnerKeys::Missing),
        prop::collection::vec(print, 1..4).prop_map(MachineOwnerKeys::Enrolled),
    ]
}

fn patterns() -> impl Strategy<Value = Vec<TargetPattern>> {
    let pattern = "[0-9][0-9.*?]{0,8}(:(x86_64|\\*|arm64))?";
    let pattern = pattern.prop_filter_map("no pattern", |text: String| text.parse().ok());
    prop::collection::vec(pattern, 0..4)
}

fn requests() -> impl Strategy<Value = Request> {
    let arguments = prop::collection::vec(argument(), 0..8);
    let version = any::<(u16, u16)>();
    (
        version,
        sysinfo(),
        arguments,
        input_files(),
        locale(),
        keys(),
        any::<(bool, bool)>(),
        patterns(),
    )
        .prop_map(
            |(
                (major, minor),
                target,
                arguments,
                files,
                locale,
                machine_owner_keys,
                (wants_origin, wants_progress),
                targets,
            )| {
                let parts = request::Parts {
                    version: ProtocolVersion::new(major, minor),
                    files,
                    locale,
                    machine_owner_keys,
                    wants_origin,
                    wants_progress,
                    targets,
                    ..request::Parts::new(target, arguments)
                };
                Request::new(parts).unwrap()
            },
        )
}

fn output_files() -> impl Strategy<Value = Vec<OutputFile>> {
    let names = prop::collection::btree_map("[a-z_0-9]{1,8}\\.(o|sgn|c)", content(), 0..4);
    let module = prop::option::of(("[a-z_0-9]{1,8}\\.ko", content()));
    (names, module).prop_map(|(files, module)| {
        let file = |(name, content): (String, _)| OutputFile {
            name: name.as_str().try_into().unwrap(),
            content,
        };
        files.into_iter().chain(module).map(file).collect()
    })
}

fn replies() -> impl Strategy<Value = Reply> {
    let key = prop::option::of(content());
    let origins = prop::sample::select(&[Origin::Hit, Origin::Miss, Origin::Joined, Origin::Off]);
    let origin = prop::option::of(origins);
    (
        any::<i32>(),
        content(),
        content(),
        output_files(),
        key,
        origin,
    )
        .prop_map(|(rc, stdout, stderr, files, signing_key, origin)| {
            let parts = reply::Parts {
                rc,
                stdout,
                stderr,
                files,
                signing_key,
                origin,
                ..reply::Parts::default()
            };
            Reply::new(parts).unwrap()
        })
}

fn several() -> impl Strategy<Value = Replies> {
    let took = prop::option::of((0..1_000_000_u64).prop_map(Duration::from_millis));
    let one = (took, replies());
    prop::collection::btree_map("[0-9]\\.[0-9]{1,3}", one, 0..4).prop_map(|each| {
        let of_target = |(release, (took, reply)): (String, _)| OfTarget {
            target: TargetName {
                release: release.parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
            },
            took,
            reply,
        };
        Replies::new(each.into_iter().map(of_target).collect()).unwrap()
    })
}

/// Unpacks an archive with Info-ZIP's `unzip`, which is what stock clients and servers run. Any
/// warning of its is fatal to them, so it is to us. `-^` keeps control characters in names.
fn unzipped(package: &[u8]) -> TempDir {
    unzipped_in(package, "C.UTF-8")
}

/// The same in a locale of the peer's.
fn unzipped_in(package: &[u8], locale: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("package.zip");
    std::fs::write(&path, package).unwrap();
    let unzip = Command::new("unzip")
        .args(["-qq", "-^", "package.zip", "-d", "content"])
        .current_dir(&directory)
        .env("LC_ALL", locale)
        .output()
        .expect("unzip is installed; tests/run installs it");
    let said = String::from_utf8_lossy(&unzip.stderr);
    assert!(unzip.status.success(), "unzip: {} {said}", unzip.status);
    directory
}

fn read(directory: &TempDir, name: &[u8]) -> Vec<u8> {
    let name = Path::new(OsStr::from_bytes(name));
    std::fs::read(directory.path().join("content").join(name)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_request_is_read_as_it_was_written(request in requests()) {
        let decoded = Request::decode(&request.encode(), &Limits::default());
        prop_assert_eq!(decoded, Ok(request));
    }

    #[test]
    fn a_reply_is_read_as_it_was_written(reply in replies()) {
        let decoded = Reply::decode(&reply.encode(), &ReplyLimits::default());
        prop_assert_eq!(decoded, Ok(reply));
    }

    #[test]
    fn a_reply_for_several_targets_is_read_as_it_was_written(several in several()) {
        let decoded = Replies::decode(&several.encode(), &ReplyLimits::for_several());
        prop_assert_eq!(decoded, Ok(Answer::Several(several)));
    }

    #[test]
    fn others_read_our_requests_as_we_do(request in requests()) {
        let unzipped = unzipped(&request.encode());
        for (number, argument) in (1..).zip(&request.arguments) {
            prop_assert_eq!(&read(&unzipped, format!("argv{number}").as_bytes()), argument);
        }
        for file in &request.files {
            prop_assert_eq!(&read(&unzipped, file.path.as_bytes()), &file.content);
        }
    }

    #[test]
    fn others_read_our_replies_as_we_do(reply in replies()) {
        let unzipped = unzipped(&reply.encode());
        prop_assert_eq!(read(&unzipped, b"rc"), reply.rc.to_string().into_bytes());
        prop_assert_eq!(&read(&unzipped, b"stdout"), &reply.stdout);
        for file in &reply.files {
            let name = [b"stap000000/", file.name.as_bytes()].concat();
            prop_assert_eq!(&read(&unzipped, &name), &file.content);
        }
    }
}

/// Deflating a module costs more than all else that a kept result does, and would save nothing on a local network.
#[test]
fn what_was_said_is_deflated_and_a_module_is_not() {
    let zeros = vec![0; 100_000];
    let size = |parts| Reply::new(parts).unwrap().encode().len();
    let said = size(reply::Parts {
        stderr: zeros.clone(),
        ..reply::Parts::default()
    });
    assert!(said < zeros.len() / 10, "{said} bytes for what was said");
    let name = "x.ko".try_into().unwrap();
    let content = zeros.clone();
    let module = size(reply::Parts {
        files: vec![OutputFile { name, content }],
        ..reply::Parts::default()
    });
    assert!(module > zeros.len(), "{module} bytes for a module");
}

#[test]
fn a_refusal_is_a_complete_reply() {
    let refusal = Reply::refusal("the server is busy");
    let decoded = Reply::decode(&refusal.encode(), &ReplyLimits::default()).unwrap();
    assert_eq!(
        (decoded.rc, &decoded.stderr[..]),
        (1, &b"the server is busy\n"[..])
    );
    let unzipped = unzipped(&refusal.encode());
    assert!(
        unzipped.path().join("content/stap000000").is_dir(),
        "stock clients expect the directory"
    );
}

/// `unzip` translates a name that is marked as UTF-8 into the character set of its locale, but only where
/// a member has an extra field: a server in the C locale would then have `#U00e9.stp` for `é.stp`. Our
/// archives have none.
#[test]
fn names_keep_their_bytes_in_every_locale_of_the_peer() {
    let names = ["script/é.stp", "script/日本.stp", "tapset/home/ä ö/ü.stp"];
    let mut paths: Vec<_> = names.map(|name| RelativePath::new(name).unwrap()).into();
    paths.push(RelativePath::new(*b"script/latin-\xe9.stp").unwrap());
    let files = paths.iter().map(|path| InputFile {
        path: path.clone(),
        content: path.as_bytes().to_vec(),
    });
    let target = SysInfo::parse(b"sysinfo: 6.1 x86_64").unwrap();
    let request = Request::new(request::Parts {
        files: files.collect(),
        ..request::Parts::new(target, Vec::new())
    });
    let package = request.unwrap().encode();
    for locale in ["C", "C.UTF-8", "POSIX"] {
        let unzipped = unzipped_in(&package, locale);
        for path in &paths {
            assert_eq!(
                read(&unzipped, path.as_bytes()),
                path.as_bytes(),
                "{locale}: {path}"
            );
        }
    }
}
