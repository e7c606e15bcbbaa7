//! Runs a command in a jail by hand, to see what a job sees:
//!
//! ```text
//! cargo run -p stap-jail --example enter -- [--root DIR] [--without LAYER]... [--slot UID]
//!     [--env NAME=VALUE]... [--file NAME=PATH]... [--keep DIR] [--repeat N] -- COMMAND [ARGUMENT]...
//! ```
//!
//! `stap-jail` is expected in the directory above this program. Workspace files that the command
//! leaves in `response` are copied to the directory of `--keep`. With `--repeat`, the cost of that
//! many jails is compared with that of the host's program of the same name without one and in
//! bubblewrap, and with jails that lack a layer.

mod cost;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use stap_jail::handover::{plan_descriptor, receive_workspace};
use stap_jail::layer::Layer;
use stap_jail::plan::{
    self, GO, Identity, JailPlan, Limits, Place, View, Workspace, WorkspaceFile, descriptor,
};
use stap_jail::report::{Event, JobEnd};

#[expect(
    clippy::print_stderr,
    reason = "events are talk, stdout is the command's"
)]
fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    if let Some(times) = options.repeat {
        cost::compare(&options.plan, times)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (events, workspace) = run(&options.plan)?;
    for event in &events {
        eprintln!("{event:?}");
    }
    if let (Some(keep), Some(workspace)) = (&options.keep, workspace) {
        collect(&workspace, keep)?;
    }
    Ok(match events.last() {
        Some(Event::Ended {
            end: JobEnd::Exited(0),
            ..
        }) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Copies the plain files of `response`.
fn collect(workspace: &OwnedFd, keep: &Path) -> anyhow::Result<()> {
    let open = |name: &str, flags| {
        rustix::fs::openat(workspace, name, flags | OFlags::NOFOLLOW, Mode::empty())
    };
    for entry in Dir::read_from(open("response", OFlags::DIRECTORY)?)? {
        let entry = entry?;
        if entry.file_type() == FileType::RegularFile {
            let name = entry.file_name().to_str()?;
            let from = open(&format!("response/{name}"), OFlags::RDONLY)?;
            std::io::copy(&mut File::from(from), &mut File::create(keep.join(name))?)?;
        }
    }
    Ok(())
}

struct Options {
    plan: JailPlan,
    keep: Option<PathBuf>,
    repeat: Option<usize>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut layers = BTreeSet::from(Layer::ALL);
        let (mut root, mut slot, mut keep) = ("/".to_owned(), 64_000, None);
        let mut repeat = None;
        let (mut environment, mut files) = (Vec::new(), Vec::new());
        loop {
            let option = words
                .next()
                .context("the command is missing; it comes after --")?;
            if option == "--" {
                break;
            }
            let value = words
                .next()
                .with_context(|| format!("{option} needs a value"))?;
            let pair = || value.split_once('=').context("NAME=VALUE is expected");
            match option.as_str() {
                "--root" => root = value,
                "--without" => {
                    layers.remove(&value.parse()?);
                }
                "--slot" => slot = value.parse()?,
                "--repeat" => repeat = Some(value.parse::<usize>()?.max(1)),
                "--keep" => keep = Some(value.into()),
                "--env" => environment.push(pair().map(|(n, v)| (n.to_owned(), v.to_owned()))?),
                "--file" => files.push(WorkspaceFile {
                    path: pair()?.0.try_into()?,
                    content: std::fs::read(pair()?.1)?,
                }),
                _ => bail!("unknown option {option}"),
            }
        }
        let program = words.next().context("the command is missing")?;
        let identity = if rustix::process::geteuid().is_root() {
            Identity::Slot {
                uid: slot,
                gid: slot,
            }
        } else {
            layers.remove(&Layer::SlotUid);
            Identity::Keep
        };
        let plan = JailPlan {
            layers,
            landlock_floor: 1,
            identity,
            view: View {
                root: root.as_str().try_into()?,
                binds: Vec::new(),
            },
            workspace: Workspace {
                place: Place::Tmpfs {
                    bytes: 256 << 20,
                    inodes: 16_384,
                },
                files,
                links: Vec::new(),
            },
            limits: LIMITS,
            command: plan::Command {
                program: program.as_str().try_into()?,
                arguments: words.map(String::into_bytes).collect(),
                environment,
                directory: "/work/response".try_into()?,
            },
        };
        Ok(Self { plan, keep, repeat })
    }
}

fn run(plan: &JailPlan) -> anyhow::Result<(Vec<Event>, Option<OwnedFd>)> {
    let (theirs, lifeline) = pipe_with(PipeFlags::CLOEXEC)?;
    let (status, events) = pipe_with(PipeFlags::CLOEXEC)?;
    let kind = SocketType::STREAM;
    let (collector, workspace) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let own = std::env::current_exe()?;
    let directory = own
        .parent()
        .and_then(|examples| examples.parent())
        .context("no directory")?;
    let mut command = Command::new(directory.join("stap-jail"));
    let handed = [
        (plan_descriptor(plan)?, descriptor::PLAN),
        (theirs, descriptor::LIFELINE),
        (events, descriptor::STATUS),
        (workspace, descriptor::WORKSPACE),
    ];
    let mappings = handed.map(|(parent_fd, child_fd)| FdMapping {
        parent_fd,
        child_fd,
    });
    let mut launcher = command
        .fd_mappings(mappings.into())?
        .stdin(Stdio::null())
        .spawn()?;
    drop(command);
    let mut lifeline = File::from(lifeline);
    lifeline.write_all(&[GO])?;
    let mut bytes = Vec::new();
    File::from(status).read_to_end(&mut bytes)?;
    let mut seen = Vec::new();
    while let Some(event) = Event::take(&mut bytes)? {
        seen.push(event);
    }
    launcher.wait()?;
    Ok((seen, receive_workspace(collector)?))
}

/// Enough for the largest build.
const LIMITS: Limits = Limits {
    open_files: 1024,
    processes: 128,
    file_bytes: 128 << 20,
    cpu: Duration::from_secs(300),
    address_space: None,
};
