//! The end of a job: kill, and prove that nothing is left.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::Child;

use super::Fault;
use super::launch::Lifeline;
use crate::cgroup::{Group, Hit, Usage};
use crate::job::sentence;

/// What a job's group said before it was removed.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) usage: Option<Usage>,
    pub(super) hit: Option<Hit>,
}

/// Ends the jail. When this returns without a fault, no process of the job exists any more; every
/// fault is a [`Fault::Leak`].
pub(super) async fn stop(
    child: Child,
    lifeline: Lifeline,
    group: Option<&Group>,
) -> Result<Remains, Fault> {
    let stopped = stopped(child, lifeline, group).await;
    stopped.map_err(|fault| match fault {
        Fault::Leak(_) => fault,
        other => Fault::Leak(sentence(&other)),
    })
}

/// Letting go of the lifeline ends the job's pid 1, and with it the kernel kills its namespace; the
/// group is killed as a whole besides. Either would do, and hosts may lack one of them.
async fn stopped(
    mut child: Child,
    lifeline: Lifeline,
    group: Option<&Group>,
) -> Result<Remains, Fault> {
    drop(lifeline);
    if let Some(group) = group {
        group.kill()?;
    }
    let status = reap(&mut child).await?;
    let Some(group) = group else {
        // A launcher that ends by itself has waited for all of the job's processes; for one that was
        // killed nobody has.
        return match status.code() {
            Some(_) => Ok(Remains::default()),
            None => Err(Fault::Leak(
                "the process that watches it was killed, and no control group tells whether others \
                 are left"
                    .to_owned(),
            )),
        };
    };
    prove_empty(group).await?;
    let remains = Remains {
        usage: Some(group.usage()),
        hit: group.hit(),
    };
    remove(group).await?;
    Ok(remains)
}

async fn reap(child: &mut Child) -> Result<ExitStatus, Fault> {
    if let Ok(waited) = tokio::time::timeout(PATIENCE, child.wait()).await {
        return waited.map_err(Fault::Wait);
    }
    child.start_kill().map_err(Fault::Wait)?;
    let waited = tokio::time::timeout(PATIENCE, child.wait()).await;
    waited
        .map_err(|_elapsed| Fault::Leak("the launcher survives SIGKILL".to_owned()))?
        .map_err(Fault::Wait)
}

async fn prove_empty(group: &Group) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    while !group.is_empty()? {
        if Instant::now() > deadline {
            return Err(Fault::Leak(
                "processes of the job survive SIGKILL".to_owned(),
            ));
        }
        group.kill()?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The kernel may need a moment after the last process to let the directory go.
async fn remove(group: &Group) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = group.remove() {
        if Instant::now() > deadline {
            return Err(error.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// A tree of thousands of processes takes the kernel well under a second.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);
