//! What is kept of finished jobs.

use serde::Deserialize;

use crate::quantity::{Count, Size, Time};

/// Results that are given out again to whoever asks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Store {
    /// To whom.
    pub scope: Scope,
    /// Bytes of all of them.
    pub size: Size<{ 1 << 20 }, { 1 << 40 }>,
    /// How many.
    pub entries: Count<1, 65536>,
    /// How long a compile error is given out again; 0 s is never.
    pub failures: Time<0, 3600>,
}

/// Who gets what a job gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Whoever asks the same.
    Shared,
    /// The peer whose job it was: the same user of this host, or the same address.
    User,
    /// Nobody.
    Off,
}
