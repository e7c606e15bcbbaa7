//! Stock SystemTap of one release, laid out in a lab: its stap and its compile server are installed in one root, which
//! has the lab's homes, network and databases and otherwise nothing of ours.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use crate::command::Invocation;
use crate::lab::{Lab, User};
use crate::peer;
use crate::root;
use crate::server::{Server, fresh_log, log_option};
use crate::world::{STOCK, TARGET_ROOT, USERS, WARM};

/// The root, seen from outside.
pub const SITE: &str = "/run/lab/site";

/// Stock SystemTap, installed.
#[derive(Debug)]
pub struct Site {
    release: String,
}

impl Site {
    /// Lays the stock server's packages over the root, and what is the lab's into it.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn lay_out(lab: &Lab) -> Self {
        for directory in [SITE, UPPER, WORK] {
            fs::create_dir_all(directory).expect("/run is ours");
        }
        let layers = format!("lowerdir={STOCK}:{TARGET_ROOT},upperdir={UPPER},workdir={WORK}\0");
        let layers = std::ffi::CStr::from_bytes_with_nul(layers.as_bytes());
        mount("overlay", SITE, layers.ok());
        mount("proc", inside("/proc"), None);
        mount("tmpfs", inside("/tmp"), Some(c"mode=1777"));
        for user in [lab.alice(), lab.bob(), lab.root()] {
            keep_cache(user);
        }
        for shared in ["/home", "/root", "/etc/systemtap", "/run/lab/notes", BUS] {
            let place = inside(shared);
            fs::create_dir_all(shared).expect("/run is ours");
            fs::create_dir_all(&place).expect("it is an overlay of ours");
            rustix::mount::mount_bind_recursive(shared, place).expect("root may mount");
        }
        introduce_users();
        let release = root::releases().swap_remove(0);
        Self { release }
    }

    /// The kernel that everything is compiled for.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// A command of `user` in the root, in his home.
    #[must_use]
    pub fn command(&self, user: User, program: &str) -> Invocation {
        self.command_in(user, &user.home(), program)
    }

    /// A command of `user` in the root and in a directory of it.
    #[must_use]
    pub fn command_in(&self, user: User, directory: &Path, program: &str) -> Invocation {
        let identity = format!("--userspec={0}:{0}", user.id);
        Invocation::new("chroot")
            .args(["--groups=", &identity, SITE, "env", "--chdir"])
            .arg(directory)
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", user.home())
            .env("USER", user.name)
            .env("LOGNAME", user.name)
            .deadline(PATIENCE)
    }

    /// Starts the stock server of `user` as its packages leave it, and waits until it serves.
    #[must_use]
    pub fn serve(&self, user: User) -> Server {
        let release = format!("-r{}", self.release);
        let server = self.start(self.server(user).arg(release), user);
        // It listens before it has its key. One that wants only the certificate waits for that, and no answer follows.
        let answer = peer::send(&server, &[0; 4]);
        assert!(answer.is_empty(), "{answer:?}\n{}", server.said());
        server
    }
}

impl Site {
    /// The stock server of `user`, still without what it is to serve besides the running kernel.
    #[must_use]
    pub fn server(&self, user: User) -> Invocation {
        self.command(user, STOCK_SERVER)
    }

    /// Starts a [`Self::server`] of `user`, on whatever host, and waits until it listens.
    #[must_use]
    pub fn start(&self, server: Invocation, user: User) -> Server {
        let log = fresh_log(user);
        let running = server.arg(log_option(&log)).start();
        Server::logging(running.pid(), log)
    }
}

/// What stap finds out once for each kernel takes half a minute, and outlives the lab.
fn keep_cache(user: User) {
    let kept = Path::new(WARM).join("stock-caches").join(user.name);
    let settings = user.home().join(".systemtap");
    let cache = settings.join("cache");
    for directory in [&kept, &cache] {
        fs::create_dir_all(directory).expect("homes and the build directory are writable");
    }
    for owned in [&kept, &settings] {
        chown(owned, Some(user.id), Some(user.id)).expect("we are root");
    }
    rustix::mount::mount_bind(kept, cache).expect("root may mount");
}

/// The root knows the lab's users and hosts by name.
fn introduce_users() {
    let accounts = inside("/etc/passwd");
    let known = fs::read_to_string(&accounts).expect("every root has accounts");
    let ours = USERS.map(|(name, id)| format!("{name}:x:{id}:{id}:lab:/home/{name}:/bin/sh\n"));
    fs::write(accounts, known + &ours.concat()).expect("it is an overlay of ours");
    for file in ["/etc/hosts", "/etc/nsswitch.conf"] {
        fs::copy(file, inside(file)).expect("it is an overlay of ours");
    }
}

fn mount(kind: &str, place: impl AsRef<Path>, options: Option<&std::ffi::CStr>) {
    let mounted = rustix::mount::mount("lab", place.as_ref(), kind, MountFlags::empty(), options);
    mounted.unwrap_or_else(|error| panic!("mounting {kind}: {error}"));
}

fn inside(path: &str) -> PathBuf {
    Path::new(SITE).join(path.trim_start_matches('/'))
}

/// How long the first compile for a kernel may take on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(900);
/// Where the server is in its package.
const STOCK_SERVER: &str = "/usr/lib/systemtap/stap-serverd";
/// Where programs meet the avahi daemon of a host.
const BUS: &str = "/run/dbus";
const UPPER: &str = "/run/lab/site-upper";
const WORK: &str = "/run/lab/site-work";
