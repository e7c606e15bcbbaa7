//! Where servers are configured and recorded, and the reading of small files that others must not have written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use stap_certs::{Environment, Paths};

use super::Failure;
use super::settings::is_comment;

/// Directories and defaults, from the global configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// One `*.conf` file for each server that `start` starts.
    pub(super) configurations: PathBuf,
    /// One `PID.stat` file for each server that was started.
    pub(super) states: PathBuf,
    /// The log of servers that name none.
    pub(super) log: PathBuf,
    /// Who servers run as that name nobody.
    pub(super) user: Option<String>,
}

impl Places {
    /// Those of root, or of the user who asks, before any file is read.
    fn default_for(environment: &Environment) -> Result<Self, Failure> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self {
                configurations: "/etc/stap-server/conf.d".into(),
                states: "/var/run/stap-server".into(),
                log: "/var/log/stap-server/log".into(),
                user: Some(SERVICE.to_owned()),
            });
        }
        let databases =
            Paths::discover(environment).map_err(|error| Failure::Home(error.to_string()))?;
        let own = databases
            .private_client()
            .and_then(|client| Some(client.parent()?.parent()?.join("stap-server")))
            .ok_or_else(|| Failure::Home("this user has no directory for databases".to_owned()))?;
        Ok(Self {
            configurations: own.join("conf.d"),
            states: own.join("run"),
            log: own.join("log"),
            user: None,
        })
    }

    /// Reads the global configuration, and then `more` of it; the last word counts.
    ///
    /// # Errors
    /// When a file that was named cannot be read, or one has a line that says nothing.
    pub(super) fn discover(more: &[PathBuf]) -> Result<Self, Failure> {
        let mut places = Self::default_for(&Environment::current())?;
        if let Some(text) = read_if_there(Path::new(GLOBAL))? {
            places.read(&text, Path::new(GLOBAL))?;
        }
        for file in more {
            let missing = || Failure::unreadable(file, &io::ErrorKind::NotFound.into());
            let text = read_if_there(file)?.ok_or_else(missing)?;
            places.read(&text, file)?;
        }
        Ok(places)
    }

    fn read(&mut self, text: &str, file: &Path) -> Result<(), Failure> {
        for line in text.lines().filter(|line| !is_comment(line)) {
            let invalid = || Failure::invalid(line, file);
            let (name, value) = line.split_once('=').ok_or_else(invalid)?;
            let directory = || {
                let path = PathBuf::from(value);
                path.is_absolute().then_some(path).ok_or_else(invalid)
            };
            match name {
                "CONFIG_PATH" => self.configurations = directory()?,
                "STAT_PATH" => self.states = directory()?,
                "LOG_FILE" => self.log = directory()?,
                "STAP_USER" => self.user = Some(value.to_owned()).filter(|user| !user.is_empty()),
                _ => return Err(invalid()),
            }
        }
        Ok(())
    }
}

/// Reads a file that decides what is started and as whom; `None` when there is none.
///
/// # Errors
/// When it is no file of ours or root's, when others can write to it, or it is longer than any such file.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, Failure> {
    let opened = File::options()
        .read(true)
        // Who waits for the writer of a FIFO waits for ever.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::unreadable(path, &error)),
    };
    let metadata = file
        .metadata()
        .map_err(|error| Failure::unreadable(path, &error))?;
    if !metadata.is_file() || !is_trustworthy(&metadata) {
        return Err(Failure::Untrusted(path.to_owned()));
    }
    let mut text = String::new();
    file.take(LONGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::unreadable(path, &error))?;
    if text.len() as u64 > LONGEST_FILE {
        let error = io::Error::other(format!("it is longer than {LONGEST_FILE} bytes"));
        return Err(Failure::unreadable(path, &error));
    }
    Ok(Some(text))
}

/// The files of a directory with this extension, sorted; none when there is no directory.
///
/// # Errors
/// When it cannot be listed, or others could put files into it.
pub(super) fn files_in(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| Failure::unreadable(directory, &error);
    let metadata = match fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    if !is_trustworthy(&metadata) {
        return Err(Failure::Untrusted(directory.to_owned()));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)
        .map_err(unreadable)?
        .take(MOST_FILES)
    {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether only root and the user who asks can have written it.
fn is_trustworthy(metadata: &fs::Metadata) -> bool {
    let own = rustix::process::geteuid().as_raw();
    (metadata.uid() == 0 || metadata.uid() == own) && metadata.mode() & 0o022 == 0
}

/// The account of the service.
pub(super) const SERVICE: &str = "stap-server";
const GLOBAL: &str = "/etc/sysconfig/stap-server";
/// Configurations have a few lines.
const LONGEST_FILE: u64 = 64 << 10;
const MOST_FILES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, content).unwrap();
        file
    }

    #[test]
    fn later_words_count_and_the_rest_stays() {
        let first = file("# where\nSTAT_PATH=/a\nLOG_FILE=/l og\nSTAP_USER=somebody\n");
        let second = file("STAT_PATH=/b\n");
        let places = [first.path().to_owned(), second.path().to_owned()];
        let places = Places::discover(&places).unwrap();
        assert_eq!(places.states, Path::new("/b"));
        assert_eq!(places.log, Path::new("/l og"));
        assert_eq!(places.user.as_deref(), Some("somebody"));
    }

    #[test]
    fn a_line_that_says_nothing_is_an_error_with_its_file() {
        for line in ["STAT_PATH", "COLOR=red", "STAT_PATH=relative"] {
            let broken = file(line);
            let error = Places::discover(&[broken.path().to_owned()]).unwrap_err();
            let expected = format!("Invalid input, \"{line}\", in {}", broken.path().display());
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_others_can_write_is_not_read() {
        let open = file("STAT_PATH=/a\n");
        fs::set_permissions(&open, Permissions::from_mode(0o666)).unwrap();
        let error = Places::discover(&[open.path().to_owned()]).unwrap_err();
        assert!(matches!(error, Failure::Untrusted(_)), "{error}");
    }

    #[test]
    fn a_file_without_end_is_not_read_to_it() {
        let error = read_if_there(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, Failure::Untrusted(_)), "{error}");
        let long = file(&"#\n".repeat(40_000));
        let error = read_if_there(long.path()).unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
    }
}
