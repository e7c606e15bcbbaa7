//! What the world inside a lab looks like, and how it is built.
//!
//! Everything is mounted over the host's own files in a mount namespace that dies with the lab, so
//! the host is never written to. The programs under test and whatever else the tests need from the
//! checkout are bound to fixed places first, because a checkout may live below a directory that the
//! lab then hides.

use std::ffi::{CStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags};

/// Where the tools are installed inside, in front of the distribution's own programs.
pub const TOOLS: &str = "/usr/local/bin";
/// Where the stand-ins are.
pub const STANDINS: &str = "/usr/local/libexec/standins";
/// The test program itself.
pub const TEST: &str = "/run/lab/test";
/// The root of a distribution with a working stap, when the caller named one.
pub const TARGET_ROOT: &str = "/run/lab/target-root";
/// The stock compile server of that root's release, when there is one.
pub const STOCK: &str = "/run/lab/stock";
/// The root of one more release, when the caller named one.
pub const OTHER_ROOT: &str = "/run/lab/other-root";
/// The folder with the scripts that operators use.
pub const DEPLOY: &str = "/run/lab/deploy";
/// The script that boots a kernel of the target root and runs a module in it.
pub const GUEST: &str = "/run/lab/deploy/guest";
/// What may be kept from lab to lab because it takes minutes to make.
pub const WARM: &str = "/run/lab/warm";
/// One writable directory for each user, for logs of stand-ins; it survives an unwritable HOME.
pub const NOTES: &str = "/run/lab/notes";
/// The address of this host on the lab's only network.
pub const ADDRESS: &str = "10.77.0.1";
/// The search path of every command.
pub const PATH: &str = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Users of the lab and their ids, which are also the ids of their groups.
pub const USERS: [(&str, u32); 2] = [("alice", 12345), ("bob", 12346)];

/// The programs that a lab offers. A lab without one of them would test nothing.
pub const PROGRAMS: [&str; 12] = [
    "hostile-stap",
    "stap-authorize-server-cert",
    "stap-client",
    "stap-find-or-start-server",
    "stap-find-servers",
    "stap-jail",
    "stap-server",
    "stap-serverd",
    "stap-signer",
    "stap-start-server",
    "stap-stop-server",
    "stap-worker",
];

/// What a lab takes from the host.
#[derive(Debug)]
pub struct Sources {
    /// Holds the built [`PROGRAMS`].
    pub programs: PathBuf,
    /// Holds the stand-ins.
    pub standins: PathBuf,
    /// The program whose test runs inside.
    pub test: PathBuf,
    /// The repository's `deploy` folder.
    pub deploy: PathBuf,
    /// A directory of this build that outlives labs.
    pub warm: PathBuf,
    /// An unpacked distribution, if the tests have one.
    pub target_root: Option<PathBuf>,
    /// The stock server's packages, unpacked, if the tests have them.
    pub stock: Option<PathBuf>,
    /// The root of one more release, if a test wants it.
    pub other_root: Option<PathBuf>,
}

impl Sources {
    /// Returns variables that hand these sources to `lab-enter`.
    #[must_use]
    pub fn to_environment(&self) -> Vec<(&'static str, OsString)> {
        let required = [
            ("LAB_PROGRAMS", &self.programs),
            ("LAB_STANDINS", &self.standins),
            ("LAB_TEST", &self.test),
            ("LAB_DEPLOY", &self.deploy),
            ("LAB_WARM", &self.warm),
        ];
        let optional = [
            ("LAB_TARGET_ROOT", &self.target_root),
            ("LAB_STOCK", &self.stock),
            ("LAB_OTHER_ROOT", &self.other_root),
        ];
        let named = optional.map(|(name, path)| Some((name, path.as_ref()?)));
        let all = required.into_iter().chain(named.into_iter().flatten());
        all.map(|(name, path)| (name, path.clone().into_os_string()))
            .collect()
    }

    /// Reads what [`Self::to_environment`] wrote.
    pub fn from_environment() -> io::Result<Self> {
        let path = |variable| std::env::var_os(variable).map(PathBuf::from);
        let required = |variable| {
            path(variable).ok_or_else(|| io::Error::other(format!("{variable} is not set")))
        };
        Ok(Self {
            programs: required("LAB_PROGRAMS")?,
            standins: required("LAB_STANDINS")?,
            test: required("LAB_TEST")?,
            deploy: required("LAB_DEPLOY")?,
            warm: required("LAB_WARM")?,
            target_root: path("LAB_TARGET_ROOT"),
            stock: path("LAB_STOCK"),
            other_root: path("LAB_OTHER_ROOT"),
        })
    }
}

/// Builds the world around the calling process, which must be root in fresh mount, network, pid and
/// host name namespaces.
pub fn build(sources: &Sources) -> io::Result<()> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    rustix::system::sethostname(b"labhost")?;
    scratch("/run", 0o755)?;
    install(sources)?;
    configuration()?;
    homes()?;
    scratch("/tmp", 0o1777)?;
    network()
}

/// Binds the programs and stand-ins to their places, while the host's own paths are still visible.
fn install(sources: &Sources) -> io::Result<()> {
    scratch("/usr/local", 0o755)?;
    fs::create_dir_all(TOOLS)?;
    fs::create_dir_all("/run/lab")?;
    for program in PROGRAMS {
        let built = sources.programs.join(program);
        if built.exists() {
            bind_file(&built, &Path::new(TOOLS).join(program))?;
        }
    }
    fs::create_dir_all(STANDINS)?;
    for entry in fs::read_dir(&sources.standins)? {
        let entry = entry?;
        bind_file(&entry.path(), &Path::new(STANDINS).join(entry.file_name()))?;
    }
    bind_file(&sources.test, Path::new(TEST))?;
    bind_directory(&sources.deploy, DEPLOY)?;
    bind_directory(&sources.warm, WARM)?;
    for (source, place) in [
        (&sources.target_root, TARGET_ROOT),
        (&sources.stock, STOCK),
        (&sources.other_root, OTHER_ROOT),
    ] {
        if let Some(source) = source {
            bind_directory(source, place)?;
            read_only(place)?;
        }
    }
    Ok(())
}

/// Lays writable layers over `/etc` and `/var`, and gives the lab our users, our host's names and no certificates.
fn configuration() -> io::Result<()> {
    layer(
        "/etc",
        c"lowerdir=/etc,upperdir=/run/lab/etc/upper,workdir=/run/lab/etc/work",
    )?;
    layer(
        "/var",
        c"lowerdir=/var,upperdir=/run/lab/var/upper,workdir=/run/lab/var/work",
    )?;
    // Another server of this host may have left warm state of its own.
    scratch("/var/cache", 0o755)?;
    // Whoever works outside of the lab comes and goes in these.
    for shared in ["/var/tmp", "/dev/shm"] {
        if Path::new(shared).is_dir() {
            scratch(shared, 0o1777)?;
        }
    }
    for (name, id) in USERS {
        append(
            "/etc/passwd",
            &format!("{name}:x:{id}:{id}:lab:/home/{name}:/bin/bash\n"),
        )?;
        append("/etc/group", &format!("{name}:x:{id}:\n"))?;
    }
    let names = format!("127.0.0.1 localhost\n{ADDRESS} labhost.example.com labhost\n");
    fs::write("/etc/hosts", names)?;
    // Names outside the lab must fail at once instead of waiting for a resolver that is not there.
    fs::write(
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    )?;
    fs::create_dir_all("/etc/systemtap")?;
    scratch("/etc/systemtap", 0o755)
}

/// Gives every user an empty home that he owns, and root too.
fn homes() -> io::Result<()> {
    fs::create_dir_all(NOTES)?;
    scratch("/home", 0o755)?;
    scratch("/root", 0o700)?;
    for (name, id) in USERS {
        for parent in ["/home", NOTES] {
            let directory = Path::new(parent).join(name);
            fs::create_dir(&directory)?;
            chown(&directory, Some(id), Some(id))?;
        }
    }
    fs::create_dir(Path::new(NOTES).join("root"))
}

/// Makes one link with multicast; its far end is ours too and stays silent.
fn network() -> io::Result<()> {
    ip("link set lo up")?;
    ip("link add lab0 type veth peer name lab1")?;
    ip(&format!("addr add {ADDRESS}/24 dev lab0"))?;
    ip("link set lab0 up")?;
    ip("link set lab1 up")
}

/// Runs `ip` with words that hold no blanks.
pub fn ip(words: &str) -> io::Result<()> {
    let status = Command::new("ip")
        .args(words.split(' '))
        .env("PATH", PATH)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("ip {words}: {status}")))
    }
}

/// Lays a writable layer over a directory of the host.
fn layer(directory: &str, options: &CStr) -> io::Result<()> {
    for part in ["upper", "work"] {
        fs::create_dir_all(format!("/run/lab{directory}/{part}"))?;
    }
    let flags = MountFlags::empty();
    rustix::mount::mount("overlay", directory, "overlay", flags, Some(options))?;
    Ok(())
}

fn scratch(directory: &str, mode: u32) -> io::Result<()> {
    rustix::mount::mount("lab", directory, "tmpfs", MountFlags::empty(), None)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
}

fn bind_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::write(to, "")?;
    rustix::mount::mount_bind(from, to)?;
    Ok(())
}

fn bind_directory(from: &Path, to: &str) -> io::Result<()> {
    fs::create_dir_all(to)?;
    rustix::mount::mount_bind(from, to)?;
    Ok(())
}

/// A server has no business writing to a target's root, whoever started it.
fn read_only(mounted: &str) -> io::Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    rustix::mount::mount_remount(mounted, flags, c"")?;
    Ok(())
}

fn append(file: &str, line: &str) -> io::Result<()> {
    let mut text = fs::read_to_string(file)?;
    text.push_str(line);
    fs::write(file, text)
}
