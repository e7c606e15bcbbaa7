//! What make asks in a jail before it builds anything.
//!
//! It answers that the module is built, or nothing. Whatever it is asked that is not a build that it has
//! a recipe for, or that does not succeed, is then for make, as if nobody had asked. So a user never
//! sees a message that is not kbuild's own.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::invocation::Invocation;
use crate::makefile::Makefile;
pub use crate::recipe::DIRECTORY;
use crate::recipe::Recipe;
use crate::replay::{Built, Reason, Replay};

/// Its own name there.
pub const NAME: &str = "stap-kbuild";
/// The recipe, beside it.
pub const RECIPE: &str = "recipe";
/// The Makefile that asks, beside it too; see [`crate::front`].
pub const MAKEFILE: &str = "Makefile";
/// What it says when there is nothing left to build.
pub const ANSWER: &str = "replayed";
/// Where a note is left on how a build went, below the workspace.
pub const NOTE: &str = "response/pass-4";
/// How a note begins on a build that was replayed.
pub const REPLAYED: &str = "replayed";
/// Where a trusted job without a recipe leaves how make was started; [`Invocation::read`] reads it.
pub const ASKED: &str = "response/asked";
/// Beside the program, in a trusted job that is only to show what stap asks of kbuild: nothing is built.
pub const DEFERRED: &str = "deferred";
/// Where such a job leaves how make was started, in the directory of each build.
pub const ASKED_HERE: &str = "asked";

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    match attempt() {
        Some(Ok(built)) => {
            note(&success(built.compiling));
            // Without an answer make builds it again.
            let _told = io::stderr().write_all(&built.said);
            let _told = io::stdout().write_all(ANSWER.as_bytes());
        }
        Some(Err(reason)) => note(&reason),
        None => {}
    }
    ExitCode::SUCCESS
}

/// `None` when this is nothing for us.
fn attempt() -> Option<Result<Built, Reason>> {
    let told = told(parent_id()).ok()?;
    let invocation = Invocation::read(&told)?;
    let directory = invocation.directory()?;
    let place = Path::new(directory);
    if std::fs::symlink_metadata(Path::new(DIRECTORY).join(DEFERRED)).is_ok() {
        let _written = std::fs::write(place.join(ASKED_HERE), told);
        return Some(Ok(Built {
            said: Vec::new(),
            compiling: None,
        }));
    }
    let Ok(recipe) = read(&Path::new(DIRECTORY).join(RECIPE)) else {
        let _written = std::fs::write(Path::new(WORKSPACE).join(ASKED), told);
        return None;
    };
    let recipe = Recipe::decode(&recipe)?;
    let makefile = read(&place.join("Makefile")).ok()?;
    let makefile = Makefile::read(std::str::from_utf8(&makefile).ok()?, directory)?;
    let Some(build) = recipe.find(&invocation, &makefile) else {
        return Some(Err("nothing like it was recorded".to_owned()));
    };
    let replay = Replay {
        build,
        kept: &recipe.kept,
        module: &makefile.module,
        place,
        jobs: invocation.jobs(),
        environment: &invocation.environment(&build.family),
    };
    Some(replay.run())
}

/// How a process was started.
fn told(process: u32) -> io::Result<Vec<u8>> {
    let read = |name: &str| read(Path::new(&format!("/proc/{process}/{name}")));
    Ok(Invocation::told(&read("environ")?, &read("cmdline")?))
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

/// What a note says of a build that was replayed.
fn success(compiling: Option<Duration>) -> String {
    match compiling {
        Some(time) => format!("{REPLAYED}, {}{COMPILING}", time.as_millis()),
        None => REPLAYED.to_owned(),
    }
}

/// The processor time of compiling in a note on a build that was replayed.
#[must_use]
pub fn time_in(note: &str) -> Option<Duration> {
    let time = note.strip_prefix(REPLAYED)?.strip_prefix(", ")?;
    let milliseconds = time.strip_suffix(COMPILING)?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}

/// A note that cannot be left is missed by nobody but the log.
fn note(text: &str) {
    let _written = std::fs::write(Path::new(WORKSPACE).join(NOTE), text);
}

const COMPILING: &str = " ms of processor time for compiling";
/// Where jobs see their workspace.
const WORKSPACE: &str = "/work";
/// Recipes and Makefiles have some tens of kilobytes.
const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_a_note_can_be_read() {
        let time = Duration::from_millis(930);
        let said = success(Some(time));
        assert_eq!(said, "replayed, 930 ms of processor time for compiling");
        assert_eq!(time_in(&said), Some(time));
        for other in [success(None), "gcc: exit status: 1".to_owned(), said + "?"] {
            assert_eq!(time_in(&other), None, "{other}");
        }
    }
}
