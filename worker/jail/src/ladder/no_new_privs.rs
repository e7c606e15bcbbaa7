//! The promise that executing a file grants nothing, which the kernel keeps for all descendants.

use super::{Climb, Doing, Fault};
use crate::layer::Layer;

pub(super) fn promise(climb: &mut Climb) -> Result<(), Fault> {
    rustix::thread::set_no_new_privs(true).doing("promising no new privileges")?;
    if !rustix::thread::no_new_privs().doing("reading the promise")? {
        return Err(Fault::unfit(
            "the kernel took the promise and does not remember it",
        ));
    }
    climb.hold(Layer::NoNewPrivs, "set");
    Ok(())
}
