//! The process that the worker started: goes down the first part of the ladder, then stays outside
//! the job's pid namespace and sees to its end.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open,
    pidfd_send_signal, set_dumpable_behavior, waitpid,
};

use crate::channel::Inherited;
use crate::descendants::Descendants;
use crate::init::{self, TOLD};
use crate::ladder::{self, Climb, Doing, Fall, Fault, Stage};
use crate::report::{Event, JobEnd};
use crate::sys::{self, Fork};

/// Runs one plan. The exit status is only for people; the worker is told by events.
pub(crate) fn run(inherited: Inherited) -> ExitCode {
    match inherited.wait_for_go() {
        Ok(true) => {}
        Ok(false) => return ExitCode::FAILURE,
        Err(cause) => return refuse(&inherited, "go", &cause.to_string()),
    }
    let plan = match inherited.read_plan() {
        Ok(plan) => plan,
        Err(cause) => return refuse(&inherited, "plan", &cause.to_string()),
    };
    let mut climb = Climb::new(plan, inherited);
    match launch(&mut climb).and_then(|jail| jail.watch(&climb)) {
        Ok(Some(event)) if climb.status.send(&event) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(fall) => {
            init::tell(&climb, &fall);
            ExitCode::FAILURE
        }
    }
}

fn refuse(inherited: &Inherited, rung: &str, reason: &str) -> ExitCode {
    inherited.status.send(&Event::setup_failed(rung, reason));
    ExitCode::FAILURE
}

/// A jail that is being built or holds its job.
struct Jail {
    init: Pid,
    pidfd: OwnedFd,
    /// Leads to pid 1, which hangs itself when this end closes.
    tether: OwnedFd,
    descendants: Option<Descendants>,
}

/// Takes the launcher's rungs and forks pid 1 of what they made.
fn launch(climb: &mut Climb) -> Result<Jail, Fall> {
    climb.take(Stage::Launcher)?;
    fork_init(climb).map_err(|cause| Fall {
        rung: "init",
        cause,
    })
}

fn fork_init(climb: &mut Climb) -> Result<Jail, Fault> {
    let flags = SocketFlags::CLOEXEC;
    let (tether, inner) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .doing("making the tether")?;
    match sys::fork().doing("forking pid 1")? {
        Fork::Child => {
            drop(tether);
            climb.descendants = None;
            init::live(climb, inner)
        }
        Fork::Parent { child } => {
            climb.lighten();
            let pidfd = pidfd_open(child, PidfdFlags::empty()).doing("watching pid 1")?;
            Ok(Jail {
                init: child,
                pidfd,
                tether,
                descendants: climb.descendants.take(),
            })
        }
    }
}

impl Jail {
    /// Waits for the end and returns what is to be said about it, or `None` where that was said
    /// already or nobody is left to hear it.
    fn watch(self, climb: &Climb) -> Result<Option<Event>, Fall> {
        let watched = give_up().and_then(|()| self.wait(&climb.lifeline));
        if !matches!(watched, Ok(Watched::Ended)) {
            // It may have ended by itself just now, and then there is nothing to kill.
            pidfd_send_signal(&self.pidfd, Signal::KILL)
                .or_else(ended_already)
                .map_err(fall)?;
        }
        let status = self.reap().map_err(fall)?;
        Ok(match watched.map_err(fall)? {
            Watched::Ended => self.verdict(status),
            Watched::WorkerGone => None,
        })
    }

    /// Waits until pid 1 has ended or the worker wants it to.
    fn wait(&self, lifeline: &OwnedFd) -> Result<Watched, Fault> {
        loop {
            let mut descriptors = [
                PollFd::new(&self.pidfd, PollFlags::IN),
                PollFd::new(lifeline, PollFlags::IN),
            ];
            match poll(&mut descriptors, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(cause) => return Err(cause).doing("waiting for the job"),
            }
            let [init, lifeline] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
            // Pid 1 watches the lifeline too and may have been quicker; that is no loss to report.
            if lifeline {
                return Ok(Watched::WorkerGone);
            }
            if init {
                return Ok(Watched::Ended);
            }
        }
    }

    /// Waits for the last process of the job. The kernel lets pid 1 of a namespace end only after
    /// all others in it, so there one wait is enough.
    fn reap(&self) -> Result<WaitStatus, Fault> {
        let ended = waitpid(Some(self.init), WaitOptions::empty()).doing("reaping pid 1")?;
        let (_init, status) = ended.ok_or_else(|| Fault::unfit("pid 1 cannot be reaped"))?;
        if let Some(descendants) = &self.descendants {
            descendants.end_all().doing("ending the job's processes")?;
        }
        Ok(status)
    }

    fn verdict(self, status: WaitStatus) -> Option<Event> {
        match status.exit_status() {
            Some(0) => Some(self.job_end().map_or_else(lost, |end| Event::Ended {
                end,
                usage: sys::children_usage(),
            })),
            Some(TOLD) => None,
            Some(other) => Some(lost(format!("pid 1 of the job exited with status {other}"))),
            None => {
                let signal = status.terminating_signal().unwrap_or(0);
                Some(lost(format!(
                    "pid 1 of the job was killed by signal {signal}"
                )))
            }
        }
    }

    /// What pid 1 wrote before it ended.
    fn job_end(self) -> Result<JobEnd, String> {
        let mut bytes = Vec::new();
        let mut tether = File::from(self.tether).take(MAX_JOB_END);
        tether
            .read_to_end(&mut bytes)
            .map_err(|cause| format!("reading the job's end: {cause}"))?;
        postcard::from_bytes(&bytes).map_err(|cause| format!("reading the job's end: {cause}"))
    }
}

enum Watched {
    /// Pid 1 has ended.
    Ended,
    /// The worker closed the lifeline.
    WorkerGone,
}

/// The launcher built the jail and needs nothing any more; where the job has the same user and no
/// pid namespace, it must not be of use to it.
fn give_up() -> Result<(), Fault> {
    ladder::give_up_capabilities()?;
    rustix::thread::set_no_new_privs(true).doing("promising no new privileges")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("hiding from the job")
}

fn ended_already(cause: Errno) -> Result<(), Fault> {
    if cause == Errno::SRCH {
        Ok(())
    } else {
        Err(cause).doing("killing pid 1")
    }
}

fn fall(cause: Fault) -> Fall {
    Fall { rung: RUNG, cause }
}

fn lost(reason: String) -> Event {
    Event::Lost { reason }
}

/// What the launcher does after the fork, as reports name it.
const RUNG: &str = "watch";
/// An encoded [`JobEnd`] is shorter.
const MAX_JOB_END: u64 = 16;
