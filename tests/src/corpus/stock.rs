//! SystemTap's own compile server, for comparison: taken from the target root's release and run as the
//! ordinary user in a second mount of that root, with nothing changed about it but generous sizes.
//!
//! What protects the host from what such a server lets through is ours, not its: a private network and
//! process table, an ordinary user, an overlay that is thrown away, and a bound on memory, processes
//! and file sizes.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;

use super::service::{SECRET, Service};
use super::{Against, Situation};
use crate::process::{self, Process};
use crate::requirement;
use crate::world::{PATH, STOCK, TARGET_ROOT, WARM};

/// The mounted root and the server's home in it.
#[derive(Debug)]
pub struct Stock {
    user: u32,
    home: PathBuf,
    temporary: PathBuf,
    logs: PathBuf,
    /// Undone in reverse.
    mounts: Vec<PathBuf>,
    resident: Option<Child>,
}

/// Something that this machine or this server does not have.
#[derive(Debug)]
pub struct Lacking {
    /// Its name where tests say what they require; none for a part that a server has or has not.
    feature: Option<&'static str>,
    why: String,
}

impl Lacking {
    /// Something that can be brought to this machine; see [`requirement`].
    pub fn of_machine(feature: &'static str, why: &str) -> Self {
        Self {
            feature: Some(feature),
            why: why.to_owned(),
        }
    }

    /// A part that this server does not have.
    pub fn of_server(why: &str) -> Self {
        Self {
            feature: None,
            why: why.to_owned(),
        }
    }

    /// Whether whoever runs this relies on its being there.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.feature.is_some_and(requirement::is_required)
    }
}

impl Stock {
    /// Mounts the root, and gives the server what stap finds out once for each kernel.
    ///
    /// # Errors
    /// [`Lacking`] when there is no such server here, else when the kernel refuses.
    pub fn lay_out(situation: &Situation) -> anyhow::Result<Self> {
        if !Path::new(STOCK).exists() || !Path::new(TARGET_ROOT).exists() {
            let why = "no stock server was unpacked (tests/stock-server, STAP_TEST_STOCK)";
            return Err(Lacking::of_machine("stock", why).into());
        }
        let place = |name: &str| situation.scratch.join(name);
        let mut stock = Self {
            user: situation.ordinary,
            home: place("stock-home"),
            temporary: place(match situation.against {
                Against::Ours => "stock-temporary",
                Against::Stock => "temporary",
            }),
            logs: place("logs"),
            mounts: Vec::new(),
            resident: None,
        };
        for directory in [&stock.home, &stock.temporary] {
            fs::create_dir_all(directory)?;
            chown(directory, Some(stock.user), Some(stock.user))?;
        }
        stock.mount(&situation.scratch)?;
        stock.warm()?;
        let program = situation.scratch.join("drawer/program");
        if program.exists() {
            let mut command = stock.command(&program.display().to_string(), None);
            stock.resident = Some(command.arg("infinity").spawn()?);
        }
        Ok(stock)
    }

    /// Starts the server. It runs `stap` instead of the root's own, if one is given.
    ///
    /// # Errors
    /// When it does not come up; its log says why.
    pub fn start(&self, name: &str, stap: Option<&Path>) -> anyhow::Result<Service> {
        let log = self.home.join(format!("{name}.log"));
        if log.exists() {
            fs::remove_file(&log)?;
        }
        let mut command = self.command(SERVER, stap);
        command
            .arg(format!("--log={}", log.display()))
            .arg(format!("-r{}", release()))
            .args(SIZES)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(File::create(self.logs.join(format!("{name}.err")))?);
        let child = command.spawn().context("starting the stock server")?;
        let mut service = Service::of(Against::Stock, child, log)?;
        // Nothing has to be warmed, and nothing ends what takes too long.
        service.patience = match stap {
            Some(_) => Duration::from_secs(20),
            // A query for all tracepoints takes minutes where others compile as well.
            None => Duration::from_secs(900),
        };
        Ok(service)
    }

    /// Runs `stap` in the root as the server's user would, without a server.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn stap<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Output> {
        let mut command = self.command("stap", None);
        command.arg(format!("-r{}", release())).args(arguments);
        command.output().context("starting stap")
    }

    /// Runs a command line of a shell in the root, as the server's user.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn shell(&self, line: &str) -> anyhow::Result<Output> {
        let mut command = self.command("sh", None);
        command.args(["-c", line]);
        command.output().context("starting sh")
    }

    /// The server user's home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A process that the server's user runs besides.
    #[must_use]
    pub fn resident(&self) -> u32 {
        self.resident.as_ref().map_or(1, Child::id)
    }

    /// Ends what jobs have left running, also where that breeds.
    pub fn sweep(&self) {
        for _ in 0..SWEEPS {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            // What stands still forks no more.
            for signal in [Signal::STOP, Signal::KILL] {
                left.iter().for_each(|pid| process::signal(*pid, signal));
            }
        }
    }

    /// Processes in the root besides the resident.
    fn left(&self) -> Vec<i32> {
        let is_left = |one: &Process| {
            let root = fs::read_link(format!("/proc/{}/root", one.pid));
            let is_resident = u32::try_from(one.pid) == Ok(self.resident());
            root.is_ok_and(|root| root == Path::new(ROOT)) && !is_resident
        };
        let all = process::all().into_iter();
        all.filter(is_left).map(|one| one.pid).collect()
    }

    fn command(&self, program: &str, stap: Option<&Path>) -> Command {
        let mut command = Command::new("prlimit");
        command
            .args(BOUNDS)
            .arg("chroot")
            .arg(format!("--userspec={0}:{0}", self.user))
            .args(["--groups=", ROOT, "env", "--chdir=/", program])
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.home)
            .env("TMPDIR", &self.temporary)
            .env("SECRET", SECRET)
            .envs(stap.map(|stap| ("SYSTEMTAP_STAP", stap)))
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// The layers, what is of this run in them, and a name for the user.
    fn mount(&mut self, scratch: &Path) -> anyhow::Result<()> {
        let empty = MountFlags::empty();
        for directory in [ROOT, UPPER, WORK] {
            fs::create_dir_all(directory)?;
        }
        let layers = format!("lowerdir={STOCK}:{TARGET_ROOT},upperdir={UPPER},workdir={WORK}\0");
        let layers = std::ffi::CStr::from_bytes_with_nul(layers.as_bytes())?;
        rustix::mount::mount("lab", ROOT, "overlay", empty, Some(layers))?;
        self.mounts.push(ROOT.into());
        let inside = |path: &Path| Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path));
        let proc = inside(Path::new("/proc"));
        rustix::mount::mount("lab", &proc, "proc", empty, None)?;
        self.mounts.push(proc);
        // Whoever installs a server has these, so it would be no merit that they are not there.
        let usual = ["/tmp", "/dev", "/sys", "/usr/local"].map(Path::new);
        for shared in usual.into_iter().chain([scratch]) {
            let path = inside(shared);
            fs::create_dir_all(&path)?;
            rustix::mount::mount_bind_recursive(shared, &path)?;
            self.mounts.push(path);
        }
        let (user, home) = (self.user, self.home.display());
        let account = format!("stock:x:{user}:{user}::{home}:/bin/sh\n");
        let accounts = inside(Path::new("/etc/passwd"));
        let known = fs::read_to_string(&accounts)?;
        fs::write(accounts, known + &account)?;
        Ok(())
    }

    /// Probes of the kernel's features take half a minute, so they outlive the lab; they were found out
    /// by stap itself, without anybody's request, and nothing else is kept.
    fn warm(&self) -> anyhow::Result<()> {
        let kept = Path::new(WARM).join("stock");
        let cache = self.home.join(".systemtap/cache");
        fs::create_dir_all(&kept)?;
        if fs::read_dir(&kept)?.next().is_none() {
            for guru in [&[][..], &["-g"]] {
                let script = [guru, &["-p4", "-e", "probe begin { exit() }"]].concat();
                let output = self.stap(&script)?;
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "stap does not work: {said}");
            }
            return copy_probes(&cache, &kept, None);
        }
        copy_probes(&kept, &cache, Some(self.user))
    }
}

impl Drop for Stock {
    /// Whatever the server left is in the way of nobody: its mounts go when the last user does.
    fn drop(&mut self) {
        self.sweep();
        if let Some(mut resident) = self.resident.take()
            && resident.kill().is_ok()
        {
            drop(resident.wait());
        }
        for mounted in self.mounts.drain(..).rev() {
            rustix::mount::unmount(&mounted, UnmountFlags::DETACH).unwrap_or_default();
        }
        for directory in [UPPER, WORK] {
            drop(fs::remove_dir_all(directory));
        }
        // Its library's debugging leaves this behind, whatever it is asked to do.
        drop(fs::remove_file("/tmp/nssinit.log"));
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.why)
    }
}

impl std::error::Error for Lacking {}

/// The kernel that requests are for.
#[must_use]
pub fn release() -> String {
    crate::root::releases().swap_remove(0)
}

/// Copies the feature probes of one cache into another, to be `owner`'s.
fn copy_probes(from: &Path, to: &Path, owner: Option<u32>) -> anyhow::Result<()> {
    let own = |path: &Path| match owner {
        Some(owner) => chown(path, Some(owner), Some(owner)),
        None => Ok(()),
    };
    fs::create_dir_all(to)?;
    for directory in fs::read_dir(from)? {
        let directory = directory?;
        for probe in fs::read_dir(directory.path()).into_iter().flatten() {
            let probe = probe?;
            if probe.file_name().to_string_lossy().starts_with("stapconf_") {
                let place = to.join(directory.file_name());
                fs::create_dir_all(&place)?;
                let copy = place.join(probe.file_name());
                fs::copy(probe.path(), &copy)?;
                own(&place)?;
                own(&copy)?;
            }
        }
    }
    own(to)?;
    to.parent().map_or(Ok(()), own)?;
    Ok(())
}

/// Where the server is in its package.
const SERVER: &str = "/usr/lib/systemtap/stap-serverd";
/// The default of 5,000 bytes would refuse much of the corpus for its size alone.
const SIZES: [&str; 2] = [
    "--max-request-size=64000000",
    "--max-compressed-request=8000000",
];
/// What the host can spare; the server itself sets none of these when a user starts it.
const BOUNDS: [&str; 4] = [
    "--as=1600000000",
    "--nproc=4096",
    "--fsize=1000000000",
    "--core=0",
];
/// Each time fewer are left; see [`Stock::sweep`].
const SWEEPS: usize = 1000;
const ROOT: &str = "/run/lab/stock-root";
const UPPER: &str = "/run/lab/stock-upper";
const WORK: &str = "/run/lab/stock-work";
