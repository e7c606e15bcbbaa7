//! `stap-client --list-servers` and `--trust-servers`: which servers there are, and whom to trust.
//!
//! What is listed is what anybody on the network announces, held against the certificates in the
//! databases by their serial numbers. Trust is put into a certificate that the server itself shows; the
//! user is asked, because nothing else vouches for it.

mod known;
mod properties;
mod trust;
mod view;

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;

use stap_certs::{Certificate, OwnerRule, PathsError};
use stap_protocol::target::TargetName;

use self::known::Known;
use self::properties::{Properties, Property};
use self::view::View;
use crate::diagnostics::Diagnostics;
use crate::server_spec::ServerSpec;

/// What is asked about servers.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// The words behind `--list-servers=`.
    pub(crate) list: Option<String>,
    /// The words behind `--trust-servers=`.
    pub(crate) trust: Option<String>,
    /// Those that were named.
    pub(crate) named: Vec<ServerSpec>,
    /// What a compatible server builds for.
    pub(crate) target: TargetName,
}

impl Errand {
    /// Whether all that is asked concerns servers that were named with their ports.
    fn needs_no_announcement(&self) -> bool {
        let has_port = |spec: &ServerSpec| matches!(spec, ServerSpec::Host { port: Some(_), .. });
        self.list.is_none() && self.named.iter().all(has_port)
    }
}

/// Does it. The exit status is 0 whatever is found, by promise.
pub(crate) fn run(errand: &Errand, diagnostics: &Diagnostics) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime.map_err(Failure::Runtime).and_then(|runtime| {
        let view = runtime.block_on(View::of(errand, diagnostics))?;
        if let Some(words) = &errand.trust {
            runtime.block_on(view.trust(words));
        }
        if let Some(words) = &errand.list {
            runtime.block_on(view.list(words));
        }
        runtime.shutdown_background();
        Ok(())
    });
    if let Err(failure) = done {
        diagnostics.error(failure);
    }
    ExitCode::SUCCESS
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("this process cannot wait for anything: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Paths(#[from] PathsError),
    #[error("the running kernel cannot be named: {0}")]
    Host(String),
}

impl View<'_> {
    /// Says which servers there are.
    async fn list(&self, words: &str) {
        let (properties, unknown) = Properties::parse(words, !self.errand.named.is_empty());
        for word in unknown {
            let word = word.escape_debug();
            self.diagnostics
                .warning(format_args!("unsupported compile server property: {word}"));
        }
        let trusted = serials(&self.trusted());
        let signers = self.certificates(self.paths.module_signers(), OwnerRule::Root);
        let signing = serials(&signers);
        let mut listed = if properties.has(Property::Specified) {
            self.specified().await
        } else {
            self.everything(&signers)
        };
        let is = |one: &Known, property| match property {
            Property::All | Property::Specified => true,
            Property::Online => one.address.is_some(),
            Property::Trusted => trusted.contains(&one.serial),
            Property::Signer => signing.contains(&one.serial),
            Property::Compatible => self.is_compatible(one),
        };
        let wanted = [
            Property::Online,
            Property::Trusted,
            Property::Signer,
            Property::Compatible,
        ];
        for property in wanted
            .into_iter()
            .filter(|property| properties.has(*property))
        {
            listed.retain(|one| is(one, property));
        }
        let said = self.diagnostics;
        said.plain(format_args!(
            "Systemtap Compile Server Status for '{properties}'"
        ));
        if listed.is_empty() {
            said.plain("No servers found");
        }
        listed.iter().for_each(|one| said.plain(one));
    }
}

fn serials(certificates: &[Certificate]) -> BTreeSet<String> {
    certificates.iter().map(Certificate::serial_text).collect()
}
