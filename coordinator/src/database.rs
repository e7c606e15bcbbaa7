//! The server's certificate: where it is kept, and that this user's clients trust it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stap_certs::server::Opened;
use stap_certs::{DatabaseError, Identity, Paths, ServerDatabase, authorize_own};
use stap_transport::server::{Acceptor, TransportError};

/// The databases that a server reads and writes.
#[derive(Clone, Debug)]
pub struct Database {
    server: PathBuf,
    client: PathBuf,
    identity: Identity,
}

/// A certificate in use.
#[derive(Debug)]
pub struct Credentials {
    /// The pair, and what should be better about its place.
    pub opened: Opened,
    /// What makes connections under it.
    pub acceptor: Acceptor,
    /// What should be better about the client's database.
    pub warnings: Vec<String>,
}

/// Why there is no certificate to serve under.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// One of the databases cannot be used.
    #[error("{0}")]
    Database(#[from] DatabaseError),
    /// The pair does not work.
    #[error("the certificate in {} cannot be used: {source}", database.display())]
    Pair {
        /// The server's database.
        database: PathBuf,
        /// Why.
        source: TransportError,
    },
    /// `-P` was given and there is no password.
    #[error("the password file {} cannot be made: {source}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Database {
    /// The documented databases, or `server` instead of the documented one of the server.
    #[must_use]
    pub fn new(paths: &Paths, server: Option<&Path>, nodename: &str) -> Self {
        Self {
            server: server.unwrap_or_else(|| paths.server()).to_owned(),
            client: paths.own_client().to_owned(),
            identity: Identity::of_host(nodename),
        }
    }

    /// The directories that renewal writes to.
    #[must_use]
    pub fn directories(&self) -> [&Path; 2] {
        [&self.server, &self.client]
    }

    /// Opens the pair, making or renewing it first where that is due, and makes this user's clients
    /// trust it.
    ///
    /// # Errors
    /// When a database is not safe, or cannot be made.
    pub fn open(&self, now: SystemTime) -> Result<Credentials, CredentialsError> {
        let opened = ServerDatabase::open_or_create(&self.server, &self.identity, now)?;
        let warnings = authorize_own(&self.client, &opened, now)?;
        let certificate = opened.certificate.der().to_vec();
        let acceptor =
            Acceptor::new(certificate, opened.private_key_pkcs8.clone()).map_err(|source| {
                CredentialsError::Pair {
                    database: self.server.clone(),
                    source,
                }
            })?;
        Ok(Credentials {
            opened,
            acceptor,
            warnings,
        })
    }

    /// Makes the password file of `-P` unless it is there; an NSS store in the same directory is
    /// protected by it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_password(&self) -> Result<(), CredentialsError> {
        let path = self.server.join("pw");
        match write_password(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(source) => Err(CredentialsError::Password { path, source }),
            Ok(()) => Ok(()),
        }
    }
}

impl CredentialsError {
    /// What a person sees: every finding, then the sentence that ends it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Database(error) => error.lines(),
            other => vec![other.to_string()],
        }
    }
}

fn write_password(path: &Path) -> io::Result<()> {
    let mut random = [0_u8; PASSWORD_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PASSWORD_MODE)
        .open(path)?;
    file.write_all(text.as_bytes())
}

const PASSWORD_BYTES: usize = 16;
const PASSWORD_MODE: u32 = 0o600;
