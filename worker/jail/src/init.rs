//! Pid 1 of the job: builds the jail, starts the job, reaps, and takes everything with it when it
//! ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_current_process_group, wait};

use crate::ladder::{Climb, Doing, Fall, Fault, Stage};
use crate::report::{Event, JobEnd};
use crate::sys::{self, Fork};

/// Exit status of a process that has already told the worker why it ended.
pub(crate) const TOLD: i32 = 1;
/// Exit status of a process that ended and had nobody to tell why.
const UNHEARD: i32 = 2;

/// Lives the life of pid 1. `tether` leads to the launcher: its hang-up means that the launcher is
/// dead, and the job's end is reported over it.
pub(crate) fn live(climb: &mut Climb, tether: OwnedFd) -> ! {
    let status = match start(climb) {
        Ok(Started::Running(watched)) => watch(climb, &watched, tether),
        Ok(Started::Failed) => TOLD,
        Err(fall) => tell(climb, &fall),
    };
    sys::exit_now(status)
}

enum Started {
    /// The job's own code runs.
    Running(Watched),
    /// It never ran, and the worker has been told why.
    Failed,
}

struct Watched {
    job: Pid,
    child_signals: OwnedFd,
}

fn start(climb: &mut Climb) -> Result<Started, Fall> {
    climb.take(Stage::Init)?;
    launch(climb).map_err(|cause| Fall {
        rung: "start",
        cause,
    })
}

/// Forks the process that becomes the job, and waits until it has.
fn launch(climb: &mut Climb) -> Result<Started, Fault> {
    let child_signals = sys::child_signals().doing("listening for ended children")?;
    let (failed, failing) = pipe_with(PipeFlags::CLOEXEC).doing("making a pipe")?;
    match sys::fork().doing("forking the job")? {
        Fork::Child => {
            drop(failed);
            become_the_job(climb, failing)
        }
        Fork::Parent { child } => {
            drop(failing);
            climb.lighten();
            // The successful execve closes the pipe without a word.
            let mut word = [0];
            match File::from(failed)
                .read(&mut word)
                .doing("waiting for the job to start")?
            {
                0 => Ok(Started::Running(Watched {
                    job: child,
                    child_signals,
                })),
                _ => Ok(Started::Failed),
            }
        }
    }
}

fn become_the_job(climb: &mut Climb, failing: OwnedFd) -> ! {
    if let Err(fall) = climb.take(Stage::Job) {
        tell(climb, &fall);
    }
    // The last rung returns only when it failed.
    let heard = File::from(failing).write_all(b"f").is_ok();
    sys::exit_now(if heard { TOLD } else { UNHEARD })
}

/// Waits for the end of the job or of those who want it. Returns the exit status.
fn watch(climb: &Climb, watched: &Watched, tether: OwnedFd) -> i32 {
    loop {
        let mut descriptors = [
            PollFd::new(&watched.child_signals, PollFlags::IN),
            PollFd::new(&climb.lifeline, PollFlags::IN),
            PollFd::new(&tether, PollFlags::IN),
        ];
        match poll(&mut descriptors, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return end_everything(),
        }
        // The worker writes nothing after the go-ahead and the launcher nothing at all, so whatever
        // comes is the end.
        if descriptors[1..].iter().any(|end| !end.revents().is_empty()) {
            return end_everything();
        }
        if let Some(end) = reap(watched) {
            return report(tether, end);
        }
    }
}

/// In a pid namespace the exit that follows kills whatever lives there. Without one this reaches all
/// that stayed in the session; the launcher finds the others, or the worker's cgroup does.
fn end_everything() -> i32 {
    match kill_current_process_group(Signal::KILL) {
        Ok(()) => TOLD,
        Err(_nobody) => UNHEARD,
    }
}

/// Reaps every child that has ended, orphans of the job included, and returns the job's end.
fn reap(watched: &Watched) -> Option<JobEnd> {
    // One readable signal may stand for many children, so the count read here means nothing.
    let mut signal = [0; SIGNAL_RECORD];
    while rustix::io::read(&watched.child_signals, &mut signal).is_ok_and(|count| count > 0) {}
    let mut end = None;
    while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
        if child == watched.job {
            end = Some(job_end(status));
        }
    }
    end
}

fn job_end(status: WaitStatus) -> JobEnd {
    match status.terminating_signal() {
        Some(signal) => JobEnd::Signalled(signal),
        None => JobEnd::Exited(
            status
                .exit_status()
                .expect("a child that was reaped has ended"),
        ),
    }
}

fn report(tether: OwnedFd, end: JobEnd) -> i32 {
    let Ok(bytes) = postcard::to_stdvec(&end) else {
        return TOLD;
    };
    match File::from(tether).write_all(&bytes) {
        Ok(()) => 0,
        Err(_launcher_gone) => TOLD,
    }
}

/// Tells the worker why there is no job.
pub(crate) fn tell(climb: &Climb, fall: &Fall) -> i32 {
    let heard = climb
        .status
        .send(&Event::setup_failed(fall.rung, &fall.cause.to_string()));
    if heard { TOLD } else { UNHEARD }
}

/// Size of one record of a signalfd.
const SIGNAL_RECORD: usize = 128;
