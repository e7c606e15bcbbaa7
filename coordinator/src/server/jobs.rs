//! Everything between an accepted request and the worker.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Catalogue;
use crate::headroom::Headroom;
use crate::results::{Keeping, Results};
use crate::scheduler::{Bounds, Experience, Scheduler};
use crate::worker::{LocalWorker, Program, Spawned, relay};

/// What was put to work.
pub(super) struct Jobs {
    /// The worker's.
    pub(super) process: Program,
    pub(super) catalogue: Catalogue,
    pub(super) scheduler: Scheduler,
    pub(super) results: Results,
}

/// What jobs may have.
pub(super) struct Terms {
    pub(super) bounds: Bounds,
    pub(super) headroom: Headroom,
    pub(super) keeping: Keeping,
}

impl Jobs {
    /// Connects to the worker, and starts the tasks between it and the sessions. `release` ends them;
    /// `gone` hears when the worker ends by itself.
    pub(super) fn start(
        tasks: &TaskTracker,
        worker: Spawned,
        terms: Terms,
        release: &CancellationToken,
        gone: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let Spawned {
            process,
            socket,
            stderr,
            readiness,
        } = worker;
        let Terms {
            bounds,
            headroom,
            keeping,
        } = terms;
        let (worker, link) = LocalWorker::connect(socket, bounds.slots, release.clone())
            .context("connecting to the worker")?;
        spawn_worker_tasks(tasks, link, stderr, release, gone);
        let witness = worker.witness();
        let experience = Experience::with(&readiness.targets);
        let (scheduler, desk) = Scheduler::new(
            Arc::new(worker),
            bounds,
            headroom,
            experience,
            release.clone(),
        );
        tasks.spawn(desk);
        let catalogue = Catalogue::new(readiness.targets);
        let results = Results::new(scheduler.clone(), witness, keeping, tasks.clone());
        spawn_first_look(tasks, &results, &catalogue, release);
        Ok(Self {
            process,
            catalogue,
            scheduler,
            results,
        })
    }
}

/// Nobody has to wait for it, and the first request finds it done.
fn spawn_first_look(
    tasks: &TaskTracker,
    results: &Results,
    catalogue: &Catalogue,
    over: &CancellationToken,
) {
    let (results, over) = (results.clone(), over.clone());
    let targets: Vec<_> = catalogue.names().cloned().collect();
    tasks.spawn(async move {
        tokio::select! {
            () = results.get_ready(targets.into_iter()) => {}
            () = over.cancelled() => {}
        }
    });
}

fn spawn_worker_tasks(
    tasks: &TaskTracker,
    link: impl Future<Output = io::Error> + Send + 'static,
    stderr: std::process::ChildStderr,
    release: &CancellationToken,
    gone: &CancellationToken,
) {
    let (release, gone) = (release.clone(), gone.clone());
    tasks.spawn(async move {
        let reason = link.await;
        if !release.is_cancelled() {
            tracing::error!("the worker is gone ({reason}); the server stops. Its last lines above may say why; start it again");
            gone.cancel();
        }
    });
    tasks.spawn(async move {
        if let Err(error) = relay("worker", stderr).await {
            tracing::warn!(%error, "the worker's messages are lost from here on");
        }
    });
}
