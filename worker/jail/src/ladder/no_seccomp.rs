//! Stands in for the system call filter on machines for which none can be compiled yet.

use super::{Climb, Fault};

pub(super) fn filter(_climb: &mut Climb) -> Result<(), Fault> {
    let machine = std::env::consts::ARCH;
    Err(Fault::unfit(format!(
        "there is no system call filter for {machine} yet"
    )))
}
