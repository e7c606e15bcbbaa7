//! What an attacker finds: a server, its files, other people's files and processes, and listeners.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use super::bench::{self, Without};
use super::service::{self, HOSTILE, SECRET, Service, Start};
use super::{Guard, Situation, Verdict};

/// The place of the attacks of one situation.
#[derive(Debug)]
pub struct Field {
    /// The circumstances.
    pub situation: Situation,
    names: BTreeMap<&'static str, String>,
    service: OnceCell<Service>,
    neighbour: Child,
    _listeners: Listeners,
}

#[derive(Debug)]
struct Listeners {
    _tcp: TcpListener,
    _udp: UdpSocket,
    _abstract: UnixListener,
    _path: UnixListener,
}

impl Field {
    /// Prepares it.
    ///
    /// # Errors
    /// When something cannot be made; then nothing could be proved.
    pub fn prepare(situation: Situation) -> anyhow::Result<Self> {
        lay_out(&situation)?;
        let scratch = &situation.scratch;
        let job = situation.job_uid();
        let secret = plant(&scratch.join("secret"), 0o600, job)?;
        let mut names = BTreeMap::from([("secret", secret)]);
        let (listeners, found) = listen(scratch)?;
        names.extend(found);
        let neighbour = neighbour(&situation)?;
        names.insert("neighbour", neighbour.id().to_string());
        let key = service::database(&situation).join("stap.key");
        names.insert("key", key.display().to_string());
        let warm = service::warm_directory(&situation);
        names.insert("warm", warm.display().to_string());
        let host = rustix::system::uname();
        names.insert("host", host.nodename().to_string_lossy().into_owned());
        Ok(Self {
            situation,
            names,
            service: OnceCell::new(),
            neighbour,
            _listeners: listeners,
        })
    }

    /// The server with everything on, started at its first use.
    ///
    /// # Errors
    /// When it does not start.
    pub fn service(&self) -> anyhow::Result<&Service> {
        if let Some(service) = self.service.get() {
            return Ok(service);
        }
        let start = Start {
            policy: service::policy(self.situation.who, &[]),
            options: vec!["--max-threads=1"],
            stap: Some(self.situation.programs.join(HOSTILE)),
        };
        let service = Service::start(&self.situation, "server", &start)?;
        Ok(self.service.get_or_init(|| service))
    }

    /// The words of an order, with names of the field filled in.
    ///
    /// # Errors
    /// When there is no such name.
    pub fn filled(&self, order: &str) -> anyhow::Result<Vec<String>> {
        let fill = |word: &str| {
            let Some((before, rest)) = word.split_once('{') else {
                return Ok(word.to_owned());
            };
            let (name, after) = rest.split_once('}').context("a name ends with }")?;
            let value = self.names.get(name);
            let value = value.with_context(|| format!("the field has no {name}"))?;
            Ok(format!("{before}{value}{after}"))
        };
        order.split_whitespace().map(fill).collect()
    }

    /// Whether a guard can be had on this machine at all.
    #[must_use]
    pub fn has(&self, guard: Guard) -> bool {
        let groups = || {
            self.service
                .get()
                .is_some_and(|service| service.enforces("cgroup"))
        };
        match guard {
            Guard::Landlock(abi) => landlock_abi(&self.situation) >= abi,
            Guard::Group => groups(),
            _ => true,
        }
    }

    /// Runs an order in a jail that lacks some layers.
    ///
    /// # Errors
    /// When the jail cannot be built, or the attack says nothing.
    pub fn bench(&self, without: &Without, words: &[String]) -> anyhow::Result<Verdict> {
        let policy = service::policy(self.situation.who, &[]);
        bench::attack(&self.situation, &policy, without, words)
    }

    /// Runs an order without a jail.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn bare(&self, uid: u32, words: &[String]) -> anyhow::Result<Verdict> {
        bench::bare(&self.situation, uid, words)
    }

    /// Takes everything away again; the server stops as an operator stops it.
    ///
    /// # Errors
    /// When something resists.
    pub fn clear(mut self) -> anyhow::Result<()> {
        if let Some(service) = self.service.take() {
            service.stop()?;
        }
        self.neighbour.kill()?;
        self.neighbour.wait()?;
        fs::remove_dir_all(&self.situation.scratch)?;
        Ok(())
    }
}

/// The directories of a run. Jobs may enter, but own nothing.
fn lay_out(situation: &Situation) -> anyhow::Result<()> {
    let owner = Some(situation.server_uid());
    for (name, mode) in [
        ("", 0o755),
        ("home", 0o700),
        ("temporary", 0o711),
        ("logs", 0o755),
        ("database", 0o755),
    ] {
        let directory = situation.scratch.join(name);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        if !name.is_empty() {
            chown(&directory, owner, owner)?;
        }
    }
    Ok(())
}

/// A file that is somebody's, with the secret in it.
fn plant(path: &Path, mode: u32, owner: u32) -> anyhow::Result<String> {
    fs::write(path, SECRET)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    chown(path, Some(owner), Some(owner))?;
    Ok(path.display().to_string())
}

type Names = Vec<(&'static str, String)>;

/// Services of the host that everybody may connect to; connections wait in their queues.
fn listen(scratch: &Path) -> anyhow::Result<(Listeners, Names)> {
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let name = format!("corpus-{}", std::process::id());
    let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let path: PathBuf = scratch.join("listener");
    let open = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    let names = vec![
        ("tcp", tcp.local_addr()?.to_string()),
        ("udp", udp.local_addr()?.to_string()),
        ("abstract", name),
        ("socket", path.display().to_string()),
    ];
    let listeners = Listeners {
        _tcp: tcp,
        _udp: udp,
        _abstract: hidden,
        _path: open,
    };
    Ok((listeners, names))
}

/// A process of the job's own user, outside of every jail.
fn neighbour(situation: &Situation) -> anyhow::Result<Child> {
    let mut child = Command::new(situation.programs.join(HOSTILE))
        .args(["stay", "neighbour"])
        .env_clear()
        .env("SECRET", SECRET)
        .current_dir("/")
        .uid(situation.job_uid())
        .gid(situation.job_uid())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a neighbour")?;
    let stdout = child.stdout.as_mut().context("its output is piped")?;
    stdout.read_exact(&mut [0; 5]).context("a neighbour")?;
    Ok(child)
}

/// The version of Landlock's interface that this kernel has, as the jail's own probe says it.
fn landlock_abi(situation: &Situation) -> u32 {
    let probe = Command::new(situation.programs.join("stap-jail"))
        .args(["--probe", "--json"])
        .stdin(Stdio::null())
        .output();
    let output = probe.map(|output| output.stdout).unwrap_or_default();
    let layers: Vec<stap_jail::probe::ProbedLayer> =
        serde_json::from_slice(&output).unwrap_or_default();
    layers
        .iter()
        .find_map(stap_jail::probe::ProbedLayer::landlock_abi)
        .unwrap_or(0)
}
