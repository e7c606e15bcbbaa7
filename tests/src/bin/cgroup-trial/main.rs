//! Tries the worker's control groups on a kernel that has nothing but the unified hierarchy.
//!
//! ```text
//! cgroup-trial                 every situation in turn, as JSON on stdout; needs root and an empty machine
//! ```
//!
//! It is the only program of a guest that `deploy/guest --run` boots; see the test module `guest`.
//! It starts itself again in other roles: as the coordinator and the worker of a [`situation`], and
//! as jobs that misbehave ([`victim`]). Whatever it starts waits for the end of its stdin first, so
//! that it can be put into a group before it does anything.
#![forbid(unsafe_code)]

mod checks;
mod situation;
mod victim;

use std::io::Read as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => situation::try_all(),
        [COORDINATE, expected] => coordinate(expected),
        [WORK, expected] => checks::run(expected),
        [ABANDON] => checks::abandon(),
        [victim] => victim::misbehave(victim),
        _ => bail!("unknown arguments {words:?}"),
    }
}

/// Starts a worker and waits for it, as the real coordinator does, and another process before it, as the
/// coordinator does with the signer. The driver has to move them too.
fn coordinate(expected: &str) -> anyhow::Result<ExitCode> {
    let mut signer = own_program()?.arg(victim::HOLD).spawn()?;
    let status = own_program()?.args([WORK, expected]).status();
    signer.kill()?;
    signer.wait()?;
    let status = status?;
    let code = status.code().context("the worker was killed")?;
    Ok(u8::try_from(code)?.into())
}

/// This program once more, with nothing on its stdin.
fn own_program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(std::process::Stdio::null());
    Ok(command)
}

const COORDINATE: &str = "coordinate";
const WORK: &str = "work";
const ABANDON: &str = "abandon";
