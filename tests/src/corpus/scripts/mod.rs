//! Attacks through the real stap, as a client sends them.

mod bombs;
mod caches;
mod compiler;
mod options;
mod paths;
mod script;

use super::Case;

/// All of them.
#[must_use]
pub fn cases() -> Vec<Case> {
    let areas = [
        compiler::cases(),
        paths::cases(),
        options::cases(),
        bombs::cases(),
        caches::cases(),
    ];
    areas.into_iter().flatten().collect()
}
