//! Groups on hosts where each controller has its own hierarchy, alone or beside an unified one.
//!
//! `cgroups-rs` sets the limits. It does not say when a directory could not be made and does not
//! check what it wrote, so both are done here. It knows nothing of the unified hierarchy that a
//! hybrid host has: a group there has no limits, but the kernel kills all of it at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use rustix::process::Pid;
use stap_policy::Limits;

use super::claim::{self, Claim};
use super::mounts::Mounts;
use super::traces::Purpose;
use super::{CPU_PERIOD, CgroupError, Hit, Usage, file, quota};

/// The bases of this worker.
#[derive(Debug)]
pub struct Hierarchy {
    /// In the hierarchy of the memory controller; it carries the lock.
    claim: Claim,
    pids: PathBuf,
    cpu: PathBuf,
    accounting: PathBuf,
    unified: Option<PathBuf>,
}

/// The group of one job.
#[derive(Debug)]
pub struct Group {
    memory: PathBuf,
    pids: PathBuf,
    cpu: PathBuf,
    accounting: PathBuf,
    /// Only where the kernel can kill it as a whole.
    unified: Option<PathBuf>,
}

impl Hierarchy {
    pub(super) fn claim(mounts: &Mounts, purpose: Purpose) -> Result<Self, CgroupError> {
        let parent = |name: &str| {
            mounts.controllers.get(name).ok_or_else(|| {
                CgroupError::Unavailable(format!(
                    "the kernel shows no {name} controller under /sys/fs/cgroup; mount it, or boot \
                     with the unified hierarchy"
                ))
            })
        };
        let (memory, pids) = (parent("memory")?, parent("pids")?);
        let (cpu, accounting) = (parent("cpu")?, parent("cpuacct")?);
        let unified = mounts.unified.as_ref().map(|unified| &unified.own);
        if purpose == Purpose::Work {
            let others = [pids, cpu, accounting].into_iter().chain(unified);
            // Members are killed through every hierarchy before the one with the locks goes.
            others.for_each(|parent| claim::sweep(parent, memory));
            claim::sweep(memory, memory);
        }
        let claim = Claim::below(memory).map_err(explained)?;
        let base_in = |parent: &PathBuf| parent.join(claim.name());
        let (pids, cpu, accounting) = (base_in(pids), base_in(cpu), base_in(accounting));
        let unified = unified.map(base_in);
        // From here on everything that was made goes again, whatever happens.
        let hierarchy = Self {
            claim,
            pids,
            cpu,
            accounting,
            unified,
        };
        for base in hierarchy.others() {
            // Controllers may be mounted together, then the directory is there already.
            if !base.is_dir() {
                file::create(base).map_err(explained)?;
            }
        }
        Ok(hierarchy)
    }

    /// The bases besides the one with the lock.
    fn others(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.pids, &self.cpu, &self.accounting]
            .into_iter()
            .chain(&self.unified)
    }

    pub(super) fn describe(&self) -> String {
        let kill = match &self.unified {
            Some(base) if base.join(KILL_FILE).exists() => "killed by the unified hierarchy",
            _ => "killed one by one",
        };
        let base = self.claim.base.display();
        format!("v1 controllers memory, pids and cpu below {base}; trees are {kill}")
    }

    /// Whether memory that was swapped out counts as used.
    pub(super) fn bounds_swap(&self) -> bool {
        self.claim.base.join(WITH_SWAP).exists()
    }

    pub(super) fn bases(&self) -> Vec<&Path> {
        let others = [&self.pids, &self.cpu, &self.accounting];
        let all = others.into_iter().chain(&self.unified);
        all.chain([&self.claim.base])
            .map(PathBuf::as_path)
            .collect()
    }

    pub(super) fn create(&self, name: &str, limits: &Limits) -> Result<Group, CgroupError> {
        let kills = |base: &&PathBuf| base.join(KILL_FILE).exists();
        let group = Group {
            memory: self.claim.base.join(name),
            pids: self.pids.join(name),
            cpu: self.cpu.join(name),
            accounting: self.accounting.join(name),
            unified: self
                .unified
                .as_ref()
                .filter(kills)
                .map(|base| base.join(name)),
        };
        let made = group.directories().into_iter().try_for_each(file::create);
        if let Err(error) = made.and_then(|()| group.limit(limits)) {
            // Nothing entered yet, so removing can only fail for directories that were never made.
            return group.remove().and(Err(error));
        }
        Ok(group)
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        // The one with the lock goes last.
        file::release(self.others().chain([&self.claim.base]));
    }
}

impl Group {
    fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.limit_memory(limits.memory.bytes())?;
        let processes = limits.processes.get();
        let pids = PidController::new(self.pids.clone(), false);
        let most = MaxValue::Value(i64::try_from(processes).unwrap_or(i64::MAX));
        pids.set_pid_max(most)
            .map_err(refused("the process limit"))?;
        file::confirm(&self.pids.join("pids.max"), &processes.to_string())?;
        let quota = quota(limits);
        let cpu = CpuController::new(self.cpu.clone(), false);
        cpu.set_cfs_period(CPU_PERIOD)
            .map_err(refused("the processor period"))?;
        cpu.set_cfs_quota(i64::try_from(quota).unwrap_or(i64::MAX))
            .map_err(refused("the processor share"))?;
        file::confirm(&self.cpu.join("cpu.cfs_period_us"), &CPU_PERIOD.to_string())?;
        file::confirm(&self.cpu.join("cpu.cfs_quota_us"), &quota.to_string())
    }

    fn limit_memory(&self, bytes: u64) -> Result<(), CgroupError> {
        let controller = MemController::new(self.memory.clone(), false);
        // The kernel counts in pages and rounds down.
        let bytes = bytes - bytes % rustix::param::page_size() as u64;
        let limit = i64::try_from(bytes).unwrap_or(i64::MAX);
        controller
            .set_limit(limit)
            .map_err(refused("the memory limit"))?;
        file::confirm(
            &self.memory.join("memory.limit_in_bytes"),
            &bytes.to_string(),
        )?;
        let with_swap = self.memory.join(WITH_SWAP);
        // Kernels without swap accounting have no such file; swapping is at least discouraged then.
        if with_swap.exists() {
            controller
                .set_memswap_limit(limit)
                .map_err(refused("the limit with swap"))?;
            return file::confirm(&with_swap, &bytes.to_string());
        }
        controller
            .set_swappiness(0)
            .map_err(refused("the swappiness"))?;
        file::confirm(&self.memory.join("memory.swappiness"), "0")
    }

    pub(super) fn enter(&self, process: Pid) -> Result<(), CgroupError> {
        self.directories()
            .into_iter()
            .try_for_each(|group| file::enter(group, process))
    }

    pub(super) fn kill(&self) -> Result<(), CgroupError> {
        if let Some(unified) = &self.unified {
            file::write(&unified.join(KILL_FILE), "1")?;
        }
        // A tree that is killed one by one must not grow meanwhile.
        file::write(&self.pids.join("pids.max"), "0")?;
        file::kill_members(&self.pids)
    }

    pub(super) fn is_empty(&self) -> Result<bool, CgroupError> {
        for group in self.directories() {
            if !file::members(group)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn usage(&self) -> Usage {
        let cpu = file::number(&self.accounting.join("cpuacct.usage")).unwrap_or_default();
        Usage {
            cpu: Duration::from_nanos(cpu),
            peak_memory: file::number(&self.memory.join("memory.max_usage_in_bytes")),
            peak_processes: file::number(&self.pids.join("pids.peak")),
        }
    }

    pub(super) fn hit(&self) -> Option<Hit> {
        let above_zero = |count: Option<u64>| count.is_some_and(|count| count > 0);
        if above_zero(file::counter(
            &self.memory.join("memory.oom_control"),
            "oom_kill",
        )) {
            return Some(Hit::Memory);
        }
        above_zero(file::counter(&self.pids.join("pids.events"), "max")).then_some(Hit::Processes)
    }

    pub(super) fn remove(&self) -> Result<(), CgroupError> {
        self.directories()
            .into_iter()
            .rev()
            .try_for_each(file::remove)
    }

    /// Each directory once; controllers that are mounted together share one.
    fn directories(&self) -> Vec<&Path> {
        let mut directories: Vec<&Path> = Vec::new();
        let controllers = [&self.memory, &self.pids, &self.cpu, &self.accounting];
        for group in controllers.into_iter().chain(&self.unified) {
            let same = |known: &&Path| known.parent() == group.parent();
            if !directories.iter().any(same) {
                directories.push(group);
            }
        }
        directories
    }
}

fn refused(limit: &'static str) -> impl Fn(cgroups_rs::error::Error) -> CgroupError {
    move |source| CgroupError::Library { limit, source }
}

fn explained(error: CgroupError) -> CgroupError {
    let CgroupError::Kernel { path, source, .. } = error else {
        return error;
    };
    CgroupError::Unavailable(format!(
        "{} cannot be made ({source}); start the server as root, or on a host with the unified \
         hierarchy under `systemd-run --user --scope -p Delegate=yes`",
        path.display()
    ))
}

const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
const KILL_FILE: &str = "cgroup.kill";
