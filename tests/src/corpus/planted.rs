//! What lies around a server for attackers to find: other people's files, processes, memory and
//! keys, services that listen, and a descriptor that was forgotten. Each has a name in orders.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use super::service::{self, HOSTILE, SECRET};
use super::shared::{SYSTEM_V, Shared};
use super::traces::MARK;
use super::{Situation, groups};

/// All of it.
#[derive(Debug)]
pub(super) struct Planted {
    // Before the neighbour: a user's keys live no longer than his last process.
    shared: Shared,
    neighbour: Neighbour,
    /// Below a directory that jobs see.
    visible: PathBuf,
    in_tmp: PathBuf,
    warm: PathBuf,
    result: PathBuf,
    _listeners: Listeners,
    _forgotten: OwnedFd,
}

/// A process that ends with the run.
#[derive(Debug)]
struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[derive(Debug)]
struct Listeners {
    _tcp: TcpListener,
    _udp: UdpSocket,
    _abstract: UnixListener,
    _path: UnixListener,
}

type Names = BTreeMap<&'static str, String>;

impl Planted {
    pub(super) fn all(situation: &Situation, names: &mut Names) -> anyhow::Result<Self> {
        lay_out(situation)?;
        let (job, scratch) = (situation.job_uid(), &situation.scratch);
        let shown = |path: &Path| path.display().to_string();
        let unique = format!("{MARK}-{}-{}", groups::unique()?, situation.name());
        names.insert(
            "secret",
            shown(&plant(&scratch.join("secret"), 0o600, job)?),
        );
        names.insert("key", shown(&service::database(situation).join("stap.key")));
        names.insert("log", shown(&scratch.join("logs/server.log")));
        names.insert("open", shown(&scratch.join("open")));
        let in_tmp = plant(&Path::new("/tmp").join(&unique), 0o644, job)?;
        names.insert("in-tmp", shown(&in_tmp));
        let warm = warm_entry(situation)?;
        names.insert("warm", shown(&warm));
        let result = kept_result(situation)?;
        names.insert("kept", shown(&result));
        let visible = Path::new("/usr/local/lib").join(&unique);
        in_sight(situation, &visible, names)?;
        let neighbour = neighbour(situation, names)?;
        let forgotten = forget(&plant(&scratch.join("forgotten"), 0o600, 0)?, names)?;
        let shared = Shared::make(situation, &unique)?;
        names.insert("shared", SYSTEM_V.to_owned());
        names.insert("queue", unique.clone());
        names.insert("unique", unique.clone());
        names.insert("keyring-entry", unique.clone());
        whereabouts(names)?;
        Ok(Self {
            shared,
            neighbour,
            visible,
            in_tmp,
            warm,
            result,
            _listeners: listen(scratch, &unique, names)?,
            _forgotten: forgotten,
        })
    }

    /// Takes all of it away again.
    pub(super) fn remove(mut self, situation: &Situation) -> anyhow::Result<()> {
        let shared = self.shared.remove();
        drop(self.neighbour);
        fs::remove_file(&self.in_tmp)?;
        fs::remove_dir_all(&self.visible)?;
        let entry = self.warm.parent().context("an entry is in a directory")?;
        fs::remove_dir_all(entry)?;
        // The server may have found that it is none, and removed it.
        if self.result.exists() {
            fs::remove_file(&self.result)?;
        }
        fs::remove_dir_all(&situation.scratch)?;
        shared
    }
}

/// The directories of a run. Jobs may enter, but own nothing.
fn lay_out(situation: &Situation) -> anyhow::Result<()> {
    let server = Some(situation.server_uid());
    for (name, mode) in [
        ("", 0o755),
        ("home", 0o700),
        ("temporary", 0o711),
        ("logs", 0o700),
        ("database", 0o755),
        ("open", 0o1777),
    ] {
        let directory = situation.scratch.join(name);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        if !name.is_empty() {
            chown(&directory, server, server)?;
        }
    }
    Ok(())
}

/// A file that is somebody's, with the secret in it.
fn plant(path: &Path, mode: u32, owner: u32) -> anyhow::Result<PathBuf> {
    fs::write(path, SECRET)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    chown(path, Some(owner), Some(owner))?;
    Ok(path.to_owned())
}

/// Something in the warm state of the server, as a poisoner would find it.
fn warm_entry(situation: &Situation) -> anyhow::Result<PathBuf> {
    let warm = service::warm_directory(situation);
    let entry = warm.join("0000-plain");
    fs::create_dir_all(&entry)?;
    let server = Some(situation.server_uid());
    // The server insists on being alone with it.
    for directory in [&entry, &warm] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        chown(directory, server, server)?;
    }
    let mut above = warm.parent();
    while let Some(directory) = above.filter(|path| path.starts_with(&situation.scratch)) {
        chown(directory, server, server)?;
        above = directory.parent().filter(|path| *path != situation.scratch);
    }
    plant(
        &entry.join("b5-stapconf_b5_1.h"),
        0o600,
        situation.server_uid(),
    )
}

/// Something that looks like a kept result; only a server that is asked for it finds out that it is none.
fn kept_result(situation: &Situation) -> anyhow::Result<PathBuf> {
    let results = service::warm_directory(situation).with_file_name("results");
    let server = situation.server_uid();
    fs::create_dir_all(&results)?;
    fs::set_permissions(&results, fs::Permissions::from_mode(0o700))?;
    chown(&results, Some(server), Some(server))?;
    plant(&results.join("0".repeat(64)), 0o600, server)
}

/// What jobs see, because it is below a directory of the root that is shown to them.
fn in_sight(situation: &Situation, visible: &Path, names: &mut Names) -> anyhow::Result<()> {
    fs::create_dir_all(visible)?;
    let owned = visible.join("owned");
    fs::create_dir_all(&owned)?;
    let job = Some(situation.job_uid());
    chown(&owned, job, job)?;
    names.insert("owned", owned.display().to_string());
    let program = visible.join("setuid");
    // Another process writes it: one that forks meanwhile would keep it from being executed.
    let copied = Command::new("cp")
        .arg(situation.programs.join(HOSTILE))
        .arg(&program)
        .status()?;
    ensure!(copied.success(), "{} cannot be made", program.display());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755))?;
    names.insert("setuid", program.display().to_string());
    Ok(())
}

/// Services of the host that everybody may connect to; connections wait in their queues.
fn listen(scratch: &Path, unique: &str, names: &mut Names) -> anyhow::Result<Listeners> {
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(unique)?)?;
    let path = scratch.join("listener");
    let open = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    names.insert("tcp", tcp.local_addr()?.to_string());
    names.insert("udp", udp.local_addr()?.to_string());
    names.insert("abstract", unique.to_owned());
    names.insert("socket", path.display().to_string());
    Ok(Listeners {
        _tcp: tcp,
        _udp: udp,
        _abstract: hidden,
        _path: open,
    })
}

/// A process of the job's own user, outside of every jail, with a secret in its memory.
fn neighbour(situation: &Situation, names: &mut Names) -> anyhow::Result<Neighbour> {
    let child = Command::new(situation.programs.join(HOSTILE))
        .arg("hold-secret")
        .env_clear()
        .env("SECRET", SECRET)
        .current_dir("/")
        .uid(situation.job_uid())
        .gid(situation.job_uid())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a neighbour")?;
    let mut neighbour = Neighbour(child);
    let stdout = neighbour.0.stdout.take().context("its output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let mut words = line.split_whitespace().skip(1);
    for name in ["address", "length"] {
        let value = words
            .next()
            .context("a neighbour says where its secret is")?;
        names.insert(name, value.to_owned());
    }
    names.insert("neighbour", neighbour.0.id().to_string());
    Ok(neighbour)
}

/// A descriptor that whoever started the server forgot to close, to a file that only root may open.
fn forget(path: &Path, names: &mut Names) -> anyhow::Result<OwnedFd> {
    let file: File = OpenOptions::new().read(true).append(true).open(path)?;
    let forgotten = rustix::io::fcntl_dupfd_cloexec(&file, FORGOTTEN)?;
    rustix::io::fcntl_setfd(&forgotten, rustix::io::FdFlags::empty())?;
    names.insert("descriptor", forgotten.as_raw_fd().to_string());
    Ok(forgotten)
}

/// Where this process is, which a job must not be.
fn whereabouts(names: &mut Names) -> anyhow::Result<()> {
    let host = rustix::system::uname();
    names.insert("host", host.nodename().to_string_lossy().into_owned());
    let namespace = fs::read_link("/proc/self/ns/cgroup")?;
    names.insert("cgroup-namespace", namespace.display().to_string());
    let status = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = status.rsplit_once(')').context("a name in parentheses")?;
    let session = fields.split_whitespace().nth(3).context("a session")?;
    names.insert("session", session.to_owned());
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let mount = match controllers {
            "memory" => "/sys/fs/cgroup/memory",
            "" if !Path::new("/sys/fs/cgroup/memory").exists() => "/sys/fs/cgroup",
            _ => return None,
        };
        Some(format!("{mount}{path}/cgroup.procs"))
    });
    names.insert("group", own.context("this process is in no group")?);
    Ok(())
}

/// A number that nobody has by accident.
const FORGOTTEN: i32 = 60;
