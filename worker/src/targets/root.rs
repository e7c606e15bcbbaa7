//! A directory that holds a distribution, read as that distribution would see itself.
//!
//! Links in an unpacked root are absolute (`/usr/src/linux-headers-...`) and mean paths inside it.
//! The kernel resolves every path here with the root as `/`, so that neither a link nor `..` leads
//! outside.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};

/// An opened root.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the directory at `path` of this host.
    ///
    /// # Errors
    ///
    /// When it cannot be opened or its name cannot be learnt.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let path = name_of(&directory)?;
        Ok(Self { directory, path })
    }

    /// Where it is on this host, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name, inside the root and without links, of what `path` leads to.
    ///
    /// # Errors
    ///
    /// When it leads nowhere.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let found = name_of(self.open_in(path, OFlags::PATH)?)?;
        let inside = found.strip_prefix(&self.path).map_err(io::Error::other)?;
        Ok(Path::new("/").join(inside))
    }

    /// Reads a regular file of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// When there is none, or it is larger, or it cannot be read.
    pub fn read(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file(path)?
            .take(max as u64 + 1)
            .read_to_end(&mut content)?;
        if content.len() > max {
            let path = path.display();
            return Err(io::Error::other(format!(
                "{path} is longer than {max} bytes"
            )));
        }
        Ok(content)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    ///
    /// When there is none or it cannot be read.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        // A FIFO without a writer would block the worker for ever without NONBLOCK.
        let file = File::from(self.open_in(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!(
                "{} is no regular file",
                path.display()
            )));
        }
        Ok(file)
    }

    /// Looks at what `path` leads to without opening it.
    ///
    /// # Errors
    ///
    /// When it leads nowhere.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        File::from(self.open_in(path, OFlags::PATH)?).metadata()
    }

    /// Returns the names in a directory, sorted, at most `max` of them.
    ///
    /// # Errors
    ///
    /// When there is no such directory or it cannot be read.
    pub fn names(&self, path: &Path, max: usize) -> io::Result<Vec<String>> {
        let directory = self.open_in(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::new(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
            if names.len() == max {
                break;
            }
        }
        names.sort();
        Ok(names)
    }

    fn open_in(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(
            &self.directory,
            path,
            flags,
            Mode::empty(),
            resolve,
        )?)
    }
}

/// Whether there is a root that has a build tree.
#[must_use]
pub fn is_there(root: &Path, tree: &Path) -> bool {
    Root::open(root).is_ok_and(|root| root.resolve(tree).is_ok())
}

/// The kernel's own name for what a descriptor holds; it has no links in it.
fn name_of(descriptor: impl AsFd) -> io::Result<PathBuf> {
    let number = descriptor.as_fd().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{number}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root_with(prepare: impl Fn(&Path)) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let root = Root::open(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn an_absolute_link_means_a_path_inside_the_root() {
        let (_directory, root) = root_with(|path| {
            fs::create_dir_all(path.join("usr/src/headers")).unwrap();
            fs::create_dir_all(path.join("lib")).unwrap();
            symlink("/usr/src/headers", path.join("lib/build")).unwrap();
        });
        let found = root.resolve(Path::new("/lib/build")).unwrap();
        assert_eq!(found, Path::new("/usr/src/headers"));
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let (_directory, root) = root_with(|path| {
            symlink("../../../../../../etc/passwd", path.join("up")).unwrap();
            symlink("/etc/passwd", path.join("absolute")).unwrap();
        });
        for name in ["up", "absolute", "../../../etc/passwd"] {
            let error = root
                .read(Path::new(name), 1 << 20)
                .expect_err("read a file outside");
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{name}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_file_is_not_read() {
        let (_directory, root) = root_with(|path| {
            fs::write(path.join("five"), b"12345").unwrap();
            fs::create_dir(path.join("directory")).unwrap();
            let fifo = path.join("fifo");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &fifo,
                rustix::fs::FileType::Fifo,
                Mode::RUSR | Mode::WUSR,
                0,
            )
            .unwrap();
        });
        assert_eq!(root.read(Path::new("five"), 5).unwrap(), b"12345");
        for (name, reason) in [
            ("five", "five is longer than 4 bytes"),
            ("directory", "directory is no regular file"),
            ("fifo", "fifo is no regular file"),
        ] {
            let error = root.read(Path::new(name), 4).expect_err("it was read");
            assert_eq!(error.to_string(), reason);
        }
    }
}
