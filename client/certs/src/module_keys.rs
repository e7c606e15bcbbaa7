//! Machine owner keys: with them a server signs modules for hosts whose kernel loads no others.
//!
//! The layout is that of stock servers: `moks/<SHA-1 of the certificate>/` below the server's database,
//! with `signing_key.x509` (DER) and `signing_key.priv` (PEM). A key is made by an operator's command and
//! never by a client's request. One that somebody else could have read or changed is not used; the
//! others are. `moks` of ours is a link to a directory beside the database, because the program that
//! faces the network may open what is below the database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, Mode, mkdirat, symlinkat};
use rustix::io::Errno;
use x509_parser::pem::Pem;

use crate::certificate::{Certificate, MAX_CERTIFICATE_BYTES, sha1_of};
use crate::directory::{Directory, read_bounded};
use crate::error::{DatabaseError, failed, finding_line};
use crate::issue::PrivateKey;
use crate::permissions::{Finding, Kind};
use crate::text::shown;

/// The keys of one server.
#[derive(Debug, Default)]
pub struct ModuleKeys {
    /// Those that can be used, in the order of their fingerprints.
    pub usable: Vec<ModuleKey>,
    /// What is wrong with the others, one line each.
    pub warnings: Vec<String>,
}

/// A key that signs modules.
pub struct ModuleKey {
    fingerprint: [u8; 20],
    certificate: Certificate,
    key: PrivateKey,
}

/// The directory of the keys, below the server's database.
pub const DIRECTORY: &str = "moks";
/// The certificate of a key, in its directory.
pub const CERTIFICATE: &str = "signing_key.x509";
/// The key.
pub const KEY: &str = "signing_key.priv";
/// The most keys that are looked at; firmware has room for a handful.
pub const MAX_KEYS: usize = 16;

impl ModuleKeys {
    /// The directory in which a server's keys really are, made if there is none, so that whoever limits
    /// himself to it finds keys that are made later. `None` when it cannot be made.
    #[must_use]
    pub fn place(database: &Path) -> Option<PathBuf> {
        let link = database.join(DIRECTORY);
        if let Ok(real) = link.canonicalize() {
            return Some(real);
        }
        let (beside, _) = beside(database);
        match mkdirat(CWD, &beside, PRIVATE) {
            Ok(()) | Err(Errno::EXIST) => Some(beside),
            Err(_) => None,
        }
    }

    /// Reads the keys of a server's database; none when it has no such directory.
    ///
    /// # Errors
    /// When the directory is there and cannot be looked into.
    pub fn read(database: &Path) -> Result<Self, DatabaseError> {
        let path = database.join(DIRECTORY);
        let mut findings = Vec::new();
        let owner = rustix::process::geteuid().as_raw();
        let opened = Directory::examine_as(Kind::KeyDirectory, &path, Some(owner), &mut findings)?;
        if is_missing(&findings) {
            return Ok(Self::default());
        }
        let warnings = findings.iter().map(finding_line).collect();
        let Some(directory) = opened.filter(|_| !failed(&findings)) else {
            let usable = Vec::new();
            return Ok(Self { usable, warnings });
        };
        let mut keys = Self {
            usable: Vec::new(),
            warnings,
        };
        for name in directory.names(is_fingerprint)?.into_iter().take(MAX_KEYS) {
            match read_key(&directory.file_path(&name), owner, &name) {
                Ok((key, warnings)) => {
                    keys.usable.push(key);
                    keys.warnings.extend(warnings);
                }
                Err(lines) => keys.warnings.extend(lines),
            }
        }
        Ok(keys)
    }

    /// Makes a new key below a server's database, and returns where it is.
    ///
    /// # Errors
    /// When somebody else could change the directory, or it cannot be written.
    pub fn create(database: &Path, now: SystemTime) -> Result<(ModuleKey, PathBuf), DatabaseError> {
        Directory::create(database)?;
        let directory = make_directory(database)?;
        if directory.names(is_fingerprint)?.len() >= MAX_KEYS {
            return Err(DatabaseError::TooManyModuleKeys {
                path: directory.path().to_owned(),
                limit: MAX_KEYS,
            });
        }
        let key = PrivateKey::generate()?;
        let certificate = key.certify_for_modules(now)?;
        let made = ModuleKey {
            fingerprint: sha1_of(certificate.der()),
            certificate,
            key,
        };
        let path = directory.file_path(&made.fingerprint_text());
        mkdirat(CWD, &path, PRIVATE).map_err(|errno| DatabaseError::io("make", &path, errno))?;
        let own = usable_directory(&path)?;
        let lock = own.lock()?;
        // The key first: a crash between the two leaves a key that nothing was signed with.
        own.write(&lock, KEY, 0o600, made.key.to_pem().as_bytes())?;
        own.write(&lock, CERTIFICATE, 0o644, made.certificate.der())?;
        Ok((made, path))
    }
}

impl ModuleKey {
    /// The SHA-1 of the certificate, by which clients know the key.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 20] {
        self.fingerprint
    }

    /// The same as text, `08:fc:...`, which is also the name of its directory.
    #[must_use]
    pub fn fingerprint_text(&self) -> String {
        let octets: Vec<_> = self
            .fingerprint
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        octets.join(":")
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key as unencrypted PKCS#8.
    #[must_use]
    pub fn private_key_pkcs8(&self) -> &[u8] {
        self.key.pkcs8()
    }
}

/// Shows everything but the key.
impl fmt::Debug for ModuleKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ModuleKey")
            .field("fingerprint", &self.fingerprint_text())
            .finish_non_exhaustive()
    }
}

fn read_key(path: &Path, owner: u32, name: &str) -> Result<(ModuleKey, Vec<String>), Vec<String>> {
    let mut findings = Vec::new();
    let said = |error: DatabaseError| error.lines();
    let unusable = |why: &str| vec![format!("Signing key '{}' is not used: {why}", shown(path))];
    let opened = Directory::examine_as(Kind::KeyDirectory, path, Some(owner), &mut findings);
    let Some(directory) = opened.map_err(said)? else {
        return Err(findings.iter().map(finding_line).collect());
    };
    let mut examine = |file, kind| directory.examine_file(file, kind, Some(owner), &mut findings);
    let certificate = examine(CERTIFICATE, Kind::ServerCertificate).map_err(said)?;
    let key = examine(KEY, Kind::ServerStore).map_err(said)?;
    let lines: Vec<String> = findings.iter().map(finding_line).collect();
    let (Some(certificate), Some(key), false) = (certificate, key, failed(&findings)) else {
        let mut lines = lines;
        lines.extend(unusable("see above"));
        return Err(lines);
    };
    let der = read_bounded(
        certificate,
        &directory.file_path(CERTIFICATE),
        MAX_CERTIFICATE_BYTES,
    )
    .map_err(said)?;
    let text = read_bounded(key, &directory.file_path(KEY), MAX_KEY_BYTES).map_err(said)?;
    let key = parse(name, &der, &text).map_err(unusable)?;
    Ok((key, lines))
}

/// Puts certificate and key together, or says why they do not belong together.
fn parse(name: &str, certificate: &[u8], key: &[u8]) -> Result<ModuleKey, &'static str> {
    let certificate = Certificate::from_file_bytes(certificate)
        .map_err(|_opaque| "signing_key.x509 is not a certificate; keys are made with stap-serverd --make-signing-key")?;
    let key = PrivateKey::from_pkcs8(&pkcs8(key)?)
        .ok_or("signing_key.priv is not a private key that can be used")?;
    if !key.is_rsa() {
        return Err("it is not an RSA key, and no other kind is used for modules");
    }
    if !key.belongs_to(&certificate) {
        return Err("signing_key.priv is not the key of signing_key.x509");
    }
    let made = ModuleKey {
        fingerprint: sha1_of(certificate.der()),
        certificate,
        key,
    };
    if made.fingerprint_text() != name {
        return Err("its directory is not named by the SHA-1 of its certificate");
    }
    Ok(made)
}

/// The one key in a file of DER or PEM.
fn pkcs8(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(bytes.to_vec());
    }
    let blocks: Result<Vec<_>, _> = Pem::iter_from_buffer(bytes).collect();
    let blocks = blocks.map_err(|_opaque| "signing_key.priv is neither PEM nor DER")?;
    let mut keys = blocks
        .into_iter()
        .filter(|block| block.label.ends_with("PRIVATE KEY"));
    match (keys.next(), keys.next()) {
        (Some(key), None) if key.label == "PRIVATE KEY" => Ok(key.contents),
        (Some(key), None) if key.label == "ENCRYPTED PRIVATE KEY" => Err(
            "signing_key.priv has a password, which would have to lie beside it; take it off with openssl pkcs8, and \
             protect the directory",
        ),
        (Some(_), None) => {
            Err("signing_key.priv is not PKCS#8; convert it with openssl pkcs8 -topk8 -nocrypt")
        }
        (Some(_), Some(_)) => Err("signing_key.priv holds several keys"),
        (None, _) => Err("signing_key.priv holds no key"),
    }
}

/// The directory of keys, made where there is none: a link in the database, the directory beside it.
fn make_directory(database: &Path) -> Result<Directory, DatabaseError> {
    let link = database.join(DIRECTORY);
    if link.symlink_metadata().is_err() {
        let (beside, target) = beside(database);
        match mkdirat(CWD, &beside, PRIVATE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(DatabaseError::io("make", &beside, errno)),
        }
        symlinkat(&target, CWD, &link).map_err(|errno| DatabaseError::io("make", &link, errno))?;
    }
    usable_directory(&link)
}

/// `<database>.moks`, and what a link in the database has to say to reach it.
fn beside(database: &Path) -> (PathBuf, PathBuf) {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(DIRECTORY);
    (database.with_file_name(&name), Path::new("..").join(name))
}

fn usable_directory(path: &Path) -> Result<Directory, DatabaseError> {
    let owner = rustix::process::geteuid().as_raw();
    let mut findings = Vec::new();
    let opened = Directory::examine_as(Kind::KeyDirectory, path, Some(owner), &mut findings)?;
    opened
        .filter(|_| !failed(&findings))
        .ok_or_else(|| DatabaseError::Unsafe {
            path: path.to_owned(),
            findings,
        })
}

fn is_missing(findings: &[Finding]) -> bool {
    let missing = |finding: &Finding| finding.fault == crate::permissions::Fault::Missing;
    findings.iter().any(missing)
}

/// Twenty pairs of lower-case hexadecimal digits with colons between them.
fn is_fingerprint(name: &str) -> bool {
    let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let pairs: Vec<_> = name.split(':').map(str::as_bytes).collect();
    pairs.len() == 20
        && pairs
            .iter()
            .all(|pair| pair.len() == 2 && pair.iter().all(digit))
}

/// An RSA key of 16384 bits has less than twenty kilobytes as text.
const MAX_KEY_BYTES: usize = 64 * 1024;
const PRIVATE: Mode = Mode::RWXU;
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
