//! Jobs that use more than they may, or do not want to end.

use std::process::{Child, ExitCode};

use anyhow::bail;
use rustix::process::Signal;

use crate::own_program;

/// Plays one role to its end, if it has one.
pub(crate) fn misbehave(role: &str) -> anyhow::Result<ExitCode> {
    match role {
        HOLD => hold(),
        EAT => eat(),
        SPIN => loop {
            std::hint::spin_loop();
        },
        FORK => fork(),
        BREED => breed(),
        STOP => stop(),
        _ => bail!("unknown role {role}"),
    }
}

/// Does nothing, for ever.
fn hold() -> ! {
    loop {
        std::thread::park();
    }
}

/// Touches far more memory than a group has in the trial.
fn eat() -> anyhow::Result<ExitCode> {
    let eaten = vec![1_u8; FAR_TOO_MUCH];
    std::hint::black_box(&eaten);
    Ok(ExitCode::SUCCESS)
}

/// Starts processes until the kernel refuses one; succeeds only when it never does.
fn fork() -> anyhow::Result<ExitCode> {
    for _ in 0..FAR_TOO_MANY {
        if own_program()?.arg(HOLD).spawn().is_err() {
            return Ok(REFUSED.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts processes that do the same, each as fast as it can, so that whoever kills the ones that
/// he has seen is never done.
fn breed() -> anyhow::Result<ExitCode> {
    let mut young: Vec<Child> = Vec::new();
    loop {
        match own_program()?.arg(BREED).spawn() {
            Ok(child) => young.push(child),
            Err(_) => {
                if let Some(mut child) = young.pop() {
                    child.kill()?;
                    child.wait()?;
                }
            }
        }
    }
}

/// Stops itself; a stopped process gets no signal but the one that kills.
fn stop() -> ! {
    let stopped = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
    stopped.expect("a process may stop itself");
    hold()
}

/// The roles.
pub(crate) const HOLD: &str = "hold";
pub(crate) const EAT: &str = "eat";
pub(crate) const SPIN: &str = "spin";
pub(crate) const FORK: &str = "fork";
pub(crate) const BREED: &str = "breed";
pub(crate) const STOP: &str = "stop";

/// The exit status of [`FORK`] when the kernel refused a process.
pub(crate) const REFUSED: u8 = 42;
const FAR_TOO_MUCH: usize = 128 << 20;
const FAR_TOO_MANY: usize = 64;
