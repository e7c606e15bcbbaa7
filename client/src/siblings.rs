//! Where the other programs are: beside the running one first, then in `PATH`.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Finds a program of the suite, or `staprun`.
#[must_use]
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let own = env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    let path = env::var_os("PATH");
    find_among(name, own.as_deref(), path.as_deref())
}

fn find_among(name: &str, own: Option<&Path>, path: Option<&OsStr>) -> Option<PathBuf> {
    let listed = path
        .map(|path| env::split_paths(path).collect::<Vec<_>>())
        .unwrap_or_default();
    own.map(Path::to_owned)
        .into_iter()
        // A relative entry would make the choice depend on the current directory.
        .chain(listed.into_iter().filter(|directory| directory.is_absolute()))
        .map(|directory| directory.join(name))
        .find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(directory: &Path, name: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_own_directory_comes_before_the_path() {
        let own = tempfile::tempdir().unwrap();
        let listed = tempfile::tempdir().unwrap();
        let elsewhere = program(listed.path(), "stap-serverd", 0o755);
        let path = env::join_paths([Path::new("relative"), listed.path()]).unwrap();

        assert_eq!(
            find_among("stap-serverd", Some(own.path()), Some(&path)),
            Some(elsewhere)
        );

        let beside = program(own.path(), "stap-serverd", 0o755);
        assert_eq!(
            find_among("stap-serverd", Some(own.path()), Some(&path)),
            Some(beside)
        );
    }

    #[test]
    fn what_cannot_be_executed_is_not_a_program() {
        let own = tempfile::tempdir().unwrap();
        program(own.path(), "stap-serverd", 0o644);
        fs::create_dir(own.path().join("staprun")).unwrap();

        assert_eq!(find_among("stap-serverd", Some(own.path()), None), None);
        assert_eq!(find_among("staprun", Some(own.path()), None), None);
    }
}
