//! A test body in its own world, and the people in it.

mod outside;
mod sources;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::Signal;

use crate::command::Invocation;
use crate::process;
use crate::requirement::Peer;
use crate::wait;
use crate::world::{self, Sources};

use self::outside::{FINISHED, entering, start_inside, test_name};
pub use self::sources::kept;
use self::sources::{sources, sources_with};

/// The founding example, with the quotes that its first publication lost.
pub const HELLO: &str = r#"probe begin { printf("Hello World!\n"); exit() }"#;

/// Runs a test body in a fresh lab: a network, a host name, a pid space, homes, `/etc/systemtap` and
/// `/tmp` that nobody else sees.
///
/// The calling test starts itself again inside, so it must call this directly, and once. What still runs after the body is stopped as an
/// operator would stop it, and must then be gone without a trace.
///
/// # Panics
/// When the body does, or when it leaves something behind.
pub fn inside<F: FnOnce(&Lab)>(body: F) {
    test_inside(sources, body);
}

/// The same where the stock SystemTap of some release takes the place of the target root and its stock server. What is
/// kept from lab to lab is kept apart.
///
/// # Panics
/// As [`inside`].
pub fn inside_with<F: FnOnce(&Lab)>(peer: &Peer, body: F) {
    test_inside(|| sources_with(peer), body);
}

/// As [`inside`], with the root of another release beside the target root, at [`world::OTHER_ROOT`].
///
/// # Panics
/// As [`inside`].
pub fn inside_beside<F: FnOnce(&Lab)>(other: &Path, body: F) {
    let other_root = Some(other.to_owned());
    let sources = || Sources {
        other_root,
        ..sources()
    };
    test_inside(sources, body);
}

#[expect(
    clippy::print_stdout,
    reason = "the outer half of the test looks for it"
)]
fn test_inside<F: FnOnce(&Lab)>(sources: impl FnOnce() -> Sources, body: F) {
    if std::env::var_os(crate::init::INSIDE).is_none() {
        return start_inside(&test_name::<F>(), &sources());
    }
    Lab::run(body);
    println!("\n{FINISHED}");
}

/// The same for a program that is no test: it starts itself again inside with the same arguments and
/// the same output, and only there calls the body.
///
/// # Panics
/// When the body does, or when it leaves something behind.
pub fn program_inside(body: impl FnOnce(&Lab)) -> ExitCode {
    program_inside_beside(None, body)
}

/// As [`program_inside`], perhaps with the root of another release, as in [`inside_beside`].
///
/// # Panics
/// As [`program_inside`].
pub fn program_inside_beside(other_root: Option<PathBuf>, body: impl FnOnce(&Lab)) -> ExitCode {
    if std::env::var_os(crate::init::INSIDE).is_some() {
        Lab::run(body);
        return ExitCode::SUCCESS;
    }
    let mut inner = entering(&Sources {
        other_root,
        ..sources()
    });
    let status = inner.args(std::env::args_os().skip(1)).status();
    let status = status.expect("unshare is part of util-linux");
    ExitCode::from(u8::from(!status.success()))
}

/// The world of one test.
#[derive(Debug)]
pub struct Lab {
    _private: (),
}

impl Lab {
    fn run(body: impl FnOnce(&Self)) {
        let lab = Self { _private: () };
        body(&lab);
        lab.close();
    }

    /// The first ordinary user.
    #[must_use]
    pub fn alice(&self) -> User {
        User {
            name: world::USERS[0].0,
            id: world::USERS[0].1,
        }
    }

    /// The second ordinary user.
    #[must_use]
    pub fn bob(&self) -> User {
        User {
            name: world::USERS[1].0,
            id: world::USERS[1].1,
        }
    }

    /// The administrator.
    #[must_use]
    pub fn root(&self) -> User {
        User {
            name: "root",
            id: 0,
        }
    }

    /// Takes every interface away, so that nothing can be announced or found.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn cut_network(&self) {
        world::ip("link del lab0").expect("root may remove a link");
        world::ip("link set lo down").expect("root may take a link down");
    }

    /// Names in `/tmp`, where every tool puts its temporary files.
    #[must_use]
    pub fn temporary_files(&self) -> Vec<String> {
        list(Path::new("/tmp"))
    }

    /// Stops what runs the way an operator would and asserts that nothing stays.
    fn close(&self) {
        for server in process::named("stap-serverd") {
            process::signal(server.pid, Signal::CONT);
            process::signal(server.pid, Signal::TERM);
        }
        crate::mdns::stop_foreign_daemons();
        crate::host::remove_second();
        wait::until("nothing runs any more", || {
            process::strangers().is_empty().then_some(())
        });
        assert_eq!(self.temporary_files(), Vec::<String>::new(), "left in /tmp");
    }
}

/// Somebody who can run commands in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The account's name.
    pub name: &'static str,
    /// Its user and group id.
    pub id: u32,
}

impl User {
    /// A command of this user, in his home, with a clean environment and the stand-ins in place of
    /// stap and staprun.
    #[must_use]
    pub fn command(&self, program: &str) -> Invocation {
        let notes = Path::new(world::NOTES).join(self.name).join("standin");
        Invocation::new(program)
            .identity(self.id)
            .directory(self.home())
            .env("HOME", self.home())
            .env("USER", self.name)
            .env("LOGNAME", self.name)
            .env("PATH", world::PATH)
            .env(
                "SYSTEMTAP_STAP",
                Path::new(world::STANDINS).join("fakestap"),
            )
            .env(
                "SYSTEMTAP_STAPRUN",
                Path::new(world::STANDINS).join("fakestaprun"),
            )
            .env("FAKE_LOG", notes)
    }

    /// Runs a command to its end.
    pub fn run<I: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = I>,
    ) -> crate::finished::Finished {
        self.command(program).args(arguments).run()
    }

    /// Starts a command that the test stops by itself.
    #[must_use]
    pub fn run_in_background(&self, program: &str, argument: &str) -> crate::command::Running {
        self.command(program).arg(argument).start()
    }

    /// Runs `stap-client`.
    pub fn client<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> crate::finished::Finished {
        self.run("stap-client", arguments)
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        if self.id == 0 {
            PathBuf::from("/root")
        } else {
            Path::new("/home").join(self.name)
        }
    }

    /// Sorted names in the home directory, without those that begin with a dot.
    #[must_use]
    pub fn home_files(&self) -> Vec<String> {
        let names = list(&self.home());
        names
            .into_iter()
            .filter(|name| !name.starts_with('.'))
            .collect()
    }

    /// Writes a file that this user owns, and the directories on its way.
    ///
    /// # Panics
    /// When that is impossible.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(path);
        let parent = path.parent().expect("a file is in a directory");
        fs::create_dir_all(parent).expect("root may write everywhere");
        fs::write(&path, content).expect("root may write everywhere");
        for owned in [parent, &path] {
            std::os::unix::fs::chown(owned, Some(self.id), Some(self.id)).expect("we are root");
        }
        path
    }

    /// Where the databases of this user's servers are.
    #[must_use]
    pub fn server_database(&self) -> PathBuf {
        self.databases().join("server")
    }

    /// Where the database of this user's clients is.
    #[must_use]
    pub fn client_database(&self) -> PathBuf {
        self.databases().join("client")
    }

    fn databases(&self) -> PathBuf {
        let above = if self.id == 0 {
            PathBuf::from("/etc/systemtap")
        } else {
            self.home().join(".systemtap")
        };
        above.join("ssl")
    }

    /// How the stand-in for staprun was called by this user, each time.
    ///
    /// # Panics
    /// When the record is not one that the stand-in writes.
    #[must_use]
    pub fn staprun_calls(&self) -> Vec<StaprunCall> {
        let record = Path::new(world::NOTES).join(self.name).join("standin.run");
        let text = fs::read_to_string(record).unwrap_or_default();
        let mut words = text.split_terminator('\0');
        let mut calls = Vec::new();
        while let Some(mark) = words.next() {
            assert_eq!(mark, "run", "a record of the stand-in starts so");
            let directory = words.next().expect("a working directory follows").into();
            let count = words.next().and_then(|count| count.parse().ok());
            let arguments = words.by_ref().take(count.expect("a count follows"));
            calls.push(StaprunCall {
                directory,
                arguments: arguments.map(str::to_owned).collect(),
            });
        }
        calls
    }
}

/// One run of the stand-in for staprun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaprunCall {
    /// Its working directory.
    pub directory: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Sorted names in a database, without the hidden ones, which are nobody's but its makers'.
#[must_use]
pub fn store_files(database: &Path) -> Vec<String> {
    list(database)
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Sorted names in a directory; none when it does not exist.
#[must_use]
pub fn list(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The permission bits of a file.
///
/// # Panics
/// When there is no such file.
#[must_use]
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path);
    metadata
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .mode()
        & 0o7777
}

/// Sets the permission bits of a file.
///
/// # Panics
/// When there is no such file.
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// How long something that compiles or boots a kernel may take on a busy machine.
pub const SLOW: Duration = Duration::from_secs(600);

/// How long a search may take at most, with a second for starting the program.
pub const SEARCH_LIMIT: Duration = Duration::from_secs(11);

/// How long a command of the specification that "returns at once" may take on a busy machine.
pub const AT_ONCE: Duration = Duration::from_secs(10);
