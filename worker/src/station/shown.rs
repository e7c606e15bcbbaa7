//! What jobs see of this host besides their target's root.

use std::path::{Path, PathBuf};

use stap_jail::layer::Layer;
use stap_jail::plan::{Access, Bind};
use stap_protocol::job::Configuration;

use super::NotReady;
use crate::job::{bind_of, is_visible};
use crate::layers::InForce;

/// A stap that the operator put in place of the roots' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replacement {
    /// On this host, without links.
    pub(super) path: PathBuf,
    /// Where jobs see it.
    pub(super) seen: PathBuf,
}

impl Replacement {
    /// It stays at its own path where that is shown anyway, or where nothing can be shown elsewhere.
    pub(super) fn of(
        configuration: &Configuration,
        in_force: &InForce,
    ) -> Result<Option<Self>, NotReady> {
        let Some(stap) = &configuration.stap else {
            return Ok(None);
        };
        let path = stap
            .canonicalize()
            .map_err(|error| NotReady::path(stap, &error))?;
        let host_only = configuration
            .roots
            .iter()
            .all(|root| root == Path::new("/"));
        let stays = !in_force.layers.contains(&Layer::Mount) || (host_only && is_visible(&path));
        let name = path.file_name().unwrap_or_default();
        let seen = if stays {
            path.clone()
        } else {
            Path::new(REPLACEMENTS).join(name)
        };
        Ok(Some(Self { path, seen }))
    }
}

/// What jobs must see besides their target's root: the replacement for stap, and directories that
/// the server's own options name.
pub(super) fn binds(
    options: &[String],
    replacement: Option<&Replacement>,
) -> Result<Vec<Bind>, NotReady> {
    let mut binds = Vec::new();
    if let Some(Replacement { path, seen }) = replacement.filter(|stap| !is_visible(&stap.seen)) {
        let bind = bind_of(path, seen, Access::ReadExecute);
        binds.push(bind.map_err(|error| NotReady::path(path, &error))?);
    }
    for path in directories(options).filter(|path| !is_visible(path)) {
        let bind = bind_of(path, path, Access::Read);
        binds.push(bind.map_err(|error| NotReady::path(path, &error))?);
    }
    Ok(binds)
}

/// The values of `-I` and `-R`.
fn directories(options: &[String]) -> impl Iterator<Item = &Path> {
    let mut words = options.iter();
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            let value = word.strip_prefix("-I").or_else(|| word.strip_prefix("-R"));
            match value {
                None => {}
                Some("") => return words.next().map(Path::new),
                Some(value) => return Some(Path::new(value)),
            }
        }
    })
}

/// Where jobs see what replaces stap; no distribution has it.
const REPLACEMENTS: &str = "/replacement";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_servers_options_are_found_attached_and_apart() {
        let options = ["-DX=1", "-I", "/a", "-I/b", "-R/c", "-B", "CC=x"].map(str::to_owned);
        let found: Vec<_> = directories(&options).collect();
        assert_eq!(found, ["/a", "/b", "/c"].map(Path::new));
    }
}
