//! `--trust-servers`: puts trust into the certificates that servers show, or takes it back.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use stap_certs::client::ClientDatabase;
use stap_certs::{Certificate, OwnerRule, Programs};

use super::known::Known;
use super::properties::TrustWords;
use super::view::View;
use crate::diagnostics::Diagnostics;

impl View<'_> {
    /// Changes the databases that `words` name for the servers that the command line names.
    pub(super) async fn trust(&self, words: &str) {
        let (words, unknown) = TrustWords::parse(words);
        for word in unknown {
            let word = word.escape_debug();
            self.diagnostics
                .warning(format_args!("unsupported trust specification: {word}"));
        }
        let is_root = rustix::process::geteuid().is_root();
        for (given, word) in [(words.signer, "signer"), (words.all_users, "all-users")] {
            if given && !is_root {
                self.diagnostics.error(format_args!(
                    "Only root can specify '{word}' on --trust-servers"
                ));
                return;
            }
        }
        let databases = self.databases_for(words);
        let mut chosen = Vec::new();
        for one in self.specified().await {
            chosen.extend(self.with_certificates(one, words, &databases).await);
        }
        if chosen.is_empty() {
            self.diagnostics.error(
                "No servers identified for trust\nName them with --server=HOST:PORT; \
                 stap-find-servers --all lists what there is",
            );
            return;
        }
        if !self.is_agreed(words, &chosen) {
            self.diagnostics.plain("Server trust unchanged");
            return;
        }
        for database in &databases {
            self.change(database, words, &chosen);
        }
    }

    /// A server with the certificate that it shows; or, to revoke, with those that are trusted under its number,
    /// as it may be gone.
    async fn with_certificates(
        &self,
        one: Known,
        words: TrustWords,
        databases: &[PathBuf],
    ) -> Vec<(Known, Certificate)> {
        if words.revoke {
            let held = databases
                .iter()
                .flat_map(|path| self.certificates(path, OwnerRule::Anyone));
            let mut held: Vec<_> = held
                .filter(|held| held.serial_text() == one.serial)
                .collect();
            held.dedup();
            return held.into_iter().map(|held| (one.clone(), held)).collect();
        }
        let Some(at) = &one.address else {
            return Vec::new();
        };
        match Self::certificate_at(at.socket).await {
            // An announcement can say any number.
            Ok(certificate) if certificate.serial_text() == one.serial => vec![(one, certificate)],
            Ok(_) => {
                let host = &one.host;
                self.diagnostics.warning(format_args!(
                    "the server at {host} shows another certificate than it announces and is left out"
                ));
                Vec::new()
            }
            Err(reason) => {
                self.diagnostics.warning(reason);
                Vec::new()
            }
        }
    }

    fn is_agreed(&self, words: TrustWords, chosen: &[(Known, Certificate)]) -> bool {
        let (asking, doing) = match words.revoke {
            true => ("Revoke", "Revoking"),
            false => ("Add", "Adding"),
        };
        let verb = if words.no_prompt { doing } else { asking };
        let mark = if words.no_prompt { "" } else { "?" };
        let places = words.places();
        self.diagnostics.plain(format_args!(
            "{verb} trust in the following servers {places}{mark}"
        ));
        for (one, certificate) in chosen {
            self.diagnostics.plain(one);
            // The number is the server's choice; this is what can be compared with its owner's.
            self.diagnostics.plain(format_args!(
                "  certificate sha256={}",
                certificate.sha256()
            ));
        }
        words.no_prompt || answers_yes(self.diagnostics)
    }

    fn change(&self, path: &Path, words: TrustWords, chosen: &[(Known, Certificate)]) {
        let programs = Programs::installed();
        let opened = ClientDatabase::open_or_create_with(path, &programs);
        let changed = opened.and_then(|database| {
            for (_, certificate) in chosen {
                let warnings = match words.revoke {
                    true => database.remove(certificate.sha256())?.warnings,
                    false => database.add(certificate)?.warnings,
                };
                warnings
                    .iter()
                    .for_each(|warning| self.diagnostics.warning(warning));
            }
            Ok(())
        });
        if let Err(error) = changed {
            error
                .lines()
                .iter()
                .for_each(|line| self.diagnostics.error(line));
        }
    }

    fn databases_for(&self, words: TrustWords) -> Vec<PathBuf> {
        let ssl = match words.all_users {
            true => self.paths.global_client(),
            false => self.paths.own_client(),
        };
        let signers = words.signer.then(|| self.paths.module_signers());
        let databases = words.ssl.then_some(ssl).into_iter().chain(signers);
        databases.map(Path::to_owned).collect()
    }
}

/// Only a `y` is a yes.
fn answers_yes(diagnostics: &Diagnostics) -> bool {
    diagnostics.question("[y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y")
}

/// An answer is one letter.
const MAX_ANSWER: u64 = 256;
