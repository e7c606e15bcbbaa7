//! The server's certificate: where it is kept, and that this user's clients trust it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stap_certs::server::{Opened, PasswordRule, Setup};
use stap_certs::trust::authorize_own_with;
use stap_certs::{DatabaseError, Identity, Paths, Programs, ServerDatabase};
use stap_transport::server::{Acceptor, TransportError};

/// The databases that a server reads and writes.
#[derive(Clone, Debug)]
pub struct Database {
    server: PathBuf,
    client: PathBuf,
    identity: Identity,
    password: PasswordRule,
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
}

impl Database {
    /// The documented databases, or `server` instead of the documented one of the server.
    #[must_use]
    pub fn new(
        paths: &Paths,
        server: Option<&Path>,
        nodename: &str,
        password: PasswordRule,
    ) -> Self {
        Self {
            server: server.unwrap_or_else(|| paths.server()).to_owned(),
            client: paths.own_client().to_owned(),
            identity: Identity::of_host(nodename),
            password,
        }
    }

    /// Where the server's own pair is, and below which the keys for modules are found.
    #[must_use]
    pub fn server(&self) -> &Path {
        &self.server
    }

    /// The directories that renewal writes to.
    #[must_use]
    pub fn directories(&self) -> [&Path; 2] {
        [&self.server, &self.client]
    }

    /// Opens the pair, making or renewing it first where that is due, and makes this user's clients
    /// trust it. Only before the server is confined can there be `programs` to keep NSS stores in step
    /// with; what is renewed later reaches those stores at the next start.
    ///
    /// # Errors
    /// When a database is not safe, or cannot be made.
    pub fn open(
        &self,
        now: SystemTime,
        programs: &Programs,
    ) -> Result<Credentials, CredentialsError> {
        let setup = Setup {
            identity: &self.identity,
            now,
            password: self.password,
            programs,
        };
        let opened = ServerDatabase::open_or_create_with(&self.server, setup)?;
        let warnings = authorize_own_with(&self.client, &opened, now, programs)?;
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
