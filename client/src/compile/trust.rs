//! The certificate databases of a run, in the order in which they are tried.

use std::path::{Path, PathBuf};

use stap_certs::client::ClientDatabase;
use stap_certs::{DatabaseError, OwnerRule, Paths};

use crate::diagnostics::Diagnostics;

/// A database that passed the checks.
#[derive(Clone, Debug)]
pub(crate) struct TrustedDatabase {
    /// Where it is, for messages.
    pub(crate) directory: PathBuf,
    /// The certificates in it, DER.
    pub(crate) certificates: Vec<Vec<u8>>,
}

/// The user's own database, then that of the host. One that does not exist is no matter.
pub(crate) fn default_databases(paths: &Paths, diagnostics: &Diagnostics) -> Vec<TrustedDatabase> {
    let private = paths
        .private_client()
        .map(|path| (path, OwnerRule::EffectiveUser));
    let global = (paths.global_client(), OwnerRule::Root);
    let databases = private.into_iter().chain([global]);
    databases
        .filter_map(|(path, rule)| match ClientDatabase::open(path, rule) {
            Err(DatabaseError::Missing { .. }) => None,
            opened => usable(path, opened, diagnostics),
        })
        .collect()
}

/// The databases that `--ssl` names, in the order of the command line.
pub(crate) fn named_databases(
    directories: &[PathBuf],
    diagnostics: &Diagnostics,
) -> Vec<TrustedDatabase> {
    let open = |path: &PathBuf| {
        usable(
            path,
            ClientDatabase::open(path, OwnerRule::Anyone),
            diagnostics,
        )
    };
    directories.iter().filter_map(open).collect()
}

fn usable(
    path: &Path,
    opened: Result<stap_certs::client::Opened, DatabaseError>,
    diagnostics: &Diagnostics,
) -> Option<TrustedDatabase> {
    match opened {
        Ok(opened) => {
            opened
                .warnings
                .iter()
                .for_each(|warning| diagnostics.warning(warning));
            let der = |certificate: &stap_certs::Certificate| certificate.der().to_vec();
            Some(TrustedDatabase {
                directory: path.to_owned(),
                certificates: opened.certificates.iter().map(der).collect(),
            })
        }
        Err(error) => {
            error
                .lines()
                .iter()
                .for_each(|line| diagnostics.warning(line));
            None
        }
    }
}
