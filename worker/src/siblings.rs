//! Finds the other programs of this server.

use std::path::{Path, PathBuf};

/// A program that is nowhere.
#[derive(Debug, thiserror::Error)]
#[error("{name} is neither beside {} nor in PATH; install the whole package", beside.display())]
pub struct Missing {
    name: &'static str,
    beside: PathBuf,
}

/// Looks beside this program first, then in `PATH`.
///
/// # Errors
///
/// When there is none.
pub fn find(name: &'static str) -> Result<PathBuf, Missing> {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.parent().map(Path::to_owned).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    std::iter::once(beside.clone())
        .chain(directories)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .ok_or(Missing { name, beside })
}
