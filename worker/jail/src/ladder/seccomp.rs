//! The system calls that the job has left.
//!
//! Three answers, in this order. Calls for which "not permitted" is the truth that a person should
//! read get it. Those that compiles make are made. Of all others this kernel says that it does not
//! have them, which is what C libraries fall back from.

mod calls;

use libc::c_long;
use stap_filter::{Answer, Filter, Is};

use self::calls::{
    ABOUT_ITSELF, ALLOWED, ALLOWED_HERE, ASYNC, HUGE_PAGES, NAMESPACE_FLAGS, REACHING, REFUSED,
    RESETTING, SET_FLAGS, TERMINAL_QUERIES, UNCHANGED,
};
use super::{Climb, Fault};
use crate::layer::Layer;

pub(super) fn filter(climb: &mut Climb) -> Result<(), Fault> {
    the_jobs().enforce().map_err(refused)?;
    climb.hold(
        Layer::Seccomp,
        format!("{} system calls are left", allowed().count()),
    );
    Ok(())
}

/// `clone3` is in no list: its flags lie in memory where no filter can look, and without it `clone`
/// is used.
fn the_jobs() -> Filter {
    let refused = Answer::Refuse(libc::EPERM);
    let filter = Filter::otherwise(Answer::Refuse(libc::ENOSYS))
        .answer(refused, REFUSED.iter().copied())
        .answer_when(
            refused,
            libc::SYS_mmap,
            &[&[Is::masked(3, HUGE_PAGES, HUGE_PAGES)]],
        )
        .answer_when(
            refused,
            libc::SYS_fcntl,
            &[&[Is::equal(1, SET_FLAGS), Is::masked(2, ASYNC, ASYNC)]],
        );
    let filter = each(filter, refused, libc::SYS_fcntl, REACHING, |command| {
        Is::equal(1, command)
    });
    let filter = each(filter, refused, libc::SYS_clone, NAMESPACE_FLAGS, |flag| {
        Is::masked(0, flag, flag)
    })
    .answer(Answer::Allow, allowed());
    // On a terminal or device other requests would be a way out of the jail.
    let filter = each(
        filter,
        Answer::Allow,
        libc::SYS_ioctl,
        TERMINAL_QUERIES,
        |request| Is::equal(1, request),
    );
    let filter = each(
        filter,
        Answer::Allow,
        libc::SYS_prctl,
        ABOUT_ITSELF,
        |what| Is::equal(0, what),
    );
    let filter = RESETTING.into_iter().fold(filter, |filter, call| {
        let resets = [Is::equal(0, UNCHANGED), Is::equal(2, UNCHANGED)];
        filter.answer_when(Answer::Allow, call, &[&resets])
    });
    filter
        .answer(refused, RESETTING)
        // Of other processes' limits only pid 1's could be meant, and lowering those would end the
        // jail.
        .answer_when(
            Answer::Allow,
            libc::SYS_prlimit64,
            &[&[Is::equal(0, OWN_PROCESS)]],
        )
        .answer(Answer::Refuse(libc::EINVAL), [libc::SYS_prctl])
}

/// Gives one answer for each of several values.
fn each<const N: usize>(
    filter: Filter,
    answer: Answer,
    call: c_long,
    values: [u32; N],
    is: impl Fn(u32) -> Is,
) -> Filter {
    values.into_iter().fold(filter, |filter, value| {
        filter.answer_when(answer, call, &[&[is(value)]])
    })
}

pub(crate) fn allowed() -> impl Iterator<Item = c_long> {
    ALLOWED.iter().chain(ALLOWED_HERE).copied()
}

fn refused(cause: impl std::error::Error) -> Fault {
    Fault::unfit(format!("filtering system calls: {cause}"))
}

/// How `prlimit64` calls the process that makes the call.
const OWN_PROCESS: u32 = 0;

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
}
