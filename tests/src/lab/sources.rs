//! What this build and this run offer to a lab.

use std::fs;
use std::path::{Path, PathBuf};

use crate::requirement::{self, Peer};
use crate::world::Sources;

/// With the roots that the environment names.
pub(super) fn sources() -> Sources {
    let test = std::env::current_exe().expect("/proc is mounted");
    let profile = profile_directory(&test);
    let warm = kept();
    fs::create_dir_all(&warm).expect("cargo's own directory is writable");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Sources {
        programs: profile.to_owned(),
        standins: package.join("standins"),
        deploy: package.with_file_name("deploy"),
        warm,
        target_root: requirement::target_root(),
        stock: requirement::stock(),
        other_root: None,
        test,
    }
}

/// The same with the root and the stock server of another release.
pub(super) fn sources_with(peer: &Peer) -> Sources {
    let sources = sources();
    let warm = sources.warm.join(peer.suite());
    fs::create_dir_all(&warm).expect("cargo's own directory is writable");
    Sources {
        warm,
        target_root: Some(peer.root.clone()),
        stock: Some(peer.server.clone()),
        ..sources
    }
}

/// What is [`WARM`](crate::world::WARM) inside, seen from outside.
///
/// # Panics
/// When there is no `/proc`.
#[must_use]
pub fn kept() -> PathBuf {
    let test = std::env::current_exe().expect("/proc is mounted");
    profile_directory(&test).join("lab-warm")
}

/// The directory into which cargo puts the programs; a test is in `deps` below it.
fn profile_directory(own: &Path) -> &Path {
    let directory = own.parent().expect("a program is in a directory");
    let above = directory.parent().filter(|_| directory.ends_with("deps"));
    above.unwrap_or(directory)
}

pub(super) fn enter_program() -> PathBuf {
    let test = std::env::current_exe().expect("/proc is mounted");
    let program = profile_directory(&test).join("lab-enter");
    assert!(
        program.exists(),
        "{} is missing: run tests/run",
        program.display()
    );
    program
}
