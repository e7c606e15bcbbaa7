//! Why a database could not be used, in the lines that a person sees.

use std::io;
use std::path::{Path, PathBuf};

use crate::issue::IssueError;
use crate::permissions::{Finding, Severity};
use crate::text::{quoted, shown};

/// Why a certificate database cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no such directory. Whether that matters is the caller's to say: a default client
    /// database may be missing.
    #[error("Certificate database '{}' does not exist", shown(path))]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// Ownership or permissions allow others what they may not do; the findings say what.
    #[error("Unable to use certificate database '{}' due to errors", shown(path))]
    Unsafe {
        /// The database.
        path: PathBuf,
        /// What was found, warnings included.
        findings: Vec<Finding>,
    },
    /// The directory could not be made.
    #[error(
        "cannot create the certificate database directory '{}': {source}",
        shown(path)
    )]
    Create {
        /// The directory, or the parent that could not be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory operation failed.
    #[error("cannot {action} '{}': {source}", shown(path))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than anything that belongs there.
    #[error("'{}' is larger than {limit} bytes", shown(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The directory holds more than a database may.
    #[error(
        "certificate database '{}' holds more than {limit} {what}",
        shown(path)
    )]
    TooMany {
        /// The database.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Another process has been changing the database for too long.
    #[error(
        "certificate database '{}' is being changed by another process",
        shown(path)
    )]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The private key file holds something that is not ours to overwrite.
    #[error("'{}' does not hold a private key that can be used", shown(path))]
    UnusableKey {
        /// The file.
        path: PathBuf,
    },
    /// No certificate could be made.
    #[error("cannot make a server certificate: {0}")]
    Issue(#[from] IssueError),
    /// There are as many signing keys as are looked at.
    #[error("'{}' holds {limit} signing keys, and no more are used", shown(path))]
    TooManyModuleKeys {
        /// Where they are.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// An NSS store holds the pair that this database lacks, and the pair cannot be had.
    #[error(
        "the server's pair in the NSS store '{}' cannot be taken over: {reason}",
        shown(store)
    )]
    Takeover {
        /// The store's certificates.
        store: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
}

impl DatabaseError {
    /// Returns what a person sees, without a `WARNING:` or `ERROR:` prefix: every finding first, the
    /// sentence that ends it last. A line may have a second, indented row that says what to do.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unsafe { findings, .. } => {
                let mut lines: Vec<String> = findings.iter().map(finding_line).collect();
                lines.push(self.to_string());
                lines
            }
            Self::Missing { path } => {
                let unusable = Self::Unsafe {
                    path: path.clone(),
                    findings: Vec::new(),
                };
                vec![self.line_with_hint(), unusable.to_string()]
            }
            _ => vec![self.line_with_hint()],
        }
    }

    fn line_with_hint(&self) -> String {
        match self.hint() {
            Some(hint) => with_hint(self, &hint),
            None => self.to_string(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => {
                "add a server's certificate with stap-authorize-server-cert CERTFILE DIRNAME"
                    .to_owned()
            }
            Self::Create { source, .. } if is_full(source) => FREE_SPACE.to_owned(),
            Self::Create { path, .. } => format!(
                "make {} writable for this user, or choose another place with SYSTEMTAP_DIR",
                path.parent().map_or_else(|| quoted(path), quoted)
            ),
            Self::Io { source, .. } if is_full(source) => FREE_SPACE.to_owned(),
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("ls -ld {}", quoted(path))
            }
            Self::TooLarge { path, .. } | Self::UnusableKey { path } => {
                format!(
                    "move it away ({0} to {0}.old, say) and start again",
                    quoted(path)
                )
            }
            Self::TooMany { what, .. } => format!("remove {what} that are no longer needed"),
            Self::TooManyModuleKeys { path, .. } => {
                format!(
                    "remove one that is no longer enrolled anywhere from {}",
                    quoted(path)
                )
            }
            Self::Busy { .. } => "try again when the other process has finished".to_owned(),
            Self::Takeover { hint, .. } => hint.clone(),
            Self::Io { .. } | Self::Unsafe { .. } | Self::Issue(_) => return None,
        })
    }

    /// Tells whether nothing can be written there, so that what is there is all that there is.
    pub(crate) fn is_read_only(&self) -> bool {
        let kinds = [
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::PermissionDenied,
        ];
        matches!(self, Self::Io { source, .. } if kinds.contains(&source.kind()))
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// Gives the findings to the caller as warnings, or refuses when one of them is an error.
pub(crate) fn settle(path: &Path, findings: Vec<Finding>) -> Result<Vec<String>, DatabaseError> {
    if failed(&findings) {
        return Err(DatabaseError::Unsafe {
            path: path.to_owned(),
            findings,
        });
    }
    Ok(findings.iter().map(finding_line).collect())
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

const FREE_SPACE: &str = "free some space on the disk";

pub(crate) fn failed(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity() == Severity::Error)
}

pub(crate) fn finding_line(finding: &Finding) -> String {
    match finding.repair() {
        Some(command) => with_hint(finding, &command),
        None => finding.to_string(),
    }
}

/// The documented sentence stays a line of its own, so that it can be matched.
pub(crate) fn with_hint(sentence: &impl std::fmt::Display, hint: &str) -> String {
    format!("{sentence}\n  try: {hint}")
}
