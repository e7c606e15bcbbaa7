//! The first process of a lab: builds the world, starts the test in it and reaps.
//!
//! The kernel kills everything in the pid namespace when this process ends, so nothing that a test
//! starts can outlive it, whatever happens. It reaps orphans because a server whose parent is gone
//! would otherwise stay a zombie, and a test that waits for its end would wait for ever.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::world::{self, Sources};

/// Set inside a lab.
pub const INSIDE: &str = "LAB_INSIDE";

/// Builds the world, runs the command in it and returns its exit status.
#[expect(
    clippy::print_stderr,
    reason = "the test outside shows this to the person"
)]
pub fn run(command: impl Iterator<Item = OsString>) -> ExitCode {
    match enter(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lab-enter: the lab cannot be built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn enter(mut command: impl Iterator<Item = OsString>) -> io::Result<u8> {
    world::build(&Sources::from_environment()?)?;
    let program = command
        .next()
        .ok_or_else(|| io::Error::other("no command given"))?;
    let child = Command::new(program)
        .args(command)
        .current_dir("/")
        .env(INSIDE, "1")
        .env("PATH", world::PATH)
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    reap_until(pid.ok_or_else(|| io::Error::other("the kernel gave an impossible pid"))?)
}

/// Reaps every process that ends, until the test itself does.
fn reap_until(test: Pid) -> io::Result<u8> {
    loop {
        match rustix::process::wait(WaitOptions::empty())? {
            Some((pid, status)) if pid == test => return Ok(exit_code(status)),
            _ => {}
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}
