//! The real stap in an unpacked distribution root: run bare, and served by us.
//!
//! What both of them may keep between runs is what takes minutes to make: their own caches of the
//! kernel's features and tracepoints. They are in a directory of this build, one for each.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use stap_policy::builtin::PERSONAL;

use crate::command::Invocation;
use crate::finished::Finished;
use crate::lab::{Lab, User};
use crate::server::{Server, fresh_log, log_option};
use crate::wait;
use crate::world::{OTHER_ROOT, PATH, TARGET_ROOT, WARM};

/// Where the root is mounted a second time, with what a bare run needs in it.
const BARE: &str = "/run/lab/bare";
/// Where changes of the root are kept.
const CHANGED: &str = "/run/lab/changed";
/// What a program finds in a root of its own.
const PATH_INSIDE: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Kernels that the lab's root has headers for, in the order of their names.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn releases() -> Vec<String> {
    releases_of(Path::new(TARGET_ROOT))
}

/// The same of any root.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn releases_of(root: &Path) -> Vec<String> {
    let modules = root.join("lib/modules");
    let has_headers = |release: &String| modules.join(release).join("build").is_symlink();
    let releases: Vec<_> = crate::lab::list(&modules)
        .into_iter()
        .filter(has_headers)
        .collect();
    let shown = modules.display();
    assert!(!releases.is_empty(), "{shown} holds no build tree");
    releases
}

/// The first of them whose kernel image is there too; `deploy/guest` can boot it.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn bootable(root: &Path) -> String {
    let has_image = |release: &String| {
        root.join("lib/modules")
            .join(release)
            .join("vmlinuz")
            .exists()
            || root.join(format!("boot/vmlinuz-{release}")).exists()
    };
    let bootable = releases_of(root).into_iter().find(has_image);
    bootable.expect("deploy/target-root unpacks the kernels' images")
}

/// A server of `user` for every target of the root, with the real stap.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve(user: User) -> Server {
    serve_under(user, "personal")
}

/// The same with make in pass 4, whose modules are bare stap's to the byte.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve_making(user: User) -> Server {
    serve_under(user, &making(user))
}

/// A policy file like `personal`, but for make in pass 4.
///
/// # Panics
/// When that class has no choice any more.
#[must_use]
pub fn making(user: User) -> String {
    let usual = "pass-4 = \"replay\"";
    assert!(PERSONAL.contains(usual), "it is no choice any more");
    let policy = user.write("making.toml", PERSONAL.replace(usual, "pass-4 = \"make\""));
    policy.display().to_string()
}

/// The same under a policy of the caller's choice: a class, or a file.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve_under(user: User, policy: &str) -> Server {
    serve_roots(user, policy, &[TARGET_ROOT], &[])
}

/// The same with room for one job at a time.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve_one_at_a_time(user: User) -> Server {
    serve_roots(user, "personal", &[TARGET_ROOT], &["--max-threads=1"])
}

/// The same for every target of the other root, too.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve_both(user: User) -> Server {
    serve_roots(user, "personal", &[TARGET_ROOT, OTHER_ROOT], &[])
}

/// The same with a directory for caches of the caller's choice.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve_from(user: User, cache: &Path, policy: &str) -> Server {
    start(user, cache, policy, &[TARGET_ROOT], &[])
}

/// The same with room for one job at a time.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn serve_one_from(user: User, cache: &Path) -> Server {
    start(
        user,
        cache,
        "personal",
        &[TARGET_ROOT],
        &["--max-threads=1"],
    )
}

fn serve_roots(user: User, policy: &str, roots: &[&str], options: &[&str]) -> Server {
    let cache = warm_directory("served", user);
    forget_results(&cache, user);
    let start = || start(user, &cache, policy, roots, options);
    let server = start();
    let flags = unrecorded(&server.said(), &releases()[0]);
    if flags.is_empty() {
        return server;
    }
    // Servers are to do what they usually do. This one has requests in its log that no test has sent.
    for flags in flags {
        record(user, &server, flags);
    }
    server.stop();
    start()
}

fn start(user: User, cache: &Path, policy: &str, roots: &[&str], options: &[&str]) -> Server {
    let log = fresh_log(user);
    let policy = format!("--policy={policy}");
    let start = user
        .command("stap-start-server")
        .without_env("SYSTEMTAP_STAP")
        .env("XDG_CACHE_HOME", cache)
        .args([&log_option(&log), &policy])
        .args(roots.iter().map(|root| format!("--root={root}")))
        .args(options);
    Server::started(&start.deadline(WARM_UP).run(), log)
}

/// With which flags pass 4 of a release is still to be recorded, by the word of a server that has started.
#[must_use]
pub fn unrecorded(said: &str, release: &str) -> Vec<&'static str> {
    let serving = format!("serving {release} ");
    let line = said.lines().find(|line| line.contains(&serving));
    let (_, ways) = line
        .and_then(|line| line.split_once(", pass 4 "))
        .unwrap_or_default();
    let (plain, guru) = ways.split_once("with -g ").unwrap_or((ways, ways));
    let ways = [("plain", plain), ("guru", guru)].into_iter();
    let unrecorded = ways.filter(|(_, way)| way.starts_with("not yet recorded"));
    unrecorded.map(|(flags, _)| flags).collect()
}

/// Waits until a log says that pass 4 was recorded with some flags, or cannot be.
#[must_use]
pub fn is_recorded_in_time(said: impl Fn() -> String, release: &str, flags: &str) -> bool {
    let (target, flags) = (format!("pass 4 for {release} "), format!(" ({flags}) "));
    let is_recorded = || {
        let said = said();
        let mut lines = said.lines();
        lines.any(|line| line.contains(&target) && line.contains(&flags))
    };
    (0..TURNS).any(|_| wait::within_patience(is_recorded))
}

/// Compiles something, and waits until the server has recorded what others can use of it.
fn record(user: User, server: &Server, flags: &str) {
    let release = &releases()[0];
    let at = format!("--server={}", server.address());
    let client = user.command("stap-client").args([&at, "-r", release]);
    let guru = (flags == "guru").then_some("-g");
    let script = ["-p4", "-m", "recorded", "-e", RECORDED];
    let client = client.args(guru).args(script).deadline(WARM_UP);
    client.run().exits(0);
    fs::remove_file(user.home().join("recorded.ko")).expect("it was made");
    wait_for_recording(server, flags);
}

/// Waits until a server has recorded what its last job could not use yet, or knows that it cannot.
///
/// # Panics
/// When it does not.
pub fn wait_for_recording(server: &Server, flags: &str) {
    let is_recorded = is_recorded_in_time(|| server.said(), &releases()[0], flags);
    assert!(is_recorded, "{}", server.said());
}

/// What `--list-targets` says where servers of [`serve`] keep what they have warmed.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn list_targets(user: User) -> String {
    list_targets_from(user, &warm_directory("served", user))
}

/// What it says where servers of [`serve_from`] keep it.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn list_targets_from(user: User, cache: &Path) -> String {
    let root = format!("--root={TARGET_ROOT}");
    let list = user
        .command("stap-serverd")
        .without_env("SYSTEMTAP_STAP")
        .env("XDG_CACHE_HOME", cache)
        .args(["--list-targets", "--policy=personal", &root]);
    list.deadline(WARM_UP).run().exits(0).out()
}

/// A header among the kernels' sources of the root, by its path there.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn header(path: &str) -> PathBuf {
    let sources = Path::new(TARGET_ROOT).join("usr/src");
    let names = crate::lab::list(&sources).into_iter();
    let mut headers = names.map(|name| sources.join(name).join(path));
    let found = headers.find(|header| header.exists());
    found.expect("the root has the kernels' headers")
}

/// The real stap without us, in the same root and as the same user.
#[derive(Debug)]
pub struct Bare {
    user: User,
}

impl Bare {
    /// Mounts the root a second time, with `/proc`, a scratch `/tmp` and a home.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn prepare(_lab: &Lab, user: User) -> Self {
        let inside = |path: &str| Path::new(BARE).join(path);
        fs::create_dir_all(BARE).expect("/run is ours");
        rustix::mount::mount_bind(TARGET_ROOT, BARE).expect("root may mount");
        for scratch in ["tmp", "home"] {
            let empty = MountFlags::empty();
            rustix::mount::mount("lab", inside(scratch), "tmpfs", empty, Some(c"mode=1777"))
                .expect("root may mount");
        }
        rustix::mount::mount("lab", inside("proc"), "proc", MountFlags::empty(), None)
            .expect("root may mount");
        let bare = Self { user };
        let settings = bare.home().join(".systemtap");
        fs::create_dir_all(&settings).expect("the home is a scratch directory");
        chown(bare.home(), Some(user.id), Some(user.id)).expect("we are root");
        let cache = warm_directory("bare", user);
        rustix::mount::mount_bind(cache, settings).expect("root may mount");
        bare
    }

    /// Adds programs of the host, which a stock client calls and a root for compiling need not have.
    ///
    /// # Panics
    /// When the host does not have them.
    pub fn lend(&self, programs: &[&str]) {
        let local = Path::new(BARE).join("usr/local");
        rustix::mount::mount("lab", &local, "tmpfs", MountFlags::empty(), None)
            .expect("root may mount");
        fs::create_dir(local.join("bin")).expect("it is a scratch directory");
        for program in programs {
            let lent = fs::copy(
                Path::new("/usr/bin").join(program),
                local.join("bin").join(program),
            );
            lent.unwrap_or_else(|error| panic!("{program} is missing, run tests/run: {error}"));
        }
    }

    /// Makes a directory below the user's home in the lab the one of the same name here.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn share(&self, name: &str) {
        let (outside, inside) = (self.user.home().join(name), self.home().join(name));
        rustix::mount::mount_bind(outside, inside).expect("root may mount");
    }

    /// Runs `stap`.
    #[must_use]
    pub fn stap(&self, arguments: &[&str]) -> Finished {
        let identity = format!("--userspec={0}:{0}", self.user.id);
        let home = self.user.home();
        let enter = ["--groups=", &identity, BARE, "/usr/bin/env", "--chdir"];
        Invocation::new("chroot")
            .args(enter)
            .arg(&home)
            .arg("stap")
            .args(arguments)
            .env("PATH", format!("{PATH}:{PATH_INSIDE}"))
            .env("HOME", home)
            .deadline(WARM_UP)
            .run()
    }

    /// The user's home as a bare run sees it, from outside.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        Path::new(BARE).join("home").join(self.user.name)
    }
}

/// Whether make says a line only if another compiler is still at work when one fails.
#[must_use]
pub fn is_said_by_chance(line: &str) -> bool {
    line.ends_with(": *** Waiting for unfinished jobs....")
}

/// Where servers of [`serve`] keep results.
#[must_use]
pub fn results(user: User) -> PathBuf {
    warm_directory("served", user).join("stap-server/results")
}

/// Lets root of this lab change files of the root; nobody outside sees that.
///
/// # Panics
/// When the kernel refuses.
pub fn make_writable(_lab: &Lab) {
    for part in ["upper", "work"] {
        fs::create_dir_all(Path::new(CHANGED).join(part)).expect("/run is ours");
    }
    let layers = format!("lowerdir={TARGET_ROOT},upperdir={CHANGED}/upper,workdir={CHANGED}/work");
    let layers = CString::new(layers).expect("paths have no NUL");
    let flags = MountFlags::empty();
    rustix::mount::mount("lab", TARGET_ROOT, "overlay", flags, Some(&*layers))
        .expect("root may mount");
}

/// Covers what servers of other labs kept: a test is to see its own compiles, and those of nobody else.
fn forget_results(cache: &Path, user: User) {
    let ours = cache.join("stap-server");
    let results = ours.join("results");
    fs::create_dir_all(&results).expect("the build directory is writable");
    if device(&results) != device(cache) {
        return;
    }
    rustix::mount::mount(
        "lab",
        &results,
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=700"),
    )
    .expect("root may mount");
    for directory in [&ours, &results] {
        chown(directory, Some(user.id), Some(user.id)).expect("we are root");
    }
}

fn device(directory: &Path) -> u64 {
    fs::metadata(directory).expect("it is there").dev()
}

/// A directory of `user` that outlives the lab.
fn warm_directory(name: &str, user: User) -> PathBuf {
    let directory = Path::new(WARM).join(name);
    fs::create_dir_all(&directory).expect("the build directory is writable");
    chown(&directory, Some(user.id), Some(user.id)).expect("we are root");
    directory
}

/// Waits until every release is announced or known to the server's log.
pub fn wait_until_served(user: User, server: &Server, releases: &[String]) {
    wait::until_true("every target is served", || {
        let found = user.run("stap-find-servers", ["--all"]).out();
        releases.iter().all(|release| {
            let port = format!(" {} ", server.port);
            found
                .lines()
                .any(|line| line.contains(release.as_str()) && line.contains(&port))
        })
    });
}

/// How long the first compile for a kernel, with all that it has to find out, may take on a busy
/// machine with two processors.
const WARM_UP: std::time::Duration = std::time::Duration::from_secs(900);
/// How often it is waited for a recording, which takes half a minute of a processor.
const TURNS: usize = 10;
/// No test's script.
const RECORDED: &str = "probe begin { println(\"recorded\") exit() }";
