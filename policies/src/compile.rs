//! How modules are compiled.

use serde::Deserialize;

use crate::quantity::Size;

/// What a server may do otherwise than stap by itself would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compile {
    /// Who runs the compiler in pass 4.
    #[serde(rename = "pass-4")]
    pub pass_4: Pass4,
    /// The most that recordings take in the server's cache.
    pub kept: Size<{ 1 << 20 }, { 1 << 40 }>,
    /// The most of them that lies below `TMPDIR` while a server runs.
    pub shown: Size<{ 1 << 20 }, { 1 << 40 }>,
}

/// Ways through pass 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass4 {
    /// The commands that make was seen to run for a target are run again without it, where that was
    /// proven to give the same module.
    Replay,
    /// make, always.
    Make,
}
