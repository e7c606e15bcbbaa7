//! The end of the ladder: says what holds, and becomes the job.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use super::{Climb, Doing, Fault};
use crate::layer::Layer;
use crate::report::Event;
use crate::sys;

/// Tells the worker what is in force. A layer that the plan wants and no rung took is found here,
/// before the job could do without it.
pub(super) fn announce(climb: &mut Climb) -> Result<(), Fault> {
    let held = |layer: &Layer| climb.held.iter().any(|held| held.layer == *layer);
    if let Some(missing) = climb.plan.layers.iter().find(|layer| !held(layer)) {
        return Err(Fault::unfit(format!("no rung took the layer {missing}")));
    }
    if !climb.status.send(&Event::Enforced {
        layers: climb.held.clone(),
    }) {
        return Err(Fault::unfit("the worker does not listen any more"));
    }
    Ok(())
}

/// Returns only when it failed.
pub(super) fn become_the_job(climb: &mut Climb) -> Result<(), Fault> {
    let command = &climb.plan.command;
    let directory = command.directory.as_path();
    rustix::process::chdir(directory).doing(format!("entering {}", directory.display()))?;
    let program = word(command.program.as_path().as_os_str().as_bytes())?;
    let arguments = command.arguments.iter().map(|argument| word(argument));
    let arguments: Vec<_> = [Ok(program.clone())]
        .into_iter()
        .chain(arguments)
        .collect::<Result<_, _>>()?;
    let variables = command.environment.iter();
    let variables = variables.map(|(name, value)| word(format!("{name}={value}").as_bytes()));
    let environment: Vec<_> = variables.collect::<Result<_, _>>()?;
    sys::default_signal_actions();
    sys::unblock_signals().doing("letting signals through")?;
    let cause = sys::execve(&program, &arguments, &environment);
    Err(cause).doing(format!("executing {}", command.program.as_path().display()))
}

fn word(bytes: &[u8]) -> Result<CString, Fault> {
    CString::new(bytes).map_err(|_nul| Fault::unfit("an argument or variable contains a NUL byte"))
}
