//! The signer's tasks: the conversation, its lines for the log, and the watch over its keys.

use anyhow::Context as _;
use stap_protocol::request::Fingerprint;
use stap_protocol::signing::messages::Keys;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::signing::{self, Signer};
use crate::worker::{Program, relay};

/// A server whose signer is gone goes on, and refuses what would have to be signed.
pub(super) fn start(
    tasks: &TaskTracker,
    spawned: signing::Spawned,
    release: &CancellationToken,
) -> anyhow::Result<(Program, Signer, watch::Receiver<Keys>)> {
    let signing::Spawned {
        process,
        socket,
        stderr,
        keys,
    } = spawned;
    let (signer, link) =
        Signer::connect(socket, release.clone()).context("connecting to the signer")?;
    let stopping = release.clone();
    tasks.spawn(async move {
        let reason = link.await;
        if !stopping.is_cancelled() {
            tracing::error!("the signer is gone ({reason}); no module is signed until the server is started again");
        }
    });
    tasks.spawn(async move {
        if let Err(error) = relay("signer", stderr).await {
            tracing::warn!(%error, "the signer's messages are lost from here on");
        }
    });
    let (known, watched) = watch::channel(keys);
    let stopping = release.clone();
    let watching = signer.clone().watch_keys(known);
    tasks.spawn(async move {
        tokio::select! {
            () = watching => (),
            () = stopping.cancelled() => (),
        }
    });
    Ok((process, signer, watched))
}

/// What the keys are announced as.
pub(crate) fn fingerprints(keys: &Keys) -> Vec<Fingerprint> {
    let keys = keys.machine_owner_keys.iter();
    keys.map(|key| key.fingerprint).collect()
}
