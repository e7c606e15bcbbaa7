//! Places in the tree of groups where a server may find itself, made as systemd makes them.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use anyhow::Context as _;
use rustix::fs::XattrFlags;
use serde_json::{Value, json};

use crate::{COORDINATE, own_program, victim};

/// One place.
struct Situation {
    name: &'static str,
    user: u32,
    /// The groups on the way to the server's own one, from the top.
    groups: &'static [Place],
    /// Whether somebody else is in the server's own one, such as the shell that it was started from.
    is_shared: bool,
    /// The group that the driver has to use, or none.
    expected: Option<&'static str>,
}

/// One group.
struct Place {
    path: &'static str,
    /// Whom it is handed to.
    owner: u32,
    /// How systemd marks it.
    mark: Option<&'static str>,
    /// Whether its own children have limits. systemd does this for the groups that it manages.
    is_inner: bool,
}

/// Where nothing more is done by hand than systemd does.
const SITUATIONS: &[Situation] = &[
    Situation {
        name: "root, outside of every unit",
        user: ROOT,
        groups: &[],
        is_shared: false,
        expected: Some(""),
    },
    Situation {
        name: "root, in a unit with Delegate=",
        user: ROOT,
        groups: &[marked("root.service", ROOT, "trusted.delegate")],
        is_shared: false,
        expected: Some("root.service"),
    },
    Situation {
        name: "a user, in a unit with Delegate= and DelegateSubgroup=",
        user: USER,
        groups: &[
            marked("sub.service", USER, "user.delegate"),
            plain("sub.service/coordinator", USER),
        ],
        is_shared: false,
        expected: Some("sub.service"),
    },
    Situation {
        name: "a user, in a group that was given away by chown",
        user: USER,
        groups: &[plain("given", USER)],
        is_shared: false,
        expected: Some("given"),
    },
    Situation {
        name: "a user, in a scope of a slice of systemd --user, which marks nothing",
        user: USER,
        groups: &[inner("app.slice", USER), plain("app.slice/run.scope", USER)],
        is_shared: false,
        expected: Some("app.slice/run.scope"),
    },
    Situation {
        name: "a user, in a service of systemd --user with DelegateSubgroup=",
        user: USER,
        groups: &[
            inner("own.slice", USER),
            plain("own.slice/own.service", USER),
            plain("own.slice/own.service/coordinator", USER),
        ],
        is_shared: false,
        expected: Some("own.slice/own.service"),
    },
    Situation {
        name: "a user, in a marked unit that he shares with a shell",
        user: USER,
        groups: &[marked("shared.service", USER, "user.delegate")],
        is_shared: true,
        expected: Some("shared.service"),
    },
    Situation {
        name: "a user, in a group of his terminal's",
        user: USER,
        groups: &[
            inner("terminal.slice", USER),
            plain("terminal.slice/terminal.scope", USER),
        ],
        is_shared: true,
        expected: None,
    },
    Situation {
        name: "a user, without any group of his own",
        user: USER,
        groups: &[plain("foreign", ROOT)],
        is_shared: false,
        expected: None,
    },
];

const fn plain(path: &'static str, owner: u32) -> Place {
    Place {
        path,
        owner,
        mark: None,
        is_inner: false,
    }
}

const fn inner(path: &'static str, owner: u32) -> Place {
    Place {
        is_inner: true,
        ..plain(path, owner)
    }
}

const fn marked(path: &'static str, owner: u32, mark: &'static str) -> Place {
    Place {
        mark: Some(mark),
        ..plain(path, owner)
    }
}

/// Tries each situation and prints what was found.
#[expect(clippy::print_stdout, reason = "the result of this program")]
pub(crate) fn try_all() -> anyhow::Result<ExitCode> {
    fs::create_dir_all(SCRATCH)?;
    limit_children(Path::new(MOUNT))?;
    let tried: Vec<_> = SITUATIONS
        .iter()
        .map(Situation::attempt)
        .collect::<Result<_, _>>()?;
    println!("{}", Value::from(tried));
    Ok(ExitCode::SUCCESS)
}

impl Situation {
    fn attempt(&self) -> anyhow::Result<Value> {
        let mut own = PathBuf::from(MOUNT);
        for place in self.groups {
            own = place
                .make()
                .with_context(|| format!("making {}", place.path))?;
        }
        let shell = self.is_shared.then(|| self.shell(&own)).transpose()?;
        let expected = self
            .expected
            .map(|group| Path::new(MOUNT).join(group).display().to_string());
        let mut server = own_program()?
            .args([COORDINATE, expected.as_deref().unwrap_or_default()])
            .uid(self.user)
            .gid(self.user)
            .current_dir(SCRATCH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        fs::write(own.join("cgroup.procs"), server.id().to_string())?;
        drop(server.stdin.take());
        let output = server.wait_with_output()?;
        if let Some(mut shell) = shell {
            shell.kill()?;
            shell.wait()?;
        }
        let found: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{}: {}", self.name, output.status))?;
        Ok(json!({ "situation": self.name, "user": self.user, "found": found }))
    }

    /// A process of the user's that was in the group before the server.
    fn shell(&self, group: &Path) -> anyhow::Result<Child> {
        let shell = own_program()?
            .arg(victim::HOLD)
            .uid(self.user)
            .gid(self.user)
            .spawn()?;
        fs::write(group.join("cgroup.procs"), shell.id().to_string())?;
        Ok(shell)
    }
}

impl Place {
    fn make(&self) -> anyhow::Result<PathBuf> {
        let group = Path::new(MOUNT).join(self.path);
        fs::create_dir(&group)?;
        for file in ["", "cgroup.procs", "cgroup.threads", CONTROL] {
            chown(group.join(file), Some(self.owner), Some(self.owner))?;
        }
        if let Some(mark) = self.mark {
            rustix::fs::setxattr(&group, mark, b"1", XattrFlags::empty())?;
        }
        if self.is_inner {
            limit_children(&group)?;
        }
        Ok(group)
    }
}

fn limit_children(group: &Path) -> anyhow::Result<()> {
    Ok(fs::write(group.join(CONTROL), "+memory +pids +cpu")?)
}

const ROOT: u32 = 0;
const USER: u32 = 12345;
const MOUNT: &str = "/sys/fs/cgroup";
const CONTROL: &str = "cgroup.subtree_control";
const SCRATCH: &str = "/tmp";
