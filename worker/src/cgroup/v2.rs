//! Groups in the unified hierarchy, below a group that was delegated to us.
//!
//! The kernel does not let a group have both processes and controllers for its children. So whoever
//! is delegated a group must first leave it for a leaf below. systemd does that for a unit with
//! `DelegateSubgroup=`; everywhere else it is done here, for the worker and the coordinator that
//! started it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;
use stap_policy::Limits;

use super::claim::{self, Claim};
use super::mounts::Unified;
use super::traces::{Purpose, Traces};
use super::{CPU_PERIOD, CgroupError, Hit, Usage, file, quota};

/// The base of this worker.
#[derive(Debug)]
pub struct Hierarchy {
    claim: Claim,
    /// What to take back at the end of a trial.
    traces: Traces,
}

/// The group of one job.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
}

impl Hierarchy {
    /// Takes the first group that can be used: the unit's, our own, and as root the topmost.
    pub(super) fn claim(unified: &Unified, purpose: Purpose) -> Result<Self, CgroupError> {
        let mut reasons = Vec::new();
        for candidate in Candidate::of(unified) {
            let mut traces = Traces::default();
            let prepared = candidate.prepare(&mut traces);
            match prepared.and_then(|parent| Self::claim_below(&parent, purpose)) {
                Ok(claim) if purpose == Purpose::Trial => return Ok(Self { claim, traces }),
                Ok(claim) => {
                    let traces = Traces::default();
                    return Ok(Self { claim, traces });
                }
                Err(error) => reasons.push(sentence(&error)),
            }
            // What was changed for nothing need not stay.
            traces.take_back();
        }
        let tried = if reasons.is_empty() {
            String::new()
        } else {
            reasons.join("; ") + "; "
        };
        Err(CgroupError::Unavailable(format!(
            "{tried}no group of this user's can be used; start the server from a unit with \
             Delegate=yes, or by `systemd-run --user --scope -p Delegate=yes stap-serverd ...`"
        )))
    }

    fn claim_below(parent: &Path, purpose: Purpose) -> Result<Claim, CgroupError> {
        if purpose == Purpose::Work {
            claim::sweep(parent, parent);
        }
        let claim = Claim::below(parent)?;
        // The base is ours and goes as a whole.
        let enabled = enable_controllers(&claim.base, &mut Traces::default());
        if let Err(error) = enabled {
            file::release([&claim.base].into_iter());
            return Err(error);
        }
        Ok(claim)
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "v2 controllers memory, pids and cpu below {}",
            self.claim.base.display()
        )
    }

    /// Whether swapping is limited, too.
    pub(super) fn bounds_swap(&self) -> bool {
        self.claim.base.join(SWAP).exists()
    }

    pub(super) fn bases(&self) -> Vec<&Path> {
        vec![&self.claim.base]
    }

    pub(super) fn create(&self, name: &str, limits: &Limits) -> Result<Group, CgroupError> {
        let group = Group {
            directory: self.claim.base.join(name),
        };
        file::create(&group.directory)?;
        if let Err(error) = group.limit(limits) {
            return group.remove().and(Err(error));
        }
        Ok(group)
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        file::release([&self.claim.base].into_iter());
        self.traces.take_back();
    }
}

/// A group that may become the parent of the base.
#[derive(Debug, PartialEq, Eq)]
enum Candidate {
    /// Nobody is in it.
    Empty(PathBuf),
    /// We are, and must leave it for a leaf.
    Ours(PathBuf),
}

impl Candidate {
    /// What systemd marked comes before what merely belongs to this user. A user's manager marks
    /// nothing, so below it the name has to tell: a slice, or the manager's own unit, belongs to the
    /// user as well and is the manager's to arrange.
    fn of(unified: &Unified) -> Vec<Self> {
        let own = &unified.own;
        let unit = own.parent().filter(|_| *own != unified.mount);
        let unit = unit.map(|unit| Self::Empty(unit.to_owned()));
        let unit = unit.filter(|unit| unit.is_marked() || (unit.is_owned() && !unit.is_arranged()));
        let own = Some(Self::Ours(own.clone()));
        let own = own.filter(|own| own.is_marked() || own.is_owned());
        let mut candidates: Vec<_> = unit.into_iter().chain(own).collect();
        candidates.sort_by_key(|candidate| !candidate.is_marked());
        if rustix::process::geteuid().is_root() {
            candidates.push(Self::Empty(unified.mount.clone()));
        }
        candidates
    }

    fn directory(&self) -> &Path {
        let (Self::Empty(directory) | Self::Ours(directory)) = self;
        directory
    }

    /// systemd marks what it delegates: for root in one way, and for everybody in another.
    fn is_marked(&self) -> bool {
        let marked = |name: &str| {
            let mut value = [0; 1];
            let length = rustix::fs::getxattr(self.directory(), name, &mut value);
            matches!(length, Ok(1)) && value == *b"1"
        };
        marked("trusted.delegate") || marked("user.delegate")
    }

    /// For an ordinary user, owning a group says that somebody delegated it. Root owns them all.
    fn is_owned(&self) -> bool {
        let user = rustix::process::geteuid();
        let belongs = |metadata: std::fs::Metadata| metadata.uid() == user.as_raw();
        !user.is_root() && self.directory().metadata().is_ok_and(belongs)
    }

    /// Whether the groups below this one are made by a manager, as its name says.
    fn is_arranged(&self) -> bool {
        let name = self.directory().file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        name.ends_with(".slice") || name.starts_with("user@")
    }

    fn prepare(self, traces: &mut Traces) -> Result<PathBuf, CgroupError> {
        let is_marked = self.is_marked();
        let directory = match self {
            Self::Empty(directory) => directory,
            Self::Ours(directory) => {
                leave_for_leaf(&directory, is_marked, traces)?;
                directory
            }
        };
        enable_controllers(&directory, traces)?;
        Ok(directory)
    }
}

/// Moves the coordinator and this process out of the way, with what else the coordinator has started,
/// such as the signer, and `stap-start-server`, which waits for them; and in a group that systemd marked whoever else is there, such as the shell in which somebody
/// started all this. Elsewhere strangers stay: nobody said that the group is ours to arrange.
fn leave_for_leaf(group: &Path, is_marked: bool, traces: &mut Traces) -> Result<(), CgroupError> {
    let leaf = group.join(LEAF);
    if !leaf.is_dir() {
        file::create(&leaf)?;
        traces.made(&leaf);
    }
    let ours = [rustix::process::getppid(), Some(rustix::process::getpid())];
    let present = file::members(group)?;
    let movable = ours
        .into_iter()
        .flatten()
        .filter(|process| present.contains(process));
    for process in movable {
        file::enter(&leaf, process)?;
        traces.moved(group, process);
    }
    let may_move = |process| is_marked || is_sibling(process) || is_starter(process);
    clear_out(group, &leaf, may_move, traces)?;
    let strangers = file::members(group)?;
    if strangers.is_empty() {
        return Ok(());
    }
    let pids: Vec<_> = strangers.iter().map(ToString::to_string).collect();
    Err(CgroupError::Unavailable(format!(
        "{} also holds processes that are none of ours ({}), such as a shell",
        group.display(),
        pids.join(", ")
    )))
}

/// Moves the members of a group to another that may be moved. What is born meanwhile is met in the
/// next round.
fn clear_out(
    group: &Path,
    leaf: &Path,
    may_move: impl Fn(Pid) -> bool,
    traces: &mut Traces,
) -> Result<(), CgroupError> {
    for _ in 0..ROUNDS {
        let mut present = file::members(group)?;
        present.retain(|process| may_move(*process));
        if present.is_empty() {
            break;
        }
        for process in present {
            // One that has ended is not there afterwards, nor is it in the way.
            match file::enter(leaf, process) {
                Ok(()) => traces.moved(group, process),
                Err(error) => tracing::debug!(%error, "a process could not be moved"),
            }
        }
    }
    Ok(())
}

/// Whether a process was started by the coordinator, as this one was. Its program cannot be asked for: the
/// signer is hidden from its own user.
fn is_sibling(process: Pid) -> bool {
    let coordinator = rustix::process::getppid().filter(|parent| !parent.is_init());
    coordinator.is_some() && parent(process) == coordinator
}

fn parent(process: Pid) -> Option<Pid> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

/// Whether a process is our program that starts servers and waits until they serve.
fn is_starter(process: Pid) -> bool {
    let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let starter = program("self").map(|own| own.with_file_name("stap-start-server"));
    starter.is_some() && program(&process.as_raw_nonzero().to_string()) == starter
}

/// Gives the children of a group their limits. The kernel takes one controller at a time, so that a
/// refusal names the one that is missing.
fn enable_controllers(group: &Path, traces: &mut Traces) -> Result<(), CgroupError> {
    let control = group.join("cgroup.subtree_control");
    let enabled = file::read(&control)?;
    for controller in CONTROLLERS {
        if !enabled.split_whitespace().any(|name| name == controller) {
            file::write(&control, &format!("+{controller}"))?;
            traces.enabled(&control, controller);
        }
    }
    let found = file::read(&control)?.trim().to_owned();
    if CONTROLLERS
        .iter()
        .all(|wanted| found.split_whitespace().any(|name| name == *wanted))
    {
        return Ok(());
    }
    Err(CgroupError::NotInForce {
        path: control,
        wanted: CONTROLLERS.join(" "),
        found,
    })
}

impl Group {
    fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        // A threaded group would take the limits of memory from its parent without a word.
        file::confirm(&self.file("cgroup.type"), "domain")?;
        let memory = limits.memory.bytes();
        let memory = memory - memory % rustix::param::page_size() as u64;
        file::set(&self.file("memory.max"), &memory.to_string())?;
        if self.file(SWAP).exists() {
            file::set(&self.file(SWAP), "0")?;
        }
        // A compile that lost one process to the limit is lost as a whole, and quickly.
        file::set(&self.file("memory.oom.group"), "1")?;
        file::set(&self.file("pids.max"), &limits.processes.to_string())?;
        file::set(
            &self.file("cpu.max"),
            &format!("{} {CPU_PERIOD}", quota(limits)),
        )
    }

    pub(super) fn enter(&self, process: Pid) -> Result<(), CgroupError> {
        file::enter(&self.directory, process)
    }

    pub(super) fn kill(&self) -> Result<(), CgroupError> {
        let kill = self.file("cgroup.kill");
        if kill.exists() {
            return file::write(&kill, "1");
        }
        file::write(&self.file("pids.max"), "0")?;
        file::kill_members(&self.directory)
    }

    pub(super) fn is_empty(&self) -> Result<bool, CgroupError> {
        let events = self.file("cgroup.events");
        match file::counter(&events, "populated") {
            Some(populated) => Ok(populated == 0),
            None => file::members(&self.directory).map(|members| members.is_empty()),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let cpu = file::counter(&self.file("cpu.stat"), "usage_usec").unwrap_or_default();
        Usage {
            cpu: Duration::from_micros(cpu),
            peak_memory: file::number(&self.file("memory.peak")),
            peak_processes: file::number(&self.file("pids.peak")),
        }
    }

    pub(super) fn hit(&self) -> Option<Hit> {
        let above_zero = |count: Option<u64>| count.is_some_and(|count| count > 0);
        if above_zero(file::counter(&self.file("memory.events"), "oom_kill")) {
            return Some(Hit::Memory);
        }
        above_zero(file::counter(&self.file("pids.events"), "max")).then_some(Hit::Processes)
    }

    pub(super) fn remove(&self) -> Result<(), CgroupError> {
        file::remove(&self.directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn sentence(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", sentence(source)),
        None => error.to_string(),
    }
}

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
const SWAP: &str = "memory.swap.max";
const LEAF: &str = "stap-server";
/// A shell starts one process after the other; nobody who starts them faster than that shares a
/// group with a server.
const ROUNDS: usize = 8;
