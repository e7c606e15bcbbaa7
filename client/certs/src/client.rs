//! A client-side database: the servers that a client trusts, one certificate file for each.
//!
//! Reading judges every file before it is believed; changing is idempotent and atomic. Where the
//! databases live is `paths`; who adds a server's own certificate is `trust`.

use std::fs::File;
use std::path::Path;

use crate::certificate::{Certificate, Fingerprint, MAX_CERTIFICATE_BYTES};
use crate::directory::{Directory, Lock, read_bounded};
use crate::error::{DatabaseError, failed, finding_line, settle};
use crate::nss::{self, Programs, View, Wanted};
use crate::permissions::{Fault, Finding, Kind, Severity};
use crate::text::{quoted, shown};

/// A client-side database that this user changes.
#[derive(Debug)]
pub struct ClientDatabase<'p> {
    directory: Directory,
    findings: Vec<Finding>,
    programs: &'p Programs,
}

/// What a database that passed the checks holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The trusted certificates, in a fixed order.
    pub certificates: Vec<Certificate>,
    /// What should be better but does not matter, one line each, without `WARNING:`.
    pub warnings: Vec<String>,
}

/// Who must own a client-side database and its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerRule {
    /// The user whose rights this process has: a private database.
    EffectiveUser,
    /// Root: the global database.
    Root,
    /// Anybody: a database that the user named.
    Anyone,
}

/// What adding a certificate did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Whether the certificate was not there before.
    pub is_new: bool,
    /// What went less well, one line each, without a prefix.
    pub warnings: Vec<String>,
}

/// What removing a certificate did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Whether the certificate was trusted before.
    pub was_trusted: bool,
    /// What went less well, one line each, without a prefix.
    pub warnings: Vec<String>,
}

/// The most servers that one database can trust.
pub const MAX_CERTIFICATES: usize = 1024;

impl ClientDatabase<'static> {
    /// Opens the database for changes, making it when it is not there.
    ///
    /// # Errors
    /// Fails when the directory cannot be made or opened.
    pub fn open_or_create(path: &Path) -> Result<Self, DatabaseError> {
        Self::open_or_create_with(path, &NO_PROGRAMS)
    }

    /// Reads a database for trusting servers. What an NSS store beside it trusts or no longer trusts
    /// counts; our files are made to follow, if this user may write them, but no program is run.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`] when there is none, which the caller judges;
    /// [`DatabaseError::Unsafe`] when somebody else could have changed it.
    pub fn open(path: &Path, rule: OwnerRule) -> Result<Opened, DatabaseError> {
        let mut findings = Vec::new();
        let Some(directory) = Directory::examine(path, rule.required(), &mut findings)? else {
            return Err(match findings.as_slice() {
                [
                    Finding {
                        fault: Fault::Missing,
                        ..
                    },
                ] => DatabaseError::Missing {
                    path: path.to_owned(),
                },
                _ => DatabaseError::Unsafe {
                    path: path.to_owned(),
                    findings,
                },
            });
        };
        nss::examine(
            &directory,
            Kind::ClientStore,
            rule.required(),
            &mut findings,
        )?;
        let reading = read_all(&directory, rule, &mut findings)?;
        let mut warnings = settle(path, findings)?;
        warnings.extend(reading.doubts);
        let View {
            certificates,
            warnings: about_the_store,
            outdated,
        } = nss::view(&directory, reading.certificates);
        warnings.extend(about_the_store);
        if outdated && directory.is_own() {
            // Whoever has the lock does the same, and the next client comes soon.
            update(&directory).ok();
        }
        Ok(Opened {
            certificates,
            warnings,
        })
    }
}

impl<'p> ClientDatabase<'p> {
    /// As [`open_or_create`](Self::open_or_create), with the programs that keep an NSS store beside
    /// our files in step with them.
    ///
    /// # Errors
    /// Fails when the directory cannot be made or opened.
    pub fn open_or_create_with(path: &Path, programs: &'p Programs) -> Result<Self, DatabaseError> {
        Directory::create(path)?;
        let mut findings = Vec::new();
        match Directory::examine(path, None, &mut findings)? {
            Some(directory) => Ok(Self {
                directory,
                findings,
                programs,
            }),
            None => Err(DatabaseError::Unsafe {
                path: path.to_owned(),
                findings,
            }),
        }
    }

    /// Trusts a certificate from now on. Adding one again changes nothing.
    ///
    /// # Errors
    /// The database is as it was when the certificate could not be written.
    pub fn add(&self, certificate: &Certificate) -> Result<Added, DatabaseError> {
        let name = file_name(certificate.sha256());
        let lock = match self.directory.lock() {
            Err(error) if error.is_read_only() && self.holds(&name, certificate)? => {
                return Ok(Added {
                    is_new: false,
                    warnings: self.dangers(),
                });
            }
            lock => lock?,
        };
        // What was revoked in the store is first revoked here, so that it cannot be mistaken for what
        // is now to be added there.
        self.follow(&lock, &Programs::none(), None)?;
        let is_new = !self.holds(&name, certificate)?;
        if is_new {
            self.make_room()?;
            self.directory
                .write(&lock, &name, FILE_MODE, certificate.der())?;
        }
        let mut warnings = self.dangers();
        warnings.extend(self.follow(&lock, self.programs, Some(certificate.sha256()))?);
        warnings.extend(self.open_to_readers());
        Ok(Added { is_new, warnings })
    }

    /// No longer trusts a certificate.
    ///
    /// # Errors
    /// Fails when the file cannot be removed.
    pub fn remove(&self, fingerprint: Fingerprint) -> Result<Removed, DatabaseError> {
        let lock = self.directory.lock()?;
        // What only the store trusts becomes ours first, so that it can be seen to be removed here.
        self.follow(&lock, &Programs::none(), None)?;
        let was_trusted = self.directory.remove(&lock, &file_name(fingerprint))?;
        let warnings = self.follow(&lock, self.programs, None)?;
        Ok(Removed {
            was_trusted,
            warnings,
        })
    }

    /// Brings our files and the NSS store in step, as far as these programs can. Nothing is changed
    /// where somebody else could have changed it before.
    fn follow(
        &self,
        lock: &Lock,
        programs: &Programs,
        certificate: Option<Fingerprint>,
    ) -> Result<Vec<String>, DatabaseError> {
        let mut findings = self.findings.clone();
        nss::examine(&self.directory, Kind::ClientStore, None, &mut findings)?;
        let reading = read_all(&self.directory, OwnerRule::Anyone, &mut findings)?;
        if failed(&findings) {
            return Ok(Vec::new());
        }
        let wanted = Wanted {
            programs,
            certificate,
        };
        nss::follow(&self.directory, lock, &reading.certificates, &wanted)
    }

    /// Tells whether a file holds the certificate, so that a client would believe it.
    fn holds(&self, name: &str, certificate: &Certificate) -> Result<bool, DatabaseError> {
        let mut findings = Vec::new();
        let kind = Kind::ClientStore;
        let file = self
            .directory
            .examine_file(name, kind, None, &mut findings)?;
        let path = self.directory.file_path(name);
        let held = file.and_then(|file| read_certificate(file, &path, name));
        Ok(held.as_ref() == Some(certificate))
    }

    fn make_room(&self) -> Result<(), DatabaseError> {
        let count = self.directory.names(is_certificate_name)?.len();
        if count < MAX_CERTIFICATES {
            return Ok(());
        }
        Err(self.directory.too_many("certificates", MAX_CERTIFICATES))
    }

    /// A certificate is added to a directory that clients will refuse, and its owner is told why.
    fn dangers(&self) -> Vec<String> {
        let is_error = |finding: &&Finding| finding.severity() == Severity::Error;
        self.findings
            .iter()
            .filter(is_error)
            .map(finding_line)
            .collect()
    }

    /// Every user of the host may read what is trusted, and with a global database must be able to.
    fn open_to_readers(&self) -> Option<String> {
        let is_store_name = |name: &str| is_certificate_name(name) || nss::is_store_name(name);
        let result = self.directory.names(is_store_name).and_then(|names| {
            names
                .iter()
                .try_for_each(|name| self.directory.set_mode(name, FILE_MODE))
        });
        let error = result.err()?;
        let path = shown(self.directory.path());
        Some(format!(
            "unable to make the client certificate database {path} readable by others\n  {error}"
        ))
    }
}

/// Makes our files follow the store without running a program.
fn update(directory: &Directory) -> Result<(), DatabaseError> {
    let lock = directory.try_lock()?;
    let mut findings = Vec::new();
    let reading = read_all(directory, OwnerRule::EffectiveUser, &mut findings)?;
    if failed(&findings) {
        return Ok(());
    }
    let wanted = Wanted {
        programs: &NO_PROGRAMS,
        certificate: None,
    };
    nss::follow(directory, &lock, &reading.certificates, &wanted).map(drop)
}

impl OwnerRule {
    fn required(self) -> Option<u32> {
        match self {
            Self::EffectiveUser => Some(rustix::process::geteuid().as_raw()),
            Self::Root => Some(0),
            Self::Anyone => None,
        }
    }
}

/// What reading every certificate file gave.
#[derive(Default)]
struct Reading {
    certificates: Vec<Certificate>,
    doubts: Vec<String>,
}

fn read_all(
    directory: &Directory,
    rule: OwnerRule,
    findings: &mut Vec<Finding>,
) -> Result<Reading, DatabaseError> {
    let names = directory.names(is_certificate_name)?;
    if names.len() > MAX_CERTIFICATES {
        return Err(directory.too_many("certificates", MAX_CERTIFICATES));
    }
    let mut reading = Reading::default();
    for name in names {
        let mut found = Vec::new();
        let file = directory.examine_file(&name, Kind::ClientStore, rule.required(), &mut found)?;
        if file.is_none() && !directory.has(&name)? {
            // Its owner withdrew the trust after the directory was listed.
            continue;
        }
        findings.append(&mut found);
        let Some(file) = file else { continue };
        match read_certificate(file, &directory.file_path(&name), &name) {
            Some(certificate) => reading.certificates.push(certificate),
            None => reading.doubts.push(doubt(&directory.file_path(&name))),
        }
    }
    Ok(reading)
}

/// A file is believed when it holds exactly the certificate that its name says.
fn read_certificate(file: File, path: &Path, name: &str) -> Option<Certificate> {
    let der = read_bounded(file, path, MAX_CERTIFICATE_BYTES).ok()?;
    let certificate = Certificate::from_der(&der).ok()?;
    (file_name(certificate.sha256()) == name).then_some(certificate)
}

fn doubt(path: &Path) -> String {
    format!(
        "Certificate database file '{}' does not hold the certificate that its name says and is ignored\n  \
         try: rm {}",
        shown(path),
        quoted(path)
    )
}

pub(crate) fn file_name(fingerprint: Fingerprint) -> String {
    format!("{fingerprint}.{EXTENSION}")
}

fn is_certificate_name(name: &str) -> bool {
    name.strip_suffix(EXTENSION)
        .and_then(|stem| stem.strip_suffix('.'))
        .is_some_and(|stem| Fingerprint::from_hex(stem).is_some())
}

const EXTENSION: &str = "cert";

/// The mode of every file that clients read.
pub(crate) const FILE_MODE: u32 = 0o644;

static NO_PROGRAMS: Programs = Programs::none();

#[cfg(test)]
mod tests;
