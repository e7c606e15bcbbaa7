//! The seam for a second store in the same directory.
//!
//! Stock stap, staprun and certutil read an NSS sql store (`cert9.db` and its companions) that may lie
//! in the same directory as our plain files. Whoever keeps the two in step implements [`Mirror`];
//! every change of our files is told to it after it is on disk, while the directory's lock is held.

use std::fmt;
use std::path::Path;

use crate::certificate::{Certificate, Fingerprint};
use crate::issue::PrivateKey;
use crate::server::Password;

/// What follows the changes of a database.
pub trait Mirror: fmt::Debug {
    /// Follows one change. It may be told of the same change again, after a crash for example.
    ///
    /// # Errors
    /// Our own files are already changed; an error is reported as a store that is out of step.
    fn follow(&self, database: &Path, change: Change<'_>) -> Result<(), MirrorError>;
}

/// A change of a database.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A server-side database has this pair now.
    ServerPair {
        /// The certificate.
        certificate: &'a Certificate,
        /// Its key.
        key: &'a PrivateKey,
        /// The password that the second store is to have, if any.
        password: Option<&'a Password>,
    },
    /// A client-side database trusts this certificate now.
    Trusted(&'a Certificate),
    /// A client-side database no longer trusts this certificate.
    Distrusted(Fingerprint),
}

/// Why the second store could not follow.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct MirrorError {
    /// What happened and what to do, in one sentence.
    pub reason: String,
}

/// No second store is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMirror;

impl Mirror for NoMirror {
    fn follow(&self, _database: &Path, _change: Change<'_>) -> Result<(), MirrorError> {
        Ok(())
    }
}
