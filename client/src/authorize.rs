//! `stap-authorize-server-cert CERTFILE [DIRNAME]`: trusts a server from now on.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::OFlags;
use stap_certs::certificate::MAX_CERTIFICATE_BYTES;
use stap_certs::client::ClientDatabase;
use stap_certs::{
    Certificate, CertificateError, DatabaseError, Environment, Paths, PathsError, Programs,
};

use crate::diagnostics::Diagnostics;

/// Runs the tool and returns its exit status.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let diagnostics = Diagnostics::named(arguments.next().as_deref(), "stap-authorize-server-cert");
    let file = arguments.next().filter(|file| !file.is_empty());
    let directory = arguments.next().filter(|directory| !directory.is_empty());
    match authorize(file.map(PathBuf::from), directory.map(PathBuf::from)) {
        Ok(warnings) => {
            for warning in warnings {
                diagnostics.plain(format_args!("Warning: {warning}"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            diagnostics.plain(error);
            ExitCode::FAILURE
        }
    }
}

/// Why no server is trusted that was not trusted before.
#[derive(Debug, thiserror::Error)]
enum AuthorizeError {
    #[error("Certificate file must be specified")]
    NoFile,
    #[error("Cannot find certificate file {}", .0.display())]
    Missing(PathBuf),
    #[error("{}: {source}\n{}", file.display(), unable(file, directory))]
    Unreadable {
        file: PathBuf,
        directory: PathBuf,
        source: io::Error,
    },
    #[error("{}: {source}\n{}", file.display(), unable(file, directory))]
    NotACertificate {
        file: PathBuf,
        directory: PathBuf,
        source: CertificateError,
    },
    #[error("{0}")]
    NoPlace(#[from] PathsError),
    #[error(
        "Unable to find or create the client certificate database directory: {}\n{}",
        directory.display(), source.lines().join("\n")
    )]
    NoDirectory {
        directory: PathBuf,
        source: DatabaseError,
    },
    #[error("{}\n{}", source.lines().join("\n"), unable(file, directory))]
    NotAdded {
        file: PathBuf,
        directory: PathBuf,
        source: DatabaseError,
    },
}

fn unable(file: &Path, directory: &Path) -> String {
    let (file, directory) = (file.display(), directory.display());
    format!("Unable to add {file} to the client certificate database {directory}")
}

fn authorize(
    file: Option<PathBuf>,
    directory: Option<PathBuf>,
) -> Result<Vec<String>, AuthorizeError> {
    let file = file.ok_or(AuthorizeError::NoFile)?;
    if !file.is_file() {
        return Err(AuthorizeError::Missing(file));
    }
    let directory = match directory {
        Some(directory) => directory,
        None => Paths::discover(&Environment::current())?
            .own_client()
            .to_owned(),
    };
    // The certificate is judged before the directory is made, so that a mistake leaves no trace.
    let bytes = read(&file).map_err(|source| AuthorizeError::Unreadable {
        file: file.clone(),
        directory: directory.clone(),
        source,
    })?;
    let certificate = Certificate::from_file_bytes(&bytes).map_err(|source| {
        let (file, directory) = (file.clone(), directory.clone());
        AuthorizeError::NotACertificate {
            file,
            directory,
            source,
        }
    })?;
    let programs = Programs::installed();
    let database =
        ClientDatabase::open_or_create_with(&directory, &programs).map_err(|source| {
            AuthorizeError::NoDirectory {
                directory: directory.clone(),
                source,
            }
        })?;
    database
        .add(&certificate)
        .map(|added| added.warnings)
        .map_err(|source| AuthorizeError::NotAdded {
            file,
            directory,
            source,
        })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Without waiting for a writer, should the name have become that of a pipe.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let mut bytes = Vec::new();
    // One byte more than a certificate may have, so that a larger file is seen to be larger.
    file.take(MAX_CERTIFICATE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
