//! A second fence around the same ground: what the plan grants, by file and by right, and nothing
//! else that Landlock can govern.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};

use super::{Climb, Fault, devices, huge_pages, root};
use crate::layer::Layer;
use crate::plan::{Access, JailPlan, Place, VISIBLE, VISIBLE_ETC};
use crate::probe::LANDLOCK_ABI;

/// The newest ABI that this program knows. The kernel's own may be older; what it cannot govern is
/// left out, and the plan's floor decides whether that is still enough.
const NEWEST: ABI = ABI::V10;

pub(super) fn restrict(climb: &mut Climb) -> Result<(), Fault> {
    let mut ruleset = ruleset().map_err(refused)?;
    for grant in grants(&climb.plan) {
        ruleset = add(ruleset, &grant)?;
    }
    // The promise has a rung of its own; asking again would hide that it was left out.
    let status = ruleset
        .no_new_privs(false)
        .restrict_self()
        .map_err(refused)?;
    let detail = judge(&status, climb.plan.landlock_floor)?;
    climb.hold(Layer::Landlock, detail);
    Ok(())
}

fn ruleset() -> Result<RulesetCreated, landlock::RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}

/// Looks at what the kernel really enforces: best effort includes nothing at all.
fn judge(status: &RestrictionStatus, floor: u32) -> Result<String, Fault> {
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Err(Fault::unfit(
            "this kernel has no Landlock, or it is switched off at boot",
        ));
    };
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(Fault::unfit(
            "the kernel has Landlock and enforces nothing of it",
        ));
    }
    let abi = effective_abi as u32;
    if abi < floor {
        let weak = format!("this kernel's Landlock ABI is {abi}; the policy asks for {floor}");
        return Err(Fault::unfit(weak));
    }
    Ok(format!("{LANDLOCK_ABI}{abi}"))
}

struct Grant {
    path: PathBuf,
    rights: BitFlags<AccessFs>,
}

/// All that the job may touch, by the paths it knows.
fn grants(plan: &JailPlan) -> Vec<Grant> {
    let grant = |path: &Path, rights| Grant {
        path: path.to_owned(),
        rights,
    };
    let etc = VISIBLE_ETC.map(|name| format!("etc/{name}"));
    let visible = VISIBLE.into_iter().chain(etc.iter().map(String::as_str));
    let mut grants: Vec<_> = visible
        .map(|name| grant(&Path::new("/").join(name), read_only(root::access_of(name))))
        .collect();
    let binds = plan.view.binds.iter();
    grants.extend(binds.map(|bind| grant(bind.target.as_path(), read_only(bind.access))));
    grants.extend(devices::DEVICES.map(|(name, ..)| grant(&Path::new("/dev").join(name), DEVICE)));
    grants.extend(plan.workspace_path().map(|path| grant(path, WORKSPACE)));
    if matches!(plan.workspace.place, Place::Tmpfs { .. }) {
        // The kernel sees the mounted `tmp` as a place of its own.
        grants.push(grant(Path::new("/tmp"), WORKSPACE));
        let facts = huge_pages::paths().map(|path| format!("/{path}"));
        for file in ["/etc/passwd", "/etc/group"]
            .into_iter()
            .chain(facts.iter().map(String::as_str))
        {
            grants.push(grant(Path::new(file), read_only(Access::Read)));
        }
    }
    if plan.wants(Layer::Proc) {
        grants.push(grant(Path::new("/proc"), read_only(Access::Read)));
    }
    grants
}

fn add(ruleset: RulesetCreated, grant: &Grant) -> Result<RulesetCreated, Fault> {
    // What a root does not have needs no right; a path that is missing by mistake stays closed.
    let Ok(path) = PathFd::new(&grant.path) else {
        return Ok(ruleset);
    };
    let rights = if grant.path.is_dir() {
        grant.rights
    } else {
        grant.rights & OF_FILES
    };
    ruleset
        .add_rule(PathBeneath::new(path, rights))
        .map_err(refused)
}

fn read_only(access: Access) -> BitFlags<AccessFs> {
    match access {
        Access::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
        Access::ReadExecute => make_bitflags!(AccessFs::{ReadFile | ReadDir | Execute}),
    }
}

fn refused(cause: impl std::error::Error) -> Fault {
    Fault::unfit(format!("restricting with Landlock: {cause}"))
}

const DEVICE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
/// No links, sockets or devices, nothing executable, and no moving of files between directories
/// that are granted differently. The FIFO is make's job server.
const WORKSPACE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeFifo | RemoveFile | RemoveDir
});
const OF_FILES: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate | Execute});
