//! What ends an errand, and whose doing it was.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use stap_jail::layer::{HeldLayer, Layer};
use stap_jail::report::{Event, JobEnd, TreeUsage};
use stap_policy::{Limits, OnFlood};
use stap_protocol::job::Usage;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::filled::Filled;
use super::output::Floods;
use super::stop::Remains;
use super::{End, Fault, Limit, Room};
use crate::cgroup::{Group, Hit};

/// What ends an errand.
pub(super) struct Watch<'a> {
    pub(super) limits: &'a Limits,
    /// What the launcher must say that holds, before anything that it says of the job counts.
    pub(super) layers: &'a BTreeSet<Layer>,
    pub(super) group: Option<&'a Group>,
    pub(super) room: &'a Room,
    /// Where the launcher leaves the workspace before the job starts.
    pub(super) handover: &'a OwnedFd,
    pub(super) started: Instant,
    pub(super) cancelled: &'a CancellationToken,
}

/// What was seen of an errand while it ran.
pub(super) struct Seen {
    pub(super) end: End,
    pub(super) usage: TreeUsage,
    /// The workspace, if there was one to look at.
    pub(super) workspace: Option<OwnedFd>,
    pub(super) filled: Filled,
}

impl Watch<'_> {
    pub(super) async fn until_the_end(
        &self,
        events: &mut Events,
        floods: &Floods,
    ) -> Result<Seen, Fault> {
        let deadline = (self.started + self.limits.wall.duration()).into();
        let kills_floods = self.limits.on_flood == OnFlood::Kill;
        let mut holds = false;
        let mut tick = tokio::time::interval(CPU_CHECK);
        let mut look = tokio::time::Instant::now();
        let (mut workspace, mut filled) = (None, Filled::default());
        let (end, usage) = loop {
            // Every branch only waits; none loses anything when another one wins.
            tokio::select! {
                event = events.next() => {
                    if let Some(ended) = self.heard(event, &mut holds)? {
                        break ended;
                    }
                    if holds && workspace.is_none() && self.room.is_in_memory() {
                        workspace = self.room.opened(self.handover)?;
                    }
                },
                () = self.cancelled.cancelled() => break by_us(End::Cancelled),
                () = tokio::time::sleep_until(deadline) => break by_us(End::Limit(Limit::Wall)),
                () = floods.stdout.cancelled(), if kills_floods => {
                    break by_us(End::Limit(Limit::Stdout));
                }
                () = floods.stderr.cancelled(), if kills_floods => {
                    break by_us(End::Limit(Limit::Stderr));
                }
                _ = tick.tick() => if self.is_over_cpu() {
                    break by_us(End::Limit(Limit::Cpu));
                },
                () = tokio::time::sleep_until(look), if workspace.is_some() => {
                    let pause = workspace.as_ref().map(|workspace| filled.look(workspace));
                    look = tokio::time::Instant::now() + pause.unwrap_or_default();
                }
            }
        };
        Ok(Seen {
            end,
            usage,
            workspace,
            filled,
        })
    }

    /// What one event means; `None` when the errand goes on.
    fn heard(
        &self,
        event: io::Result<Option<Event>>,
        holds: &mut bool,
    ) -> Result<Option<(End, TreeUsage)>, Fault> {
        match event.map_err(|error| Fault::Silent(error.to_string()))? {
            Some(Event::Enforced { layers }) => {
                let names: Vec<_> = layers.iter().map(|held| held.layer.name()).collect();
                tracing::debug!(layers = names.join(" "), "the jail holds");
                *holds = self.are_all_in(&layers);
                Ok(None)
            }
            Some(Event::Ended { .. }) if !*holds => Err(Fault::Setup {
                rung: "announce".to_owned(),
                reason:
                    "stap-jail does not say which layers hold; all programs must come from the \
                         same build"
                        .to_owned(),
            }),
            Some(Event::Ended { end, usage }) => {
                let end = match end {
                    JobEnd::Exited(code) => End::Exited(code),
                    JobEnd::Signalled(signal) => End::Signalled(signal),
                };
                Ok(Some((end, usage)))
            }
            Some(Event::SetupFailed { rung, reason }) => Err(Fault::Setup { rung, reason }),
            // The kernel's answer to a tree without memory may hit the watching process; the group's
            // counters tell.
            Some(Event::Lost { .. }) | None => Ok(Some(by_us(End::Signalled(SIGKILL)))),
        }
    }

    fn are_all_in(&self, held: &[HeldLayer]) -> bool {
        let is_held = |layer: &Layer| held.iter().any(|held| held.layer == *layer);
        self.layers.iter().all(is_held)
    }

    fn is_over_cpu(&self) -> bool {
        self.group
            .is_some_and(|group| group.usage().cpu > self.limits.cpu.duration())
    }
}

/// An end of which the launcher did not tell, and so nothing of what was used.
fn by_us(end: End) -> (End, TreeUsage) {
    (end, TreeUsage::default())
}

/// Finds out whether a limit is behind a bad end: a compiler that was killed for its memory looks
/// like a compile error to stap.
pub(super) fn judged(
    end: End,
    usage: TreeUsage,
    remains: &Remains,
    filled: Option<Filled>,
    limits: &Limits,
) -> End {
    if matches!(end, End::Exited(0) | End::Limit(_) | End::Cancelled) {
        return end;
    }
    let limit = match remains.hit {
        Some(Hit::Memory) => Some(Limit::Memory),
        Some(Hit::Processes) => Some(Limit::Processes),
        None if is_out_of_cpu(end, usage, limits) => Some(Limit::Cpu),
        None if end == End::Signalled(SIGXFSZ) => Some(Limit::File),
        None => filled.and_then(|filled| filled.met),
    };
    limit.map_or(end, End::Limit)
}

/// The kernel holds a process to its limit by a sample of its time that may be well above what it
/// counts precisely, so a kill is believed earlier than a plain failure.
fn is_out_of_cpu(end: End, usage: TreeUsage, limits: &Limits) -> bool {
    let limit = limits.cpu.duration();
    let believed = if matches!(end, End::Signalled(SIGKILL | SIGXCPU)) {
        limit * 3 / 4
    } else {
        limit
    };
    usage.user + usage.system >= believed
}

pub(super) fn used(wall: Duration, usage: TreeUsage, remains: &Remains) -> Usage {
    let counted = remains.usage.unwrap_or_default();
    let cpu = counted.cpu.max(usage.user + usage.system);
    Usage {
        wall,
        cpu,
        peak_memory: counted.peak_memory,
    }
}

/// How often processor time is compared with its limit.
const CPU_CHECK: Duration = Duration::from_millis(250);
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
