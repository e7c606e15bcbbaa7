//! Attacks on other processes, on their number, and on the end of one's own.

use std::io::{self, Read};
use std::process::{Command, Stdio};

use crate::calls::{call, end, fork};
use crate::{Attempt, number, say, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["effective-uid"] => Ok(rustix::process::geteuid().as_raw().to_string()),
        ["setuid", program] => run_setuid(program),
        ["signal", pid] => number(pid).and_then(|pid| call(libc::SYS_kill, &[pid, 0])),
        ["forks", count] => fork_many(count),
        ["stay", _marker] => stay(),
        ["daemon", marker] => leave_daemon(marker),
        ["stubborn", marker] => ignore_signals().and_then(|()| leave_daemon(marker)),
        ["stopped-tree", marker] => leave(&["stay-stopped", marker]),
        ["stay-stopped", _marker] => stay_stopped(),
        ["linger", marker] => leave_daemon(marker).and_then(|_it| stay()),
        ["kill", pid] => number(pid).and_then(|pid| call(libc::SYS_kill, &[pid, 9])),
        ["breed", marker] => breed(marker),
        ["hold-file", path, _marker] => std::fs::write(path, SECRET).and_then(|()| stay()),
        ["spin"] => Ok((0..200_000_000_u64)
            .fold(0, |sum, n| sum ^ (n << 1))
            .to_string()),
        _ => return None,
    })
}

fn run_setuid(program: &str) -> Attempt {
    let output = Command::new(program).arg("effective-uid").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.trim() == "worked: 0" {
        Ok("ran as root".to_owned())
    } else {
        let uid = said.trim().trim_start_matches("worked: ");
        stopped(format!("it ran as uid {uid}"))
    }
}

/// Forks children that stay until this process ends, so that all are alive at once.
fn fork_many(count: &str) -> Attempt {
    let (mut held, holding) = io::pipe()?;
    for made in 0..number(count)? {
        match fork() {
            Ok(0) => {
                drop(holding);
                // Comes back when the last writer, the parent, is gone.
                held.read_to_end(&mut Vec::new())?;
                end()
            }
            Ok(_child) => {}
            Err(cause) => return stopped(format!("after {made}: {cause}")),
        }
    }
    Ok(format!("{count} processes"))
}

/// Says that it is there and stays until it is killed.
fn stay() -> Attempt {
    say("ready")?;
    loop {
        std::thread::park();
    }
}

/// Leaves a process behind that has nothing to do with this one any more.
fn leave_daemon(marker: &str) -> Attempt {
    leave(&["stay", marker])
}

/// Another session, another parent, no descriptor in common. Returns when that one runs.
fn leave(words: &[&str]) -> Attempt {
    // Not the path in /proc, which a jail need not have.
    let own = std::env::args_os().next().ok_or(io::ErrorKind::NotFound)?;
    let (mut told, telling) = io::pipe()?;
    if fork()? == 0 {
        rustix::process::setsid()?;
        Command::new(own)
            .args(words)
            .stdout(telling)
            .stderr(Stdio::null())
            .spawn()?;
        end()
    }
    drop(telling);
    told.read_exact(&mut [0; 5])?;
    Ok("it stays".to_owned())
}

/// Whatever can be ignored is; what this process starts inherits that.
fn ignore_signals() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        let action = [IGNORE, 0, 0, 0];
        let number = usize::try_from(signal).map_err(io::Error::other)?;
        let arguments = [number, action.as_ptr().expose_provenance(), 0, 8];
        call(libc::SYS_rt_sigaction, &arguments)?;
    }
    Ok(())
}

/// Says that it is there, and stops itself; a stopped process takes no signal but one.
fn stay_stopped() -> Attempt {
    say("ready")?;
    stop()?;
    stay()
}

/// Stops this process until somebody lets it go on.
pub(crate) fn stop() -> io::Result<()> {
    let (own, stop) = (std::process::id(), libc::SIGSTOP);
    let arguments = [own.try_into(), stop.try_into()].map(Result::unwrap_or_default);
    call(libc::SYS_kill, &arguments).map(|_it| ())
}

/// Starts processes that do the same, as fast as they can, until somebody ends them all. Only for a
/// place with a bound on their number and on their time.
fn breed(marker: &str) -> Attempt {
    let own = std::env::args_os().next().ok_or(io::ErrorKind::NotFound)?;
    loop {
        let child = Command::new(&own).args(["breed", marker]).spawn();
        if child.is_err() {
            std::thread::yield_now();
        }
    }
}

/// `SIG_IGN`.
const IGNORE: usize = 1;
const SECRET: &str = "the-secret-of-the-corpus";
