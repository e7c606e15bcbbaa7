//! Certificate databases: what they hold, who may use them, and how certificates are made.
//!
//! A database is a directory of plain files. A server's holds its certificate (`stap.cert`, DER) and
//! its private key (`stap.key`, PKCS#8); a client's holds one file per trusted server, named by the
//! certificate's SHA-256. Trust means that exactly this certificate is in the database. An NSS store in
//! the same directory is kept in step, so that stock programs share it. Nothing here
//! talks to the network or reads the clock: the time is always an argument.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod account;
pub mod certificate;
pub mod client;
mod directory;
mod error;
pub mod fuzzing;
pub mod issue;
pub mod module_keys;
pub mod nss;
pub mod paths;
pub mod permissions;
pub mod server;
mod text;
pub mod trust;

pub use certificate::{Certificate, CertificateError, Fingerprint};
pub use client::{ClientDatabase, OwnerRule};
pub use error::DatabaseError;
pub use issue::Identity;
pub use nss::Programs;
pub use paths::{Environment, Paths, PathsError};
pub use server::ServerDatabase;
pub use trust::authorize_own;
