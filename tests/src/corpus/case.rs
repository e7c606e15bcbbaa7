//! One hostile case, and what may come of it.

use std::fmt;

use super::{Field, Held, Who};

/// One attack.
pub struct Case {
    /// Its name, unique in the corpus: words joined by hyphens.
    pub name: &'static str,
    /// Where it belongs.
    pub family: Family,
    /// What the attacker wants.
    pub goal: Goal,
    /// The advisory, public issue or own finding that it repeats; empty where it is common lore.
    pub lesson: &'static str,
    /// What holds it, each with the words of its reason. The first is the one that answers while all
    /// of them are on.
    pub guards: Vec<Held>,
    /// What of the product this case is there for, besides its guards: `rung:NAME`, `limit:NAME` or
    /// `item:WORDS`.
    pub covers: Vec<&'static str>,
    /// Carries it out against a server with everything on.
    pub attempt: Attempt,
    /// Carries it out with what holds it taken away.
    pub control: Demonstration,
}

/// An attempt; an error means that it could not be made, which is nobody's merit.
pub type Attempt = Box<dyn Fn(&Field) -> anyhow::Result<Verdict>>;
/// A control.
pub type Demonstration = Box<dyn Fn(&Field) -> anyhow::Result<Control>>;

/// A group of cases that share a way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Arbitrary code in a job.
    Code,
    /// What a job may use.
    Limits,
    /// What a job leaves behind.
    Leftovers,
    /// What a job hands back.
    Results,
    /// Scripts through the real stap.
    Scripts,
    /// Request packages.
    Packages,
    /// Connections.
    Door,
}

/// What an attacker wants, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To know what is not his.
    Read(&'static str),
    /// To change what is not his.
    Write(&'static str),
    /// To talk to, or to act on, what is outside.
    Reach(&'static str),
    /// To make the machine do what only its owner may.
    Rule(&'static str),
    /// To spoil somebody else's work.
    Disturb(&'static str),
    /// To use more than his share.
    Exhaust(&'static str),
    /// To live on, or to leave something.
    Outlive(&'static str),
    /// To pass off something as what it is not.
    Deceive(&'static str),
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was held.
    Contained {
        /// By what, in the words of whoever held it.
        reason: String,
    },
    /// It was not.
    Escaped {
        /// What the attacker got.
        how: String,
    },
    /// It cannot be tried here: the protocol or the machine lacks what it needs.
    Inapplicable {
        /// What.
        why: String,
    },
}

/// What came of a control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Without what holds it, the attack does what it is for.
    Succeeded {
        /// What was taken away, or what the attacker got.
        how: String,
    },
    /// It does not, so what is said to hold it is not what does, or not all.
    Failed {
        /// What stopped it.
        why: String,
    },
    /// It cannot be shown here.
    Inapplicable {
        /// Why.
        why: String,
    },
}

impl Case {
    /// The guards that hold it where `who` runs the server.
    pub fn guards_of(&self, who: Who) -> impl Iterator<Item = &Held> {
        self.guards.iter().filter(move |held| held.applies_to(who))
    }

    /// Whether a reason is one that this case expects.
    #[must_use]
    pub fn expects(&self, who: Who, reason: &str) -> bool {
        self.guards_of(who).any(|held| reason.contains(held.says))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.family, self.name)
    }
}

impl Family {
    /// Every family, in order.
    pub const ALL: [Self; 7] = [
        Self::Code,
        Self::Limits,
        Self::Leftovers,
        Self::Results,
        Self::Scripts,
        Self::Packages,
        Self::Door,
    ];

    /// Its name on command lines and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Limits => "limits",
            Self::Leftovers => "leftovers",
            Self::Results => "results",
            Self::Scripts => "scripts",
            Self::Packages => "packages",
            Self::Door => "door",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, of) = match self {
            Self::Read(of) => ("read", of),
            Self::Write(of) => ("write", of),
            Self::Reach(of) => ("reach", of),
            Self::Rule(of) => ("rule", of),
            Self::Disturb(of) => ("disturb", of),
            Self::Exhaust(of) => ("exhaust", of),
            Self::Outlive(of) => ("outlive", of),
            Self::Deceive(of) => ("deceive", of),
        };
        write!(formatter, "{verb} {of}")
    }
}
