//! A server-side database: the server's certificate and its private key.
//!
//! Opening it judges who could have read or changed it, and makes, renews or completes the pair, so
//! that what it returns can be served at once. One process at a time does so; several servers of one
//! user end up with the same pair. Who trusts the certificate is `trust`.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use crate::certificate::{Certificate, Fingerprint, MAX_CERTIFICATE_BYTES};
use crate::directory::{Directory, Lock, read_bounded};
use crate::error::{DatabaseError, failed, settle};
use crate::issue::{Identity, PrivateKey};
use crate::mirror::{Change, Mirror, NoMirror};
use crate::nss;
use crate::permissions::{Finding, Kind};
use crate::text::{quoted, shown};

/// A server-side database.
#[derive(Debug)]
pub struct ServerDatabase {
    directory: Directory,
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

/// Where a server's pair comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there and good for a while.
    Found,
    /// It is the first one, or its key was lost: a new key and a new certificate.
    Created,
    /// The certificate had expired or soon would have: a new key and a new certificate.
    Renewed,
    /// The key was there without its certificate, as after a crash: a new certificate for it.
    Completed,
}

/// The largest private key file. An RSA key of 16384 bits has less than ten kilobytes.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

impl ServerDatabase {
    /// Opens the database, making it and a pair when they are not there, and renewing a certificate
    /// whose life is about to end. The old one is kept in [`Opened::retired`].
    ///
    /// # Errors
    /// [`DatabaseError::Unsafe`] when somebody else could have read the key or changed the pair; a
    /// system error when something cannot be made.
    pub fn open_or_create(
        path: &Path,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Opened, DatabaseError> {
        Self::open_or_create_with(path, identity, now, &NoMirror)
    }

    /// As [`open_or_create`](Self::open_or_create), with a second store to keep in step.
    ///
    /// # Errors
    /// As there.
    pub fn open_or_create_with(
        path: &Path,
        identity: &Identity,
        now: SystemTime,
        mirror: &dyn Mirror,
    ) -> Result<Opened, DatabaseError> {
        Directory::create(path)?;
        let owner = Some(rustix::process::geteuid().as_raw());
        let mut findings = Vec::new();
        let Some(directory) = Directory::examine(path, owner, &mut findings)? else {
            return Err(DatabaseError::Unsafe {
                path: path.to_owned(),
                findings,
            });
        };
        let database = Self { directory };
        if failed(&findings) {
            // Nothing is written where others could interfere; the files' faults are told as well.
            database.survey(&mut findings)?;
            return Err(DatabaseError::Unsafe {
                path: path.to_owned(),
                findings,
            });
        }
        let lock = database.directory.lock()?;
        database.adopt_old_name(&lock)?;
        let files = database.survey(&mut findings)?;
        let warnings = settle(path, findings)?;
        let contents = database.read(files)?;
        Pairing {
            database: &database,
            lock: &lock,
            identity,
            now,
            mirror,
            warnings,
        }
        .settle(contents)
    }

    /// Before 2009-08 the certificate was called otherwise.
    fn adopt_old_name(&self, lock: &Lock) -> Result<(), DatabaseError> {
        if !self.directory.has(OLD_CERTIFICATE)? {
            return Ok(());
        }
        if self.directory.has(CERTIFICATE)? {
            return self.directory.remove(lock, OLD_CERTIFICATE).map(drop);
        }
        self.directory.rename(lock, OLD_CERTIFICATE, CERTIFICATE)
    }

    /// Judges every file of the database, and opens what will be read.
    fn survey(&self, findings: &mut Vec<Finding>) -> Result<Files, DatabaseError> {
        let certificate = self.examine(CERTIFICATE, Kind::ServerCertificate, findings)?;
        let key = self.examine(KEY, Kind::ServerStore, findings)?;
        let _password: Option<File> = self.examine(PASSWORD, Kind::ServerStore, findings)?;
        let owner = Some(rustix::process::geteuid().as_raw());
        nss::examine(&self.directory, Kind::ServerStore, owner, findings)?;
        let mut retired = Vec::new();
        for name in self
            .directory
            .names(is_retired_name)?
            .into_iter()
            .take(MAX_RETIRED)
        {
            if let Some(file) = self.examine(&name, Kind::ServerCertificate, findings)? {
                retired.push((name, file));
            }
        }
        Ok(Files {
            certificate,
            key,
            retired,
        })
    }

    /// What is not there yet will be made, so it is no fault.
    fn examine(
        &self,
        name: &str,
        kind: Kind,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<File>, DatabaseError> {
        if !self.directory.has(name)? {
            return Ok(None);
        }
        let owner = Some(rustix::process::geteuid().as_raw());
        self.directory.examine_file(name, kind, owner, findings)
    }

    fn read(&self, files: Files) -> Result<Contents, DatabaseError> {
        let certificate = |name: &str, file| {
            let path = self.directory.file_path(name);
            let der = read_bounded(file, &path, MAX_CERTIFICATE_BYTES).ok()?;
            Certificate::from_der(&der).ok()
        };
        Ok(Contents {
            certificate: files
                .certificate
                .and_then(|file| certificate(CERTIFICATE, file)),
            key: files.key.map(|file| self.read_key(file)).transpose()?,
            retired: files
                .retired
                .into_iter()
                .filter_map(|(name, file)| certificate(&name, file))
                .collect(),
        })
    }

    /// A certificate can be made again, but a key that is not understood is nobody's to overwrite.
    fn read_key(&self, file: File) -> Result<PrivateKey, DatabaseError> {
        let path = self.directory.file_path(KEY);
        let der = read_bounded(file, &path, MAX_KEY_BYTES)?;
        PrivateKey::from_pkcs8(&der).ok_or(DatabaseError::UnusableKey { path })
    }
}

/// Descriptors of the files that passed under the rules.
struct Files {
    certificate: Option<File>,
    key: Option<File>,
    retired: Vec<(String, File)>,
}

/// What the files hold; a certificate that cannot be read is as good as none.
struct Contents {
    certificate: Option<Certificate>,
    key: Option<PrivateKey>,
    retired: Vec<Certificate>,
}

/// Coming from what is there to a pair that can be served.
struct Pairing<'a> {
    database: &'a ServerDatabase,
    lock: &'a Lock,
    identity: &'a Identity,
    now: SystemTime,
    mirror: &'a dyn Mirror,
    warnings: Vec<String>,
}

impl Pairing<'_> {
    fn settle(mut self, contents: Contents) -> Result<Opened, DatabaseError> {
        let Contents {
            certificate,
            key,
            mut retired,
        } = contents;
        let (key, certificate, origin) = match (key, certificate) {
            (Some(key), Some(found))
                if key.belongs_to(&found) && !found.needs_renewal(self.now) =>
            {
                self.warn_of_the_clock(&found);
                (key, found, Origin::Found)
            }
            (Some(key), Some(old)) if key.belongs_to(&old) => {
                self.retire(old, &mut retired)?;
                let (key, certificate) = self.new_pair()?;
                (key, certificate, Origin::Renewed)
            }
            (Some(key), stranger) => {
                self.set_aside(stranger, &mut retired)?;
                let certificate = self.new_certificate(&key)?;
                (key, certificate, Origin::Completed)
            }
            (None, orphan) => {
                self.set_aside(orphan, &mut retired)?;
                let (key, certificate) = self.new_pair()?;
                (key, certificate, Origin::Created)
            }
        };
        self.tell(Change::ServerPair {
            certificate: &certificate,
            key: &key,
        })?;
        let private_key_pkcs8 = key.pkcs8().to_vec();
        Ok(Opened {
            certificate,
            private_key_pkcs8,
            retired,
            origin,
            warnings: self.warnings,
        })
    }

    /// The key comes first: a crash between the two leaves a key without its certificate, which the
    /// next start completes, and never a certificate whose key is lost.
    fn new_pair(&self) -> Result<(PrivateKey, Certificate), DatabaseError> {
        let key = PrivateKey::generate()?;
        self.directory()
            .write(self.lock, KEY, KEY_MODE, key.pkcs8())?;
        let certificate = self.new_certificate(&key)?;
        Ok((key, certificate))
    }

    fn new_certificate(&self, key: &PrivateKey) -> Result<Certificate, DatabaseError> {
        let certificate = key.certify(self.identity, self.now)?;
        self.directory()
            .write(self.lock, CERTIFICATE, CERTIFICATE_MODE, certificate.der())?;
        Ok(certificate)
    }

    /// Remembers a certificate that clients of this user may still trust, so that they can forget it
    /// when it has expired.
    fn retire(
        &self,
        old: Certificate,
        retired: &mut Vec<Certificate>,
    ) -> Result<(), DatabaseError> {
        while retired.len() >= MAX_RETIRED {
            let oldest = (0..retired.len()).min_by_key(|index| retired[*index].not_after());
            let Some(oldest) = oldest else { break };
            let forgotten = retired.swap_remove(oldest);
            self.directory()
                .remove(self.lock, &retired_name(&forgotten))?;
        }
        self.directory()
            .write(self.lock, &retired_name(&old), CERTIFICATE_MODE, old.der())?;
        if !retired.contains(&old) {
            retired.push(old);
        }
        Ok(())
    }

    /// Retires a certificate that cannot be served because its key is not here.
    fn set_aside(
        &mut self,
        certificate: Option<Certificate>,
        retired: &mut Vec<Certificate>,
    ) -> Result<(), DatabaseError> {
        let Some(certificate) = certificate else {
            return Ok(());
        };
        let path = self.directory().file_path(CERTIFICATE);
        self.warnings.push(format!(
            "Certificate file '{}' is not for the private key beside it and was replaced\n  \
             try: stap-authorize-server-cert {} for every client that trusted the old one",
            shown(&path),
            quoted(&path)
        ));
        self.retire(certificate, retired)
    }

    /// A clock that went back is likelier than a certificate from the future, and making a new one
    /// would lose the trust of every client: so it is only told.
    fn warn_of_the_clock(&mut self, certificate: &Certificate) {
        if self.now < certificate.not_before() {
            let path = self.directory().file_path(CERTIFICATE);
            self.warnings.push(format!(
                "Certificate file '{}' is not valid yet; clients will refuse it\n  \
                 try: set this host's clock",
                shown(&path)
            ));
        }
    }

    fn tell(&self, change: Change<'_>) -> Result<(), DatabaseError> {
        let path = self.directory().path();
        self.mirror
            .follow(path, change)
            .map_err(|source| DatabaseError::Mirror {
                path: path.to_owned(),
                source,
            })
    }

    fn directory(&self) -> &Directory {
        &self.database.directory
    }
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

fn retired_name(certificate: &Certificate) -> String {
    format!("{}.retired", certificate.sha256())
}

fn is_retired_name(name: &str) -> bool {
    name.strip_suffix(".retired")
        .is_some_and(|stem| Fingerprint::from_hex(stem).is_some())
}

const CERTIFICATE: &str = "stap.cert";
const OLD_CERTIFICATE: &str = "stap-server.cert";
const KEY: &str = "stap.key";
const PASSWORD: &str = "pw";

const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// The most former certificates that are remembered. One is retired a year.
const MAX_RETIRED: usize = 16;

#[cfg(test)]
mod tests;
