//! Which layers this host can give, found by trying each for real in a process of its own.

use serde::{Deserialize, Serialize};

use crate::layer::Layer;

/// One layer on this host, for the user that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedLayer {
    /// Which.
    pub layer: Layer,
    /// Whether a jail could be built with it.
    pub available: bool,
    /// What exactly holds, or what failed.
    pub detail: String,
    /// What would make it available; empty when it is.
    pub remedy: String,
}
