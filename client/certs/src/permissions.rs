//! Who may own, read and change a database: the rules, their wording and how to repair.
//!
//! A pure table: what was seen on an open descriptor goes in, findings come out. A finding that is an
//! error makes the whole database unusable; a warning does not. The set-id and sticky bits are
//! ignored.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::account;
use crate::text::{quoted, shown};

/// What a path is in a database, which decides its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The database itself.
    Directory,
    /// A file of a client-side database; every user may read it.
    ClientStore,
    /// A file of a server-side database that holds or opens secrets.
    ServerStore,
    /// The server's certificate, which is public.
    ServerCertificate,
    /// A directory of keys that sign modules, below the database or beside it.
    KeyDirectory,
}

/// What was seen of an existing path of the right type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub owner: u32,
    /// Whether this process could open it for reading.
    pub readable: bool,
}

/// What is wrong with one path, and how bad it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path.
    pub path: PathBuf,
    /// What the path is.
    pub kind: Kind,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It is not a directory, or not a regular file.
    WrongType,
    /// It belongs to somebody else than this user.
    NotOwnedBy(u32),
    /// This process cannot read it.
    Unreadable,
    /// It lacks a permission that it should have.
    Lacks(Right, Class),
    /// It has a permission that it must not have.
    Grants(Right, Class),
}

/// One permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To execute a file or to search a directory.
    Execute,
}

/// Whom a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The owner.
    Owner,
    /// The group.
    Group,
    /// Everybody else.
    Others,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The database is used all the same.
    Warning,
    /// The database is not used.
    Error,
}

/// Judges a path of the right type. `required_owner` is `None` where any owner will do.
#[must_use]
pub fn judge(kind: Kind, seen: Seen, required_owner: Option<u32>) -> Vec<Fault> {
    let owner = required_owner
        .filter(|required| *required != seen.owner)
        .map(Fault::NotOwnedBy);
    let unreadable = (!seen.readable && kind.must_be_readable()).then_some(Fault::Unreadable);
    let bits = RULES
        .iter()
        .filter_map(|rule| rule.broken_by(kind, seen.mode));
    owner.into_iter().chain(unreadable).chain(bits).collect()
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.fault {
            Fault::Lacks(..) => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// Returns the command that repairs it, where one command does.
    #[must_use]
    pub fn repair(&self) -> Option<String> {
        let path = quoted(&self.path);
        match self.fault {
            Fault::Missing | Fault::WrongType => None,
            Fault::NotOwnedBy(uid) => Some(format!("chown {} {path}", account::name(uid))),
            Fault::Unreadable if self.kind.is_directory() => Some(format!("chmod u+rx {path}")),
            Fault::Unreadable => Some(format!("chmod u+r {path}")),
            Fault::Lacks(right, class) => Some(format!(
                "chmod {}+{} {path}",
                class.letter(),
                right.letter()
            )),
            Fault::Grants(right, class) => Some(format!(
                "chmod {}-{} {path}",
                class.letter(),
                right.letter()
            )),
        }
    }
}

/// The documented sentence.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} '{}' ", self.kind.noun(), shown(&self.path))?;
        match self.fault {
            Fault::Missing => write!(formatter, "does not exist"),
            Fault::WrongType if self.kind.is_directory() => {
                write!(formatter, "is not a directory")
            }
            Fault::WrongType => write!(formatter, "is not a regular file"),
            Fault::NotOwnedBy(uid) => write!(formatter, "must be owned by {}", account::name(uid)),
            Fault::Unreadable => write!(formatter, "is not readable"),
            Fault::Lacks(right, class) => {
                write!(formatter, "should be {} by the {class}", right.wanted())
            }
            Fault::Grants(right, class) => {
                write!(
                    formatter,
                    "must not be {} by the {class}",
                    right.forbidden()
                )
            }
        }
    }
}

/// One line of the table in the specification: what each kind of path thinks of one bit.
struct Rule {
    class: Class,
    right: Right,
    directory: Wish,
    client_store: Wish,
    server_store: Wish,
    server_certificate: Wish,
    key_directory: Wish,
}

/// What a rule wants of a bit.
#[derive(Clone, Copy)]
enum Wish {
    Set,
    Clear,
    /// Either will do.
    Any,
}

impl Rule {
    fn broken_by(&self, kind: Kind, mode: u32) -> Option<Fault> {
        let set = mode & self.bit() != 0;
        match (self.wish(kind), set) {
            (Wish::Set, false) => Some(Fault::Lacks(self.right, self.class)),
            (Wish::Clear, true) => Some(Fault::Grants(self.right, self.class)),
            _ => None,
        }
    }

    fn wish(&self, kind: Kind) -> Wish {
        match kind {
            Kind::Directory => self.directory,
            Kind::ClientStore => self.client_store,
            Kind::ServerStore => self.server_store,
            Kind::ServerCertificate => self.server_certificate,
            Kind::KeyDirectory => self.key_directory,
        }
    }

    fn bit(&self) -> u32 {
        let right = match self.right {
            Right::Read => 0o4,
            Right::Write => 0o2,
            Right::Execute => 0o1,
        };
        match self.class {
            Class::Owner => right << 6,
            Class::Group => right << 3,
            Class::Others => right,
        }
    }
}

impl Kind {
    /// The noun of the documented messages.
    fn noun(self) -> &'static str {
        match self {
            Self::Directory => "Certificate database",
            Self::ClientStore | Self::ServerStore => "Certificate database file",
            Self::ServerCertificate => "Certificate file",
            Self::KeyDirectory => "Directory of signing keys",
        }
    }

    fn is_directory(self) -> bool {
        matches!(self, Self::Directory | Self::KeyDirectory)
    }

    /// A server's certificate that cannot be read is made anew, so that is no fault.
    fn must_be_readable(self) -> bool {
        self != Self::ServerCertificate
    }
}

impl Right {
    fn wanted(self) -> &'static str {
        match self {
            Self::Read => "readable",
            // The documented messages spell it so when it is wished, and "writable" when forbidden.
            Self::Write => "writeable",
            Self::Execute => "searchable",
        }
    }

    fn forbidden(self) -> &'static str {
        match self {
            Self::Read => "readable",
            Self::Write => "writable",
            Self::Execute => "executable",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Execute => 'x',
        }
    }
}

impl Class {
    fn letter(self) -> char {
        match self {
            Self::Owner => 'u',
            Self::Group => 'g',
            Self::Others => 'o',
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Others => "others",
        })
    }
}

/// Adds what was found about one path to a list of findings.
pub(crate) fn extend(findings: &mut Vec<Finding>, path: &Path, kind: Kind, faults: &[Fault]) {
    findings.extend(faults.iter().map(|fault| Finding {
        path: path.to_owned(),
        kind,
        fault: *fault,
    }));
}

const fn rule(class: Class, right: Right, wishes: [Wish; 5]) -> Rule {
    let [
        directory,
        client_store,
        server_store,
        server_certificate,
        key_directory,
    ] = wishes;
    Rule {
        class,
        right,
        directory,
        client_store,
        server_store,
        server_certificate,
        key_directory,
    }
}

const SET: Wish = Wish::Set;
const NOT: Wish = Wish::Clear;
const ANY: Wish = Wish::Any;

/// Columns: directory, client store, server store, server certificate, key directory.
const RULES: [Rule; 9] = [
    rule(Class::Owner, Right::Read, [SET, SET, SET, SET, SET]),
    rule(Class::Owner, Right::Write, [SET, SET, SET, SET, ANY]),
    rule(Class::Owner, Right::Execute, [SET, NOT, NOT, NOT, SET]),
    rule(Class::Group, Right::Read, [SET, SET, NOT, SET, ANY]),
    rule(Class::Group, Right::Write, [NOT, NOT, NOT, NOT, NOT]),
    rule(Class::Group, Right::Execute, [SET, NOT, NOT, NOT, ANY]),
    rule(Class::Others, Right::Read, [SET, SET, NOT, SET, ANY]),
    rule(Class::Others, Right::Write, [NOT, NOT, NOT, NOT, NOT]),
    rule(Class::Others, Right::Execute, [SET, NOT, NOT, NOT, ANY]),
];

#[cfg(test)]
mod tests;
