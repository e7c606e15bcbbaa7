//! How modules are compiled.

use serde::Deserialize;

/// What a server may do otherwise than stap by itself would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compile {
    /// Who runs the compiler in pass 4.
    #[serde(rename = "pass-4")]
    pub pass_4: Pass4,
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
