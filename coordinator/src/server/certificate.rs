//! The certificate in use, what is announced under it, and its renewal while the server runs.

use std::time::Duration;

use stap_certs::Programs;
use stap_protocol::announcement::Announcement;
use stap_protocol::request::Fingerprint;
use stap_protocol::version::ProtocolVersion;
use stap_transport::server::Acceptor;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Clock;
use crate::announcer::Announced;
use crate::catalogue::Catalogue;
use crate::database::{Credentials, Database};

/// What depends on the certificate in use.
pub(super) struct Certificate {
    pub(super) database: Database,
    pub(super) credentials: Credentials,
    pub(super) acceptor: watch::Sender<Acceptor>,
    pub(super) clock: Clock,
    pub(super) options: String,
    pub(super) machine_owner_keys: Vec<Fingerprint>,
    /// When to try again what has failed.
    pub(super) not_before: Option<Instant>,
}

impl Certificate {
    /// What is announced under it: one text for each target.
    pub(super) fn announcements(&self, catalogue: &Catalogue) -> Vec<Announcement> {
        let serial = self.credentials.opened.certificate.serial_text();
        catalogue
            .names()
            .map(|target| {
                Announcement::new(target, ProtocolVersion::CURRENT, &serial, &self.options)
                    .with_machine_owner_keys(&self.machine_owner_keys)
            })
            .collect()
    }

    /// Announces other keys for modules than before.
    pub(super) fn sign_with(
        &mut self,
        keys: Vec<Fingerprint>,
        announced: Option<&Announced>,
        catalogue: &Catalogue,
    ) {
        let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
        tracing::info!(
            "machine owner keys: {}",
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        );
        self.machine_owner_keys = keys;
        if let Some(announced) = announced
            && let Err(error) = announced.publish(&self.announcements(catalogue))
        {
            tracing::error!(%error, "the machine owner keys are not announced; restart the server");
        }
    }

    /// A server that runs for longer than its certificate lives makes a new one in time. One that gave
    /// up being root cannot write its database any more; it says so as long as somebody can restart it.
    /// Cheap while nothing is due, as it is asked after each connection.
    pub(super) fn renew_if_due(&mut self, announced: Option<&Announced>, catalogue: &Catalogue) {
        let now = (self.clock)();
        let is_due = self.credentials.opened.certificate.needs_renewal(now);
        if !is_due
            || self
                .not_before
                .is_some_and(|moment| Instant::now() < moment)
        {
            return;
        }
        // No program can be started any more.
        match self.database.open(now, &Programs::none()) {
            Ok(credentials) => {
                tracing::info!("the certificate is renewed");
                self.acceptor.send_replace(credentials.acceptor.clone());
                self.credentials = credentials;
                if let Some(announced) = announced
                    && let Err(error) = announced.publish(&self.announcements(catalogue))
                {
                    tracing::error!(%error, "the new certificate is not announced; restart the server");
                }
            }
            Err(error) => {
                self.not_before = Some(Instant::now() + RETRY);
                for line in error.lines() {
                    tracing::error!(
                        "the certificate is about to expire and is not renewed; restart the server: {line}"
                    );
                }
            }
        }
    }
}

/// How long a renewal that failed is left alone, however many clients come.
const RETRY: Duration = Duration::from_secs(1800);
