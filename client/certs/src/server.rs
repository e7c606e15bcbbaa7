//! A server-side database: the server's certificate and its private key.
//!
//! Opening it judges who could have read or changed it, and makes, renews or completes the pair, so
//! that what it returns can be served at once. One process at a time does so; several servers of one
//! user end up with the same pair. Who trusts the certificate is `trust`.

mod files;
mod pairing;
mod password;

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use crate::certificate::Certificate;
use crate::directory::Directory;
use crate::error::{DatabaseError, failed, settle};
use crate::issue::Identity;
use crate::nss::Programs;
use crate::permissions::{Fault, Finding};

use files::{Files, KEY};
use pairing::Pairing;
pub use password::{Password, PasswordRule};

/// A server-side database. It has no state of its own: what can be served is in [`Opened`].
#[derive(Debug)]
pub struct ServerDatabase;

/// How a server's database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The names that a new certificate is made for.
    pub identity: &'a Identity,
    /// The time.
    pub now: SystemTime,
    /// Whether the NSS store beside our files is to have a password.
    pub password: PasswordRule,
    /// What an NSS store beside our files is read and kept with.
    pub programs: &'a Programs,
}

/// A pair that can be served.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The server's certificate.
    pub certificate: Certificate,
    /// Its private key, as unencrypted PKCS#8.
    pub private_key_pkcs8: Vec<u8>,
    /// Certificates that this server had before and that have not been forgotten yet.
    pub retired: Vec<Certificate>,
    /// Where the pair comes from.
    pub origin: Origin,
    /// What should be better but does not matter, one line each, without `WARNING:`.
    pub warnings: Vec<String>,
}

/// What a server's database holds for whoever only reads it.
pub struct Pair {
    /// The server's certificate.
    pub certificate: Certificate,
    /// Its private key, as unencrypted PKCS#8.
    pub private_key_pkcs8: Vec<u8>,
}

/// Where a server's pair comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there and good for a while.
    Found,
    /// It was that of a stock server, in the NSS store.
    TakenOver,
    /// It is the first one, or its key was lost: a new key and a new certificate.
    Created,
    /// The certificate had expired or soon would have: a new key and a new certificate.
    Renewed,
    /// The key was there without its certificate, as after a crash: a new certificate for it.
    Completed,
}

impl ServerDatabase {
    /// Opens the database, making it and a pair when they are not there, and renewing a certificate
    /// whose life is about to end. The old one is kept in [`Opened::retired`]. A good pair in a
    /// directory that cannot be written is served as it is.
    ///
    /// # Errors
    /// [`DatabaseError::Unsafe`] when somebody else could have read the key or changed the pair; a
    /// system error when something cannot be made.
    pub fn open_or_create(
        path: &Path,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Opened, DatabaseError> {
        let password = PasswordRule::AsFound;
        Self::open_or_create_with(
            path,
            Setup {
                identity,
                now,
                password,
                programs: &Programs::none(),
            },
        )
    }

    /// Judges the database without changing anything. `None` when it is not there yet; otherwise what
    /// should be better about it.
    ///
    /// # Errors
    /// [`DatabaseError::Unsafe`] as for opening it; a system error when it cannot be looked at.
    pub fn examine(path: &Path) -> Result<Option<Vec<String>>, DatabaseError> {
        let owner = rustix::process::geteuid().as_raw();
        let mut findings = Vec::new();
        if let Some(directory) = Directory::examine(path, Some(owner), &mut findings)? {
            let _unread: Files = Files::survey(&directory, owner, &mut findings)?;
        }
        let is_missing =
            |finding: &Finding| finding.path == path && finding.fault == Fault::Missing;
        if findings.iter().any(is_missing) {
            return Ok(None);
        }
        settle(path, findings).map(Some)
    }

    /// As [`open_or_create`](Self::open_or_create), with everything that can be chosen.
    ///
    /// # Errors
    /// As there.
    pub fn open_or_create_with(path: &Path, setup: Setup<'_>) -> Result<Opened, DatabaseError> {
        Directory::create(path)?;
        let owner = rustix::process::geteuid().as_raw();
        let mut findings = Vec::new();
        let Some(directory) = Directory::examine(path, Some(owner), &mut findings)? else {
            return Err(DatabaseError::Unsafe {
                path: path.to_owned(),
                findings,
            });
        };
        if failed(&findings) {
            // Nothing is written where others could interfere; the files' faults are told as well.
            let _unread: Files = Files::survey(&directory, owner, &mut findings)?;
            return Err(DatabaseError::Unsafe {
                path: path.to_owned(),
                findings,
            });
        }
        let lock = match directory.lock() {
            Ok(lock) => lock,
            Err(error) if error.is_read_only() => {
                return as_found(&directory, findings, setup.now)?.ok_or(error);
            }
            Err(error) => return Err(error),
        };
        files::adopt_old_name(&directory, &lock)?;
        let files = Files::survey(&directory, owner, &mut findings)?;
        let warnings = settle(path, findings)?;
        let contents = files.read(&directory)?;
        Pairing {
            directory: &directory,
            lock: &lock,
            setup,
            warnings,
        }
        .settle(contents)
    }
}

impl Pair {
    /// Reads the pair of a database without changing anything there. Another process may be renewing it
    /// meanwhile; then a key and a certificate that do not belong together are read once more.
    ///
    /// # Errors
    /// As for opening; and when there is no pair.
    pub fn read(path: &Path) -> Result<Self, DatabaseError> {
        Self::read_once(path).or_else(|_torn| Self::read_once(path))
    }

    fn read_once(path: &Path) -> Result<Self, DatabaseError> {
        let owner = rustix::process::geteuid().as_raw();
        let mut findings = Vec::new();
        let Some(directory) = Directory::examine(path, Some(owner), &mut findings)? else {
            return Err(DatabaseError::Unsafe {
                path: path.to_owned(),
                findings,
            });
        };
        let files = Files::survey(&directory, owner, &mut findings)?;
        settle(path, findings)?;
        let contents = files.read(&directory)?;
        let pair = contents.key.zip(contents.certificate);
        pair.filter(|(key, own)| key.belongs_to(own))
            .map(|(key, certificate)| Self {
                certificate,
                private_key_pkcs8: key.pkcs8().to_vec(),
            })
            .ok_or_else(|| DatabaseError::UnusableKey {
                path: directory.file_path(KEY),
            })
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pair")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Reads a pair from a directory that cannot be written, as where an operator mounts his secrets.
/// `None` when there is no pair that can be served without changing it.
fn as_found(
    directory: &Directory,
    mut findings: Vec<Finding>,
    now: SystemTime,
) -> Result<Option<Opened>, DatabaseError> {
    let owner = rustix::process::geteuid().as_raw();
    let files = Files::survey(directory, owner, &mut findings)?;
    let warnings = settle(directory.path(), findings)?;
    let contents = files.read(directory)?;
    let pair = contents.key.zip(contents.certificate);
    let good = pair.filter(|(key, own)| key.belongs_to(own) && !own.needs_renewal(now));
    Ok(good.map(|(key, certificate)| Opened {
        certificate,
        private_key_pkcs8: key.pkcs8().to_vec(),
        retired: contents.retired,
        origin: Origin::Found,
        warnings,
    }))
}

/// Shows everything but the key.
impl fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Opened")
            .field("certificate", &self.certificate)
            .field("retired", &self.retired)
            .field("origin", &self.origin)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
