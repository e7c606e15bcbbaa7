//! The outer half of a test: starts the test again in a world of its own, and tells what came of it.

use std::process::Command;

use super::sources::enter_program;
use crate::world::{self, Sources};

/// Printed when a body came to its end, so that a body that never ran cannot pass.
pub(super) const FINISHED: &str = "lab: the body came to its end";

/// What a lab has of its own, in unshare's words.
const NEW_WORLD: &str = "--mount --net --pid --uts --ipc --fork --kill-child --mount-proc";

/// The path of the test that holds the closure, as the test program names it.
pub(super) fn test_name<F>() -> String {
    let full = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    full.split_once("::")
        .map_or(full, |(_, path)| path)
        .to_owned()
}

/// A command that runs this program in a new world; its arguments are missing.
pub(super) fn entering(sources: &Sources) -> Command {
    assert!(
        rustix::process::geteuid().is_root(),
        "the lab needs root: run tests/run as root"
    );
    let mut command = Command::new("unshare");
    command
        .args(NEW_WORLD.split(' '))
        .args([enter_program().as_os_str(), world::TEST.as_ref()])
        .envs(sources.to_environment());
    command
}

/// Starts this test in a new world and reports what came of it.
pub(super) fn start_inside(test: &str, sources: &Sources) {
    let output = entering(sources)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .output()
        .expect("unshare is part of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let came_to_its_end = said.lines().any(|line| line == FINISHED);
    let (before, panic) = complained.split_at(start_of_panic(&complained));
    assert!(
        output.status.success() && came_to_its_end,
        "{panic}\n{test} failed inside the lab ({}), and said before:\n{said}\n{before}",
        output.status
    );
}

/// Where the words of the first panic begin, which somebody wants to read before anything else.
fn start_of_panic(complained: &str) -> usize {
    let lines = complained.split_inclusive('\n');
    let is_first = |line: &str| line.starts_with("thread '") && line.contains(" panicked at ");
    let before = lines.take_while(|line| !is_first(line));
    let length = before.map(str::len).sum();
    if length == complained.len() {
        0
    } else {
        length
    }
}
