//! The files of a server-side database: their names and modes, what the rules say of them, and what
//! they hold.

use std::fs::File;

use super::password::{MAX_PASSWORD_BYTES, Password};
use crate::certificate::{Certificate, Fingerprint, MAX_CERTIFICATE_BYTES};
use crate::directory::{Directory, Lock, read_bounded};
use crate::error::DatabaseError;
use crate::issue::PrivateKey;
use crate::nss;
use crate::permissions::{Finding, Kind};

pub(super) const CERTIFICATE: &str = "stap.cert";
pub(super) const KEY: &str = "stap.key";
pub(super) const PASSWORD: &str = "pw";

/// What the certificate was called in the first versions of SystemTap.
const OLD_CERTIFICATE: &str = "stap-server.cert";

pub(super) const SECRET_MODE: u32 = 0o600;
pub(super) const CERTIFICATE_MODE: u32 = 0o644;

/// The largest private key file. An RSA key of 16384 bits has less than ten kilobytes.
pub(super) const MAX_KEY_BYTES: usize = 64 * 1024;

/// The most former certificates that are remembered. One is retired a year.
pub(super) const MAX_RETIRED: usize = 16;

/// Descriptors of the files that were judged and will be read.
pub(super) struct Files {
    certificate: Option<File>,
    key: Option<File>,
    password: Option<File>,
    retired: Vec<(String, File)>,
}

/// What the files hold; a certificate that cannot be read is as good as none.
pub(super) struct Contents {
    pub(super) certificate: Option<Certificate>,
    pub(super) key: Option<PrivateKey>,
    pub(super) password: Option<Password>,
    pub(super) retired: Vec<Certificate>,
}

impl Files {
    /// Judges every file of the database, and opens what will be read.
    pub(super) fn survey(
        directory: &Directory,
        owner: u32,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, DatabaseError> {
        let mut examine = |name: &str, kind| {
            // What is not there yet will be made, so it is no fault.
            if !directory.has(name)? {
                return Ok(None);
            }
            directory.examine_file(name, kind, Some(owner), findings)
        };
        let certificate = examine(CERTIFICATE, Kind::ServerCertificate)?;
        let key = examine(KEY, Kind::ServerStore)?;
        let password = examine(PASSWORD, Kind::ServerStore)?;
        let mut retired = Vec::new();
        for name in directory
            .names(is_retired_name)?
            .into_iter()
            .take(MAX_RETIRED)
        {
            if let Some(file) = examine(&name, Kind::ServerCertificate)? {
                retired.push((name, file));
            }
        }
        nss::examine(directory, Kind::ServerStore, Some(owner), findings)?;
        Ok(Self {
            certificate,
            key,
            password,
            retired,
        })
    }

    /// Reads the files. A certificate can be made again, but a key that is not understood is nobody's
    /// to overwrite.
    pub(super) fn read(self, directory: &Directory) -> Result<Contents, DatabaseError> {
        let certificate = |name: &str, file| {
            let der = read_bounded(file, &directory.file_path(name), MAX_CERTIFICATE_BYTES).ok()?;
            Certificate::from_der(&der).ok()
        };
        let secret = |name: &str, file: Option<File>, limit| {
            let path = directory.file_path(name);
            file.map(|file| read_bounded(file, &path, limit))
                .transpose()
        };
        let key = secret(KEY, self.key, MAX_KEY_BYTES)?
            .map(|der| {
                PrivateKey::from_pkcs8(&der).ok_or_else(|| DatabaseError::UnusableKey {
                    path: directory.file_path(KEY),
                })
            })
            .transpose()?;
        let password = secret(PASSWORD, self.password, MAX_PASSWORD_BYTES)?;
        let retired = self.retired.into_iter();
        Ok(Contents {
            certificate: self
                .certificate
                .and_then(|file| certificate(CERTIFICATE, file)),
            key,
            password: password.and_then(|bytes| Password::from_file_bytes(&bytes)),
            retired: retired
                .filter_map(|(name, file)| certificate(&name, file))
                .collect(),
        })
    }
}

/// Gives a certificate of an old database the name that is used today; one that is already replaced
/// is removed.
pub(super) fn adopt_old_name(directory: &Directory, lock: &Lock) -> Result<(), DatabaseError> {
    if !directory.has(OLD_CERTIFICATE)? {
        return Ok(());
    }
    if directory.has(CERTIFICATE)? {
        return directory.remove(lock, OLD_CERTIFICATE).map(drop);
    }
    directory.rename(lock, OLD_CERTIFICATE, CERTIFICATE)
}

pub(super) fn retired_name(certificate: &Certificate) -> String {
    format!("{}.retired", certificate.sha256())
}

fn is_retired_name(name: &str) -> bool {
    name.strip_suffix(".retired")
        .is_some_and(|stem| Fingerprint::from_hex(stem).is_some())
}
