//! Where the databases of a user live.
//!
//! Owns the rules about `SYSTEMTAP_DIR`, `HOME`, the passwd entry and `STAP_SYSCONFDIR`. It names
//! directories and touches none of them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::account;

/// The directories of one user's databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    server: PathBuf,
    private_client: Option<PathBuf>,
    global_client: PathBuf,
    module_signers: PathBuf,
}

/// What decides where databases live; read once, at the start of a program.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `SYSTEMTAP_DIR`, which replaces `$HOME/.systemtap`.
    pub systemtap_dir: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// The home directory in the passwd entry, used when `HOME` is missing or empty.
    pub passwd_home: Option<PathBuf>,
    /// `STAP_SYSCONFDIR`, which replaces `/etc` in tests.
    pub sysconfdir: Option<OsString>,
    /// The user whose rights count.
    pub effective_uid: u32,
    /// Whether the program got rights from its file (set-id, file capabilities), so that its caller's
    /// environment may not choose what it trusts.
    pub privileged_by_file: bool,
}

/// Why there is no place for a user's databases.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// D38: neither variable is set and the passwd database does not help.
    #[error(
        "no home directory is known for user {user}: HOME is not set and there is no passwd entry; \
         set HOME or SYSTEMTAP_DIR"
    )]
    NoHome {
        /// The user's name or number.
        user: String,
    },
    /// A relative directory was given and the current directory is gone.
    #[error("cannot make '{path}' an absolute path: {source}; use an absolute path")]
    Relative {
        /// The directory as it was given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Paths {
    /// Returns the databases of the environment's user.
    ///
    /// # Errors
    /// An ordinary user without `SYSTEMTAP_DIR`, `HOME` and passwd entry has no databases.
    pub fn discover(environment: &Environment) -> Result<Self, PathsError> {
        let systemtap = environment.sysconf().join("systemtap");
        let global = systemtap.join("ssl");
        let module_signers = systemtap.join("staprun");
        if environment.effective_uid == ROOT {
            return Ok(Self {
                server: global.join("server"),
                private_client: None,
                global_client: global.join("client"),
                module_signers,
            });
        }
        let private = environment.user_dir()?.join("ssl");
        Ok(Self {
            server: private.join("server"),
            private_client: Some(private.join("client")),
            global_client: global.join("client"),
            module_signers,
        })
    }

    /// The server-side database: the server's certificate and private key.
    #[must_use]
    pub fn server(&self) -> &Path {
        &self.server
    }

    /// The user's own client-side database; root has none beside the global one.
    #[must_use]
    pub fn private_client(&self) -> Option<&Path> {
        self.private_client.as_deref()
    }

    /// The client-side database that every user of the host reads.
    #[must_use]
    pub fn global_client(&self) -> &Path {
        &self.global_client
    }

    /// The database of those whose modules `staprun` loads for unprivileged users.
    #[must_use]
    pub fn module_signers(&self) -> &Path {
        &self.module_signers
    }

    /// The client-side database that this user changes: the private one, for root the global one.
    #[must_use]
    pub fn own_client(&self) -> &Path {
        self.private_client
            .as_deref()
            .unwrap_or(&self.global_client)
    }
}

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn current() -> Self {
        let effective_uid = rustix::process::geteuid().as_raw();
        let home = env::var_os("HOME");
        let passwd_home = match &home {
            Some(home) if !home.is_empty() => None,
            _ => account::home(effective_uid),
        };
        Self {
            systemtap_dir: env::var_os("SYSTEMTAP_DIR"),
            home,
            passwd_home,
            sysconfdir: env::var_os("STAP_SYSCONFDIR"),
            effective_uid,
            privileged_by_file: privileged_by_file(),
        }
    }

    fn sysconf(&self) -> PathBuf {
        match &self.sysconfdir {
            // A relative override would make trust depend on the current directory.
            Some(directory) if !self.privileged_by_file && Path::new(directory).is_absolute() => {
                directory.into()
            }
            _ => "/etc".into(),
        }
    }

    fn user_dir(&self) -> Result<PathBuf, PathsError> {
        if let Some(directory) = self
            .systemtap_dir
            .as_ref()
            .filter(|value| !value.is_empty())
        {
            return absolute(Path::new(directory));
        }
        let home = self
            .home
            .as_ref()
            .filter(|value| !value.is_empty())
            .map(PathBuf::from);
        match home.or_else(|| self.passwd_home.clone()) {
            Some(home) => absolute(&home.join(".systemtap")),
            None => Err(PathsError::NoHome {
                user: account::name(self.effective_uid),
            }),
        }
    }
}

/// A server changes to `/` before it uses its databases, so names are made absolute at once.
fn absolute(path: &Path) -> Result<PathBuf, PathsError> {
    std::path::absolute(path).map_err(|source| PathsError::Relative {
        path: crate::text::shown(path),
        source,
    })
}

/// Tells whether this program's file gave it rights that its caller did not have.
///
/// The kernel says so in the auxiliary vector (`AT_SECURE`, getauxval(3)) for set-id programs and for
/// file capabilities. An ordinary login as root is not such a case: root's shell may choose root's
/// directories. Where the vector cannot be read, which is so exactly for programs that became
/// undumpable, the answer is yes.
fn privileged_by_file() -> bool {
    let ids_differ = rustix::process::getuid() != rustix::process::geteuid()
        || rustix::process::getgid() != rustix::process::getegid();
    ids_differ || fs::read("/proc/self/auxv").map_or(true, |vector| secure_mode(&vector))
}

fn secure_mode(auxiliary_vector: &[u8]) -> bool {
    const AT_SECURE: usize = 23;
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).ok();
    auxiliary_vector
        .chunks_exact(2 * WORD)
        .find(|pair| word(&pair[..WORD]) == Some(AT_SECURE))
        .is_none_or(|pair| word(&pair[WORD..]) != Some(0))
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Environment {
        Environment {
            home: Some("/home/alice".into()),
            effective_uid: 12345,
            ..Environment::default()
        }
    }

    #[test]
    fn a_user_has_private_databases_under_home() {
        let paths = Paths::discover(&alice()).unwrap();
        assert_eq!(
            paths.server(),
            Path::new("/home/alice/.systemtap/ssl/server")
        );
        assert_eq!(
            paths.own_client(),
            Path::new("/home/alice/.systemtap/ssl/client")
        );
        assert_eq!(paths.private_client(), Some(paths.own_client()));
        assert_eq!(
            paths.global_client(),
            Path::new("/etc/systemtap/ssl/client")
        );
    }

    #[test]
    fn systemtap_dir_replaces_the_directory_under_home() {
        let environment = Environment {
            systemtap_dir: Some("/home/alice/d".into()),
            ..alice()
        };
        let paths = Paths::discover(&environment).unwrap();
        assert_eq!(paths.server(), Path::new("/home/alice/d/ssl/server"));
        assert_eq!(paths.own_client(), Path::new("/home/alice/d/ssl/client"));
    }

    #[test]
    fn a_relative_systemtap_dir_is_taken_from_the_current_directory() {
        let environment = Environment {
            systemtap_dir: Some("d".into()),
            ..alice()
        };
        let expected = env::current_dir().unwrap().join("d/ssl/server");
        assert_eq!(Paths::discover(&environment).unwrap().server(), expected);
    }

    #[test]
    fn root_has_only_the_global_databases() {
        let environment = Environment {
            effective_uid: 0,
            home: Some("/root".into()),
            systemtap_dir: Some("/root/d".into()),
            ..Environment::default()
        };
        let paths = Paths::discover(&environment).unwrap();
        assert_eq!(paths.server(), Path::new("/etc/systemtap/ssl/server"));
        assert_eq!(paths.private_client(), None);
        assert_eq!(paths.own_client(), paths.global_client());
    }

    #[test]
    fn an_empty_home_falls_back_to_the_passwd_entry_and_then_to_an_error() {
        let mut environment = Environment {
            home: Some("".into()),
            systemtap_dir: Some("".into()),
            passwd_home: Some("/srv/alice".into()),
            ..alice()
        };
        let paths = Paths::discover(&environment).unwrap();
        assert_eq!(
            paths.server(),
            Path::new("/srv/alice/.systemtap/ssl/server")
        );

        environment.passwd_home = None;
        let error = Paths::discover(&environment).unwrap_err();
        assert!(
            error.to_string().contains("set HOME or SYSTEMTAP_DIR"),
            "{error}"
        );
    }

    #[test]
    fn the_override_of_etc_is_for_unprivileged_programs_and_absolute_paths() {
        let mut environment = Environment {
            sysconfdir: Some("/t/etc".into()),
            ..alice()
        };
        let global = |environment: &Environment| {
            Paths::discover(environment)
                .unwrap()
                .global_client()
                .to_owned()
        };
        assert_eq!(
            global(&environment),
            Path::new("/t/etc/systemtap/ssl/client")
        );

        environment.privileged_by_file = true;
        assert_eq!(global(&environment), Path::new("/etc/systemtap/ssl/client"));

        environment.privileged_by_file = false;
        environment.sysconfdir = Some("t/etc".into());
        assert_eq!(global(&environment), Path::new("/etc/systemtap/ssl/client"));
    }

    #[test]
    fn only_a_vector_that_says_so_is_unprivileged() {
        let vector = |pairs: &[[usize; 2]]| -> Vec<u8> {
            pairs
                .concat()
                .iter()
                .flat_map(|word| word.to_ne_bytes())
                .collect()
        };
        assert!(!secure_mode(&vector(&[[6, 4096], [23, 0], [0, 0]])));
        assert!(secure_mode(&vector(&[[6, 4096], [23, 1], [0, 0]])));
        assert!(secure_mode(&vector(&[[6, 4096], [0, 0]])));
        assert!(secure_mode(b""));
    }

    #[test]
    fn this_test_program_has_no_rights_from_its_file() {
        assert!(!privileged_by_file());
    }
}
