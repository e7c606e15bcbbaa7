//! Under which circumstances the corpus runs.

use std::fmt;
use std::path::PathBuf;

/// Who started the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Root: each job has a uid of its own, and every layer holds.
    Root,
    /// An ordinary user: jobs are his own processes, in namespaces.
    User,
}

/// Whose server is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Ours.
    Ours,
    /// SystemTap's own.
    Stock,
}

/// One set of circumstances.
#[derive(Clone, Debug)]
pub struct Situation {
    /// Who started the server.
    pub who: Who,
    /// Whether an ordinary user was given control groups, as a service manager does.
    pub is_delegated: bool,
    /// Whose server it is.
    pub against: Against,
    /// Holds our programs.
    pub programs: PathBuf,
    /// Where this run may make files; a directory that everybody can enter.
    pub scratch: PathBuf,
    /// The ordinary user of this run.
    pub ordinary: u32,
}

impl Situation {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.who, self.is_delegated) {
            (Who::Root, _) => "root",
            (Who::User, false) => "user",
            (Who::User, true) => "delegated",
        }
    }

    /// Whether an ordinary user has nothing but what every user has; a stock server is started so.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.who == Who::User && !self.is_delegated
    }

    /// The server's uid.
    #[must_use]
    pub fn server_uid(&self) -> u32 {
        match self.who {
            Who::Root => 0,
            Who::User => self.ordinary,
        }
    }

    /// The uid of jobs, seen from outside; of the first slot, and there is no other unless a case
    /// asks for one.
    #[must_use]
    pub fn job_uid(&self) -> u32 {
        match self.who {
            Who::Root => UID_BASE,
            Who::User => self.ordinary,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Root => "root",
            Self::User => "user",
        })
    }
}

/// The first slot's uid, which no other test of this project uses: what the kernel counts by uid is
/// then ours alone.
pub const UID_BASE: u32 = 77_000;
