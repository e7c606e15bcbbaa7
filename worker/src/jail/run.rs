//! From the first descriptor to the last process of one errand.

use std::time::Instant;

use stap_jail::plan::JailPlan;
use stap_policy::Limits;
use tokio_util::sync::CancellationToken;

use super::launch::Launch;
use super::output::Floods;
use super::watch::{self, Watch};
use super::{Errand, Fault, Finished, Jail, Room, stop};
use crate::cgroup::Group;

impl Jail {
    /// Runs an errand to its end.
    ///
    /// # Errors
    ///
    /// When something on our side broke, or something of the errand is left.
    pub async fn run(
        &self,
        errand: Errand,
        room: Room,
        cancelled: &CancellationToken,
    ) -> Result<Finished, Fault> {
        let name = errand.name.clone();
        let limits = errand.limits.unwrap_or(self.limits);
        let plan = self.plan(errand, &room)?;
        let create = |groups: &crate::cgroup::Hierarchy| groups.create(&name, &limits);
        let group = self.hierarchy.as_ref().map(create).transpose()?;
        let ran = self
            .run_in(&plan, &limits, group.as_ref(), room, cancelled)
            .await;
        if ran.is_err()
            && let Some(group) = &group
            // The fault itself is reported; what cannot be removed is swept at the next start.
            && let Err(error) = group.kill().and_then(|()| group.remove())
        {
            tracing::debug!(%error, "a control group is left");
        }
        ran
    }

    async fn run_in(
        &self,
        plan: &JailPlan,
        limits: &Limits,
        group: Option<&Group>,
        room: Room,
        cancelled: &CancellationToken,
    ) -> Result<Finished, Fault> {
        let started = Instant::now();
        let mut launch = Launch::start(&self.program, plan)?;
        if let Some(group) = group {
            group.enter(launch.pid)?;
        }
        let go = launch.lifeline.go();
        go.map_err(|error| Fault::Io("starting the launcher", error))?;
        let (mut events, handover) = (launch.events, launch.workspace);
        let floods = Floods::default();
        let watched = async {
            let watch = Watch {
                limits,
                layers: &self.layers,
                group,
                room: &room,
                handover: &handover,
                started,
                cancelled,
            };
            let seen = watch.until_the_end(&mut events, &floods).await;
            let remains = stop::stop(launch.child, launch.lifeline, group).await;
            if remains.is_err() {
                // Whatever survived may hold the pipes open for ever.
                floods.abandon();
            }
            // That something is left is worse than anything that was seen.
            let remains = remains?;
            Ok::<_, Fault>((seen?, remains, started.elapsed()))
        };
        let output = floods.keep(launch.stdout, launch.stderr, limits);
        let (watched, (stdout, stderr)) = tokio::join!(watched, output);
        let (seen, remains, wall) = watched?;
        let workspace = match seen.workspace {
            Some(workspace) => Some(workspace),
            None => room.opened(&handover)?,
        };
        let mut filled = room.is_in_memory().then_some(seen.filled);
        if let (Some(filled), Some(workspace)) = (&mut filled, &workspace) {
            filled.look(workspace);
        }
        let end = watch::judged(seen.end, seen.usage, &remains, filled, limits);
        let usage = watch::used(wall, seen.usage, &remains);
        Ok(Finished {
            end,
            stdout,
            stderr,
            workspace,
            usage,
            peak_processes: remains.usage.and_then(|usage| usage.peak_processes),
            is_counted: group.is_some(),
            filled,
            _room: room,
        })
    }
}
