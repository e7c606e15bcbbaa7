//! The system calls that the job has left.
//!
//! Two filters, because one has one answer. The first knows the calls that compiles make and says
//! to all others that this kernel does not have them, which is what C libraries fall back from. The
//! second says "not permitted" to calls where that is the truth a person should read. Where both
//! object, the kernel takes the answer of the one installed last.

mod calls;

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use self::calls::{ALLOWED, ALLOWED_HERE, HUGE_PAGES, NAMESPACE_FLAGS, REFUSED, TERMINAL_QUERIES};
use super::{Climb, Fault};
use crate::layer::Layer;

pub(super) fn filter(climb: &mut Climb) -> Result<(), Fault> {
    let Ok(machine) = TargetArch::try_from(std::env::consts::ARCH) else {
        let machine = std::env::consts::ARCH;
        return Err(Fault::unfit(format!(
            "there is no system call filter for {machine} yet"
        )));
    };
    // Compiled before the first is in force, since nothing may fail for want of a call between.
    let filters = [known_calls(machine), refused_calls(machine)];
    for filter in filters {
        let program = filter.map_err(refused)?;
        seccompiler::apply_filter(&program).map_err(refused)?;
    }
    climb.hold(
        Layer::Seccomp,
        format!("{} system calls are left", allowed().count()),
    );
    Ok(())
}

/// Allows what is listed; anything else does not exist. `clone3` is not listed: its flags lie in
/// memory where no filter can look, and without it `clone` is used.
fn known_calls(machine: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<_, _> = allowed().map(|call| (call, Vec::new())).collect();
    // On a terminal or device other requests would be a way out of the jail.
    rules.insert(
        libc::SYS_ioctl,
        any_of(1, &SeccompCmpOp::Eq, TERMINAL_QUERIES)?,
    );
    // Of other processes' limits only pid 1's could be meant, and lowering those would end the jail.
    rules.insert(
        libc::SYS_prlimit64,
        any_of(0, &SeccompCmpOp::Eq, &[OWN_PROCESS])?,
    );
    // For the installation of the second filter, which then refuses it to the job.
    rules.insert(libc::SYS_seccomp, Vec::new());
    let absent = SeccompAction::Errno(errno(libc::ENOSYS));
    Ok(SeccompFilter::new(rules, absent, SeccompAction::Allow, machine)?.try_into()?)
}

fn allowed() -> impl Iterator<Item = c_long> {
    ALLOWED.iter().chain(ALLOWED_HERE).copied()
}

fn refused_calls(machine: TargetArch) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<_, _> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let mut with_namespace = Vec::new();
    for flag in NAMESPACE_FLAGS.iter().copied() {
        with_namespace.extend(any_of(0, &SeccompCmpOp::MaskedEq(flag), &[flag])?);
    }
    rules.insert(libc::SYS_clone, with_namespace);
    let huge = SeccompCmpOp::MaskedEq(HUGE_PAGES);
    rules.insert(libc::SYS_mmap, any_of(3, &huge, &[HUGE_PAGES])?);
    let refused = SeccompAction::Errno(errno(libc::EPERM));
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refused, machine)?.try_into()?)
}

/// One rule for each value that an argument of 32 bits may have.
fn any_of(
    argument: u8,
    compare: &SeccompCmpOp,
    values: &[u64],
) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let rule = |value: &u64| {
        let width = SeccompCmpArgLen::Dword;
        let condition = SeccompCondition::new(argument, width, compare.clone(), *value)?;
        Ok(SeccompRule::new(vec![condition])?)
    };
    values.iter().map(rule).collect()
}

fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

fn refused(cause: impl std::error::Error) -> Fault {
    Fault::unfit(format!("filtering system calls: {cause}"))
}

/// How `prlimit64` calls the process that makes the call.
const OWN_PROCESS: u64 = 0;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        let allowed: BTreeSet<_> = ALLOWED.iter().collect();
        let refused: BTreeSet<_> = REFUSED.iter().collect();
        assert_eq!(allowed.intersection(&refused).count(), 0);
        assert_eq!(
            (allowed.len(), refused.len()),
            (ALLOWED.len(), REFUSED.len())
        );
    }

    #[test]
    fn calls_whose_effect_no_filter_can_see_are_not_allowed() {
        for call in [
            libc::SYS_clone3,
            libc::SYS_io_uring_enter,
            libc::SYS_execveat,
        ] {
            assert!(allowed().all(|known| known != call), "{call}");
        }
    }

    #[test]
    fn filters_compile_for_every_machine_that_has_one() {
        for machine in [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64] {
            assert!(known_calls(machine).unwrap().len() > ALLOWED.len());
            assert!(refused_calls(machine).unwrap().len() > REFUSED.len());
        }
    }
}
