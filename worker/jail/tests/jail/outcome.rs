//! What came back from a jail.

use std::os::fd::OwnedFd;

use stap_jail::layer::Layer;
use stap_jail::report::{Event, JobEnd, TreeUsage};

/// How a jail ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) workspace: Option<OwnedFd>,
}

/// How an attack went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    Worked,
    Stopped,
}

impl Outcome {
    /// The layers that were in force, and how the job ended.
    pub(crate) fn ended(&self) -> (Vec<Layer>, JobEnd, TreeUsage) {
        match self.events.as_slice() {
            [Event::Enforced { layers }, Event::Ended { end, usage }] => {
                (layers.iter().map(|held| held.layer).collect(), *end, *usage)
            }
            _ => panic!(
                "the jail did not run its job to the end: {self:?}, {}",
                self.stderr
            ),
        }
    }

    /// The rung on which the jail was given up.
    pub(crate) fn failed(&self) -> (&str, &str) {
        match self.events.as_slice() {
            [Event::SetupFailed { rung, reason }] => (rung, reason),
            _ => panic!("the jail was built: {self:?}"),
        }
    }

    /// What the attack program said of its attack.
    pub(crate) fn attack(&self) -> Attack {
        match (self.ended().1, self.stdout.lines().last()) {
            (JobEnd::Exited(0), Some(line)) if line.starts_with("worked") => Attack::Worked,
            (JobEnd::Exited(7), Some(line)) if line.starts_with("stopped") => Attack::Stopped,
            _ => panic!("the attack program neither worked nor was stopped: {self:?}"),
        }
    }
}
