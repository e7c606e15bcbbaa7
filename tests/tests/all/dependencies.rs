//! The architecture as failing checks: who may depend on whom, which outside crates have one home,
//! where unsafe code may be, and what lies at the top of the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// What each of our crates may use of ours.
const OURS: &[(&str, &[&str])] = &[
    ("stap-protocol", &[]),
    ("stap-policy", &[]),
    ("stap-filter", &[]),
    // It is compiled without cargo, so it can have no dependencies at all.
    ("stap-driver", &[]),
    ("stap-jail", &["stap-filter"]),
    ("stap-certs", &[]),
    ("stap-transport", &["stap-protocol"]),
    (
        "stap-client",
        &["stap-protocol", "stap-transport", "stap-certs"],
    ),
    ("stap-store", &["stap-protocol"]),
    (
        "stap-coordinator",
        &[
            "stap-protocol",
            "stap-store",
            "stap-transport",
            "stap-certs",
            "stap-policy",
            "stap-filter",
            // For tests only; see WRAPPED.
            "stap-signer",
        ],
    ),
    (
        "stap-worker",
        &[
            "stap-protocol",
            "stap-policy",
            "stap-driver",
            "stap-jail",
            "stap-filter",
        ],
    ),
    (
        "stap-signer",
        &["stap-protocol", "stap-policy", "stap-certs", "stap-filter"],
    ),
    (
        "stap-tests",
        &[
            "stap-certs",
            "stap-client",
            "stap-coordinator",
            "stap-driver",
            "stap-jail",
            "stap-policy",
            "stap-protocol",
            "stap-signer",
            "stap-store",
            "stap-transport",
            "stap-worker",
        ],
    ),
];

/// Outside crates that few of ours may name, with the reason.
const WRAPPED: &[(&str, &[&str], &str)] = &[
    (
        "rustls",
        &["stap-transport"],
        "one place builds TLS configurations",
    ),
    (
        "tokio-rustls",
        &["stap-transport"],
        "one place builds TLS configurations",
    ),
    (
        "stap-signer",
        &["stap-tests"],
        "the keys for modules are in a program of their own",
    ),
    ("cms", &["stap-signer"], "one program signs modules"),
    (
        "aws-lc-rs",
        &["stap-certs", "stap-signer"],
        "one opens NSS's key stores, the other signs modules",
    ),
    ("rcgen", &["stap-certs"], "one place issues certificates"),
    (
        "landlock",
        &["stap-jail", "stap-coordinator", "stap-signer"],
        "the jail restricts jobs, the front and the signer themselves",
    ),
    (
        "caps",
        &["stap-jail", "stap-coordinator", "stap-signer"],
        "they give up what root gave them",
    ),
    (
        "seccompiler",
        &["stap-filter"],
        "one place makes filters of system calls",
    ),
    ("openssl-sys", &[], "TLS is rustls, everywhere"),
    ("native-tls", &[], "TLS is rustls, everywhere"),
];

/// Licences that may be linked into what we ship. An expression needs one acceptable alternative.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The registry, which is the only source of outside code.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The only files that may hold unsafe code: what the jail asks of the kernel, and what an attacker in
/// the tests asks of it. This file only names the words.
const UNSAFE: [&str; 3] = [
    "worker/jail/src/sys.rs",
    "worker/jail/tests/attack/calls.rs",
    "tests/tests/all/dependencies.rs",
];

/// What may lie at the top of the repository.
const FOLDERS: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    "client",
    "coordinator",
    "deploy",
    "docs",
    "policies",
    "tests",
    "worker",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn metadata() -> Metadata {
    let manifest = repository().join("Cargo.toml");
    let options = ["--locked".to_owned(), "--offline".to_owned()];
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(options)
        .exec()
        .unwrap()
}

#[test]
fn our_crates_depend_only_on_whom_they_may() {
    let allowed: BTreeMap<_, _> = OURS.iter().copied().collect();
    for package in metadata().workspace_packages() {
        let name = package.name.as_str();
        let permitted = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in the design"));
        for dependency in package
            .dependencies
            .iter()
            .filter(|other| allowed.contains_key(&*other.name))
        {
            let other = dependency.name.as_str();
            assert!(
                permitted.contains(&other),
                "{name} may not depend on {other}"
            );
        }
    }
}

#[test]
fn outside_crates_with_one_home_are_named_only_there() {
    let metadata = metadata();
    for (outside, homes, reason) in WRAPPED {
        let named = |package: &&&Package| {
            let mut shipped = package.dependencies.iter();
            shipped.any(|other| other.name == *outside && other.kind != DependencyKind::Development)
        };
        let packages = metadata.workspace_packages();
        for package in packages.iter().filter(named) {
            let name = package.name.as_str();
            assert!(
                homes.contains(&name),
                "{name} names {outside}, but {reason}"
            );
        }
        let present = metadata
            .packages
            .iter()
            .any(|package| package.name == *outside);
        assert!(
            !homes.is_empty() || !present,
            "{outside} is built, but {reason}"
        );
    }
}

#[test]
fn outside_code_comes_from_the_registry_under_a_licence_we_accept() {
    let metadata = metadata();
    let outside = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some());
    for package in outside {
        let name = package.name.as_str();
        let source = package.source.as_ref().unwrap();
        assert_eq!(source.repr, REGISTRY, "{name} comes from elsewhere");
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(is_acceptable(licence), "{name} is under {licence}");
    }
}

/// Judges an SPDX expression of the shapes that the registry holds: alternatives, each of which may
/// join several licences.
fn is_acceptable(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let conjunctions: Vec<_> = plain.split(" AND ").collect();
    conjunctions.iter().all(|part| {
        part.split(" OR ")
            .any(|name| LICENCES.contains(&name.trim()))
    })
}

#[test]
fn copyleft_and_unknown_licences_are_not_acceptable() {
    for expression in [
        "MIT OR Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "MIT/Apache-2.0",
        "ISC AND (Apache-2.0 OR ISC)",
    ] {
        assert!(is_acceptable(expression), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-2.0", "none", "LGPL-3.0-or-later"] {
        assert!(!is_acceptable(expression), "{expression}");
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_one_file() {
    let root = repository();
    for package in metadata().workspace_packages() {
        for target in package
            .targets
            .iter()
            .filter(|target| target.is_lib() || target.is_bin())
        {
            let source = target.src_path.as_std_path();
            let text = fs::read_to_string(source).unwrap();
            let holds_the_file = package.name.as_str() == "stap-jail" && target.is_lib();
            let forbids = text.contains("#![forbid(unsafe_code)]");
            // An attacker makes system calls that have no safe wrapper; no product holds it.
            let attacks = package.name.as_str() == "stap-tests" && target.name == "hostile-stap";
            assert!(
                forbids || holds_the_file || attacks,
                "{} does not forbid unsafe code",
                source.display()
            );
        }
    }
    for source in sources(&root) {
        let relative = source.strip_prefix(&root).unwrap();
        let text = fs::read_to_string(&source).unwrap();
        let opens = [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "expect(unsafe_code",
        ];
        let mut code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let found = code.any(|line| opens.iter().any(|word| line.contains(word)));
        assert!(
            !found || UNSAFE.iter().any(|file| relative == Path::new(file)),
            "{} holds unsafe code",
            relative.display()
        );
    }
}

#[test]
fn files_and_the_top_of_the_repository_keep_their_shape() {
    let root = repository();
    for source in sources(&root) {
        let lines = fs::read_to_string(&source).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines", source.display());
    }
    let tracked = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files"])
        .current_dir(&root)
        .output()
        .unwrap();
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    let top: BTreeSet<_> = tracked
        .lines()
        .filter_map(|path| Some(path.split_once('/')?.0))
        .collect();
    for folder in top {
        assert!(
            FOLDERS.contains(&folder),
            "{folder} is not a folder of the design"
        );
    }
}

/// Every Rust source of ours.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories: Vec<_> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name() != Some("target".as_ref()) {
                directories.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                found.push(path);
            }
        }
    }
    assert!(
        !found.is_empty(),
        "the sources are where this test was built"
    );
    found
}
