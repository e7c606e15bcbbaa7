//! What stands in for `env` in a jail.
//!
//! Whatever it is asked that is not a build that it has a recipe for, or that does not succeed, it
//! leaves to the real `env`, unchanged. So a user never sees a message that is not kbuild's own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::invocation::Invocation;
use crate::makefile::Makefile;
pub use crate::recipe::DIRECTORY;
use crate::recipe::Recipe;
use crate::replay::{Reason, Replay};

/// Its own name there.
pub const NAME: &str = "env";
/// The recipe, beside it.
pub const RECIPE: &str = "recipe";
/// Where a note is left on how a build went, below the workspace.
pub const NOTE: &str = "response/pass-4";
/// What a note says of a build that was replayed.
pub const REPLAYED: &str = "replayed";
/// Where a trusted job without a recipe leaves the arguments of `env`, each with a NUL.
pub const ASKED: &str = "response/asked";

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match attempt(&arguments) {
        Some(Ok(said)) => {
            note(REPLAYED);
            // Nobody is left to tell.
            let _told = io::stderr().write_all(&said);
            ExitCode::SUCCESS
        }
        Some(Err(reason)) => {
            note(&reason);
            real(&arguments)
        }
        None => real(&arguments),
    }
}

/// `None` when this is nothing for us.
fn attempt(arguments: &[OsString]) -> Option<Result<Vec<u8>, Reason>> {
    let invocation = Invocation::of(arguments)?;
    let place = Path::new(invocation.directory()?);
    let Ok(recipe) = read(&Path::new(DIRECTORY).join(RECIPE)) else {
        record(arguments);
        return None;
    };
    let recipe = Recipe::decode(&recipe)?;
    let makefile = read(&place.join("Makefile")).ok()?;
    let makefile = Makefile::read(
        std::str::from_utf8(&makefile).ok()?,
        invocation.directory()?,
    )?;
    let Some(build) = recipe.find(&invocation, &makefile) else {
        return Some(Err("nothing like it was recorded".to_owned()));
    };
    let replay = Replay {
        build,
        kept: &recipe.kept,
        module: &makefile.module,
        place,
        jobs: invocation.jobs(),
        environment: &invocation.environment(&build.family, std::env::vars_os()),
    };
    Some(replay.run())
}

/// Becomes the real `env`.
fn real(arguments: &[OsString]) -> ExitCode {
    for program in ["/usr/bin/env", "/bin/env"] {
        let _error = Command::new(program).args(arguments).exec();
    }
    ExitCode::from(NOT_FOUND)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// A note that cannot be left is missed by nobody but the log.
fn note(text: &str) {
    let _written = std::fs::write(Path::new(WORKSPACE).join(NOTE), text);
}

fn record(arguments: &[OsString]) {
    let mut words = Vec::new();
    for word in arguments {
        words.extend_from_slice(word.as_encoded_bytes());
        words.push(0);
    }
    let _written = std::fs::write(Path::new(WORKSPACE).join(ASKED), words);
}

/// Where jobs see their workspace.
const WORKSPACE: &str = "/work";
/// Recipes and Makefiles have some tens of kilobytes.
const MAX_FILE: u64 = 4 << 20;
/// What shells say of a program that is not there.
const NOT_FOUND: u8 = 127;
