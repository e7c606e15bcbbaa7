//! What a server of ours finds out once for each kernel, kept from lab to lab because it takes a minute.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::{Situation, service};
use crate::world::WARM;

/// What our server has warmed: a copy that it may work with, and what is kept from lab to lab.
#[derive(Debug)]
pub(super) struct Warm {
    own: PathBuf,
    kept: PathBuf,
}

impl Warm {
    pub(super) fn bring(situation: &Situation) -> anyhow::Result<Self> {
        let warm = Self {
            own: service::warm_directory(situation),
            kept: kept_of(situation)?,
        };
        let owner = situation.server_uid();
        for entry in fs::read_dir(&warm.kept)? {
            let entry = entry?;
            copy(
                &entry.path(),
                &warm.own.join(entry.file_name()),
                Some(owner),
            )?;
        }
        Ok(warm)
    }

    /// Keeps what is new, and takes away what was brought, which nothing may have changed.
    pub(super) fn take_back(self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.own)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let kept = self.kept.join(&name);
            if name == PLANTED {
                continue;
            }
            if kept.exists() {
                let (now, then) = (contents(&path)?, contents(&kept)?);
                ensure!(now == then, "the warm state {} was changed", path.display());
            } else {
                copy(&path, &kept, None)?;
            }
            fs::remove_dir_all(path)?;
        }
        Ok(())
    }
}

/// Where it is kept. A worker of another build, or one that was linked anew, may rightly find something else and
/// write it under the same name, so that what was kept of its work is not looked at again.
fn kept_of(situation: &Situation) -> anyhow::Result<PathBuf> {
    let worker = fs::metadata(situation.programs.join("stap-worker"))?;
    let build = format!(
        "{}-{}.{}",
        worker.len(),
        worker.mtime(),
        worker.mtime_nsec()
    );
    let all = Path::new(WARM).join(format!("corpus-{}", situation.who));
    let kept = all.join(build);
    if !kept.exists() && all.exists() {
        fs::remove_dir_all(&all)?;
    }
    fs::create_dir_all(&kept)?;
    Ok(kept)
}

/// Copies a directory of files, to be `owner`'s alone.
fn copy(from: &Path, to: &Path, owner: Option<u32>) -> anyhow::Result<()> {
    let own = |path: &Path, mode| {
        chown(path, owner, owner)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    fs::create_dir_all(to)?;
    own(to, 0o700)?;
    for (name, bytes) in contents(from)? {
        let file = to.join(name);
        fs::write(&file, bytes)?;
        own(&file, 0o600)?;
    }
    Ok(())
}

/// The files of a directory, by name.
fn contents(directory: &Path) -> anyhow::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.insert(entry.file_name(), fs::read(entry.path())?);
    }
    Ok(files)
}

/// What attackers of other families find there; see `planted`.
const PLANTED: &str = "0000-plain";
