//! The files that a request carries: scripts, and whole tapset directories.
//!
//! Links are followed, as the local `stap` would follow them, but never sent; loops of links, special
//! files and anything beyond the bounds below stay out. What is read is bounded before it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use stap_protocol::path::{PathError, RelativePath};
use stap_protocol::request::MAX_FILES;
use stap_protocol::text::escape;

/// What has been collected for a request.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: BTreeMap<RelativePath, Vec<u8>>,
    bytes: u64,
    visited: usize,
    warnings: Vec<String>,
}

/// Why the files cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// `-I /` would be the whole machine.
    #[error("Unable to send / to the server\nName the directory that holds the tapset")]
    Root,
    /// The script is a directory, a pipe, a device.
    #[error(
        "Unable to send {0} to the server: it is not a regular file\n\
         Give - as the script to have it read from standard input"
    )]
    NotRegular(String),
    /// The script exists but cannot be read.
    #[error("Unable to send {path} to the server: {source}")]
    Read { path: String, source: io::Error },
    /// Its name cannot be sent.
    #[error("Unable to send {path} to the server: its name cannot be sent: {source}")]
    Name { path: String, source: PathError },
    /// More than a request may hold.
    #[error(
        "Unable to send {path} to the server: with it the request would hold more than \
         {MAX_FILES} files\nName a directory that holds nothing but the tapset"
    )]
    TooMany { path: String },
    /// More bytes than a request may hold.
    #[error(
        "Unable to send {path} to the server: with it the request would hold more than \
         {MAX_BYTES} bytes\nName a directory that holds nothing but the tapset"
    )]
    TooLarge { path: String },
}

impl Sources {
    /// Takes a script file and returns the name that the server will know it by.
    ///
    /// A file that cannot be found is named all the same: it is the server's `stap` that says so.
    pub(crate) fn add_script(&mut self, path: &Path) -> Result<Vec<u8>, SourceError> {
        let Ok(real) = path.canonicalize() else {
            return Ok(sent_name(SCRIPT, &lexically_absolute(path)));
        };
        let content = self.read(&real)?;
        let name = sent_name(SCRIPT, &real);
        self.insert(&real, &name, content)?;
        Ok(name)
    }

    /// Takes a script from standard input.
    pub(crate) fn add_standard_input(&mut self, input: impl Read) -> Result<Vec<u8>, SourceError> {
        let path = Path::new("-");
        let name = [SCRIPT, b"/-"].concat();
        let content = self.read_bounded(path, input)?;
        self.insert(path, &name, content)?;
        Ok(name)
    }

    /// Takes a tapset directory with all below it and returns the name that the server will know it
    /// by. A directory that cannot be found is named all the same.
    pub(crate) fn add_tapset(&mut self, path: &Path) -> Result<Vec<u8>, SourceError> {
        let Ok(real) = path.canonicalize() else {
            return Ok(sent_name(TAPSET, &lexically_absolute(path)));
        };
        if real == Path::new("/") {
            return Err(SourceError::Root);
        }
        let name = sent_name(TAPSET, &real);
        if let Ok(metadata) = fs::metadata(&real)
            && metadata.is_dir()
        {
            self.walk(&real, &name, &mut BTreeSet::from([identity(&metadata)]))?;
        }
        Ok(name)
    }

    /// What was left out, and why.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The files, by name.
    pub(crate) fn into_files(self) -> BTreeMap<RelativePath, Vec<u8>> {
        self.files
    }

    /// `above` are the directories on the way down: meeting one of them again is a loop of links.
    fn walk(
        &mut self,
        directory: &Path,
        name: &[u8],
        above: &mut BTreeSet<(u64, u64)>,
    ) -> Result<(), SourceError> {
        let entries = fs::read_dir(directory).and_then(|entries| {
            // One more than the limit is enough to know that it is exceeded.
            let mut paths: Vec<PathBuf> = entries
                .take(MAX_FILES + 1)
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()?;
            paths.sort();
            Ok(paths)
        });
        let paths = match entries {
            Ok(paths) => paths,
            Err(error) => {
                self.leave_out(directory, &error);
                return Ok(());
            }
        };
        for path in paths {
            self.visited += 1;
            if self.visited > MAX_FILES {
                return Err(SourceError::TooMany {
                    path: shown(directory),
                });
            }
            let leaf = path.file_name().unwrap_or_default().as_bytes();
            self.visit(&path, &[name, b"/", leaf].concat(), above)?;
        }
        Ok(())
    }

    fn visit(
        &mut self,
        path: &Path,
        name: &[u8],
        above: &mut BTreeSet<(u64, u64)>,
    ) -> Result<(), SourceError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.leave_out(path, &error);
                return Ok(());
            }
        };
        if metadata.is_dir() {
            // A path that is too long or too deep ends the way down as well.
            if above.insert(identity(&metadata)) && RelativePath::new(name).is_ok() {
                self.walk(path, name, above)?;
                above.remove(&identity(&metadata));
            }
            return Ok(());
        }
        if !metadata.is_file() {
            // Sockets and pipes are no part of a tapset, and reading one may never end.
            return Ok(());
        }
        match self.read(path) {
            Ok(content) => match self.insert(path, name, content) {
                Err(SourceError::Name { source, .. }) => self.leave_out(path, &source),
                other => other?,
            },
            Err(SourceError::Read { source, .. }) => self.leave_out(path, &source),
            Err(SourceError::NotRegular(_)) => (),
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        // Opening a pipe would wait for its writer, so the file is opened without waiting and is
        // judged by its descriptor; what the name means may change at any time.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let read_error = |source| SourceError::Read {
            path: shown(path),
            source,
        };
        let flags = i32::try_from(flags).map_err(|error| read_error(io::Error::other(error)))?;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file: File = file.map_err(read_error)?;
        if !file.metadata().map_err(read_error)?.is_file() {
            return Err(SourceError::NotRegular(shown(path)));
        }
        self.read_bounded(path, file)
    }

    fn read_bounded(&self, path: &Path, input: impl Read) -> Result<Vec<u8>, SourceError> {
        let room = MAX_BYTES.saturating_sub(self.bytes);
        let mut content = Vec::new();
        input
            .take(room + 1)
            .read_to_end(&mut content)
            .map_err(|source| SourceError::Read {
                path: shown(path),
                source,
            })?;
        if content.len() as u64 > room {
            return Err(SourceError::TooLarge { path: shown(path) });
        }
        Ok(content)
    }

    fn insert(&mut self, path: &Path, name: &[u8], content: Vec<u8>) -> Result<(), SourceError> {
        let name = RelativePath::new(name).map_err(|source| SourceError::Name {
            path: shown(path),
            source,
        })?;
        self.bytes += content.len() as u64;
        if let Some(before) = self.files.insert(name, content) {
            // The same directory was named twice, or lies within another one.
            self.bytes -= before.len() as u64;
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, reason: &impl std::fmt::Display) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(format!(
                "{} is not sent to the server: {reason}",
                shown(path)
            ));
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// `script/home/alice/hello.stp` for `/home/alice/hello.stp`.
fn sent_name(directory: &[u8], path: &Path) -> Vec<u8> {
    [directory, path.as_os_str().as_bytes()].concat()
}

/// The absolute form of a path that does not exist, so that links cannot be asked.
fn lexically_absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| Path::new("/").join(path));
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

const SCRIPT: &[u8] = b"script";
const TAPSET: &[u8] = b"tapset";

/// What this program is ready to hold for one request. Servers have smaller limits of their own.
const MAX_BYTES: u64 = 256 << 20;

/// Somebody who names the wrong directory need not read about each file in it.
const MAX_WARNINGS: usize = 20;

#[cfg(test)]
mod tests;
