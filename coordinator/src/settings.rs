//! What the server does, put together from its options, its environment and its policy.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use stap_policy::{Policy, PolicyError};
use stap_protocol::job::Configuration;
use stap_protocol::request::Limits;

use crate::options::{Options, PolicyChoice};

/// Environment variables that matter, read once.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `SYSTEMTAP_STAP`: a stap to run instead of each root's own.
    pub stap: Option<PathBuf>,
    /// `TMPDIR`.
    pub temporary: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub cache_home: Option<PathBuf>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// `STAP_PR11197_OVERRIDE`: do not warn about running as root.
    pub root_is_meant: bool,
    /// Whether this process is root's.
    pub root: bool,
}

/// A policy and the text that it was read from, which the worker reads again.
#[derive(Clone, Debug)]
pub struct PolicyText {
    /// Checked.
    pub policy: Policy,
    /// As it is written.
    pub text: String,
}

/// Why the server cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The policy file cannot be read.
    #[error("the policy {} cannot be read: {source}", path.display())]
    UnreadablePolicy {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The policy makes no sense.
    #[error("the policy {name} cannot be used: {source}")]
    Policy {
        /// The class or the file.
        name: String,
        /// What is wrong and where.
        source: PolicyError,
    },
    /// A relative path, and no current directory to resolve it in.
    #[error("the current directory is gone, so {} cannot be found; use absolute paths", .0.display())]
    NoDirectory(PathBuf),
    /// Nowhere to keep warm state.
    #[error("no directory for caches is known: set HOME or XDG_CACHE_HOME")]
    NoCache,
}

impl Surroundings {
    /// Reads the environment of this process; relative paths in it do not count.
    #[must_use]
    pub fn of_process(home: Option<PathBuf>) -> Self {
        let path = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let is_set = |value: OsString| !value.is_empty();
        Self {
            stap: path("SYSTEMTAP_STAP"),
            temporary: path("TMPDIR"),
            cache_home: path("XDG_CACHE_HOME"),
            home,
            root_is_meant: std::env::var_os("STAP_PR11197_OVERRIDE").is_some_and(is_set),
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// Where warm state is kept between runs: private to the server, and apart from the target roots that lie
    /// beside it, which others read.
    fn cache(&self) -> Result<PathBuf, SettingsError> {
        if self.root {
            return Ok(Path::new(ROOTS_CACHE).join(WARM));
        }
        let base = self
            .cache_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".cache")));
        base.map(|base| base.join("stap-server").join(WARM))
            .ok_or(SettingsError::NoCache)
    }

    /// Where results are kept: private to the process that faces the network.
    ///
    /// # Errors
    /// When the user has no place for caches.
    pub fn results(&self) -> Result<PathBuf, SettingsError> {
        Ok(results_beside(&self.cache()?))
    }
}

impl PolicyText {
    /// Reads the policy that was chosen.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn read(choice: &PolicyChoice) -> Result<Self, SettingsError> {
        let (name, text) = match choice {
            PolicyChoice::Class(class) => (
                class.clone(),
                stap_policy::builtin::text(class)
                    .unwrap_or_default()
                    .to_owned(),
            ),
            PolicyChoice::File(path) => (path.display().to_string(), read_bounded(path)?),
        };
        let policy = match choice {
            PolicyChoice::Class(class) => Policy::builtin(class),
            PolicyChoice::File(_) => Policy::parse(&text),
        };
        let policy = policy.map_err(|source| SettingsError::Policy { name, source })?;
        Ok(Self { policy, text })
    }

    /// What a request may cost: what the command line says, else the policy.
    #[must_use]
    pub fn request_limits(&self, options: &Options) -> Limits {
        let request = self.policy.request();
        let compressed = options
            .max_compressed_request
            .unwrap_or_else(|| request.compressed.bytes());
        let files = usize::try_from(request.files.get()).unwrap_or(usize::MAX);
        let arguments = usize::try_from(request.arguments.get()).unwrap_or(usize::MAX);
        Limits {
            compressed: u32::try_from(compressed)
                .unwrap_or(u32::MAX)
                .min(LARGEST_FRAME),
            unpacked: options
                .max_request
                .unwrap_or_else(|| request.unpacked.bytes())
                .min(LARGEST_REQUEST),
            // Each file may come with a directory of its own.
            entries: files
                .saturating_mul(2)
                .saturating_add(arguments)
                .saturating_add(OTHER_MEMBERS),
        }
    }
}

/// What the worker is told.
///
/// # Errors
/// When a path cannot be resolved.
pub fn configuration(
    options: &Options,
    surroundings: &Surroundings,
    policy: &PolicyText,
) -> Result<Configuration, SettingsError> {
    let roots = std::iter::once(Ok(PathBuf::from("/")))
        .chain(options.roots.iter().map(|root| absolute(root)));
    Ok(Configuration {
        roots: roots.collect::<Result<_, _>>()?,
        releases: options.releases.clone(),
        arch: options.arch.as_ref().map(|arch| arch.as_str().to_owned()),
        stap: surroundings.stap.clone(),
        server_options: options
            .stap_options
            .iter()
            .map(|option| with_absolute_path(option))
            .collect::<Result<_, _>>()?,
        policy: policy.text.clone(),
        slots: slots(options).get(),
        cache: surroundings.cache()?,
        temporary: surroundings
            .temporary
            .clone()
            .unwrap_or_else(|| "/tmp".into()),
        keep: options.keep,
        hidden: Vec::new(),
    })
}

/// Where results are kept, beside the warm state.
pub(crate) fn results_beside(cache: &Path) -> PathBuf {
    cache.with_file_name(RESULTS)
}

/// Jobs at the same time: 0, which once meant to serve without threads, means one.
#[must_use]
pub fn slots(options: &Options) -> NonZeroUsize {
    match options.max_threads {
        Some(threads) => NonZeroUsize::new(threads.min(MOST_SLOTS)).unwrap_or(NonZeroUsize::MIN),
        None => available_parallelism().unwrap_or(NonZeroUsize::MIN),
    }
}

/// Neither the worker nor a server that serves is in the directory of whoever started it.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, SettingsError> {
    std::path::absolute(path).map_err(|_gone| SettingsError::NoDirectory(path.to_owned()))
}

fn with_absolute_path(option: &str) -> Result<String, SettingsError> {
    match option.split_at_checked(2) {
        Some((name @ ("-I" | "-R"), path)) => {
            Ok(format!("{name}{}", absolute(Path::new(path))?.display()))
        }
        _ => Ok(option.to_owned()),
    }
}

fn read_bounded(path: &Path) -> Result<String, SettingsError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(LONGEST_POLICY).read_to_string(&mut text));
    read.map_err(|source| SettingsError::UnreadablePolicy {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

const ROOTS_CACHE: &str = "/var/cache/stap-server";
const WARM: &str = "warm";
const RESULTS: &str = "results";
/// More than a policy may have, so that a longer one is refused and not cut.
const LONGEST_POLICY: u64 = 1 << 20;
/// Members of a request that are neither files nor arguments: version, locale and the like.
const OTHER_MEMBERS: usize = 64;
/// A frame announces at most this, and a message to the worker holds at most a request of this size.
const LARGEST_FRAME: u32 = 64 << 20;
const LARGEST_REQUEST: u64 = 128 << 20;
const MOST_SLOTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_beats_the_policy() {
        let policy = PolicyText::read(&PolicyChoice::default()).unwrap();
        let options = Options {
            max_request: Some(10),
            max_compressed_request: Some(20),
            ..Options::default()
        };
        let limits = policy.request_limits(&options);
        assert_eq!((limits.unpacked, limits.compressed), (10, 20));
        let limits = policy.request_limits(&Options::default());
        assert_eq!(limits.unpacked, policy.policy.request().unpacked.bytes());
    }

    #[test]
    fn no_threads_means_one_job_at_a_time() {
        let options = Options {
            max_threads: Some(0),
            ..Options::default()
        };
        assert_eq!(slots(&options).get(), 1);
    }

    #[test]
    fn an_unknown_class_is_an_error() {
        let choice = PolicyChoice::Class("lenient".to_owned());
        let message = PolicyText::read(&choice).unwrap_err().to_string();
        assert!(
            message.contains("lenient") && message.contains("shared-host"),
            "{message}"
        );
    }

    #[test]
    fn caches_of_root_and_of_users_are_apart() {
        let user = Surroundings {
            home: Some("/home/a".into()),
            ..Surroundings::default()
        };
        assert_eq!(
            user.cache().unwrap(),
            Path::new("/home/a/.cache/stap-server/warm")
        );
        assert_eq!(
            user.results().unwrap(),
            Path::new("/home/a/.cache/stap-server/results")
        );
        let root = Surroundings { root: true, ..user };
        assert_eq!(
            root.cache().unwrap(),
            Path::new("/var/cache/stap-server/warm")
        );
        assert!(matches!(
            Surroundings::default().cache(),
            Err(SettingsError::NoCache)
        ));
    }

    #[test]
    fn directories_of_the_server_are_made_absolute() {
        assert_eq!(with_absolute_path("-I/t").unwrap(), "-I/t");
        assert!(with_absolute_path("-Itapset").unwrap().starts_with("-I/"));
        assert_eq!(with_absolute_path("-DX=tapset").unwrap(), "-DX=tapset");
    }
}
