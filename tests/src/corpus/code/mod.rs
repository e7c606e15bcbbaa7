//! Arbitrary code in a job: what it tries to read, change, reach and rule.

mod files;
mod kernel;
mod neighbours;
mod requests;
mod siblings;
mod slots;

use super::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let areas = [
        files::cases(),
        neighbours::cases(),
        kernel::cases(),
        slots::cases(),
        siblings::cases(),
        requests::cases(),
    ];
    areas.into_iter().flatten().collect()
}
