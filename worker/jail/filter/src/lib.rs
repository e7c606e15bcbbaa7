//! Filters of system calls, for every program here that gives some up.
//!
//! A filter is a list of answers in order; the first that applies to a call is the kernel's. What
//! calls a program needs is that program's matter. `seccompiler` turns names and conditions into
//! instructions; this crate makes one program of them, because that library gives a filter a single
//! answer, and because the kernel tries each filter on every call that there is when it is
//! installed, so that the length of the way through it is most of its price.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod program;

use std::collections::BTreeMap;

use libc::c_long;
use rustix::thread::SecureComputingMode;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, TargetArch,
};

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Makes it.
    Allow,
    /// Does nothing and returns this error.
    Refuse(i32),
    /// Ends the process at once.
    Kill,
}

/// What 32 bits of an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Is {
    argument: u8,
    mask: u32,
    value: u32,
}

/// Answers to system calls, in order.
#[derive(Clone, Debug)]
pub struct Filter {
    steps: Vec<Step>,
    otherwise: Answer,
}

/// Calls that have the same answer, each with the cases in which it has it; no case means always.
#[derive(Clone, Debug)]
struct Step {
    answer: Answer,
    calls: BTreeMap<c_long, Vec<SeccompRule>>,
}

/// Why a filter is not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Nobody has written down how this machine numbers its calls.
    #[error("there is no system call filter for {0} yet")]
    Machine(&'static str),
    /// It cannot be written down.
    #[error("the filter cannot be compiled")]
    Compile(#[from] seccompiler::BackendError),
    /// The kernel has no filters, or refuses this one.
    #[error("the kernel does not take the filter: {0}")]
    Install(#[from] seccompiler::Error),
    /// The kernel took it and says that there is none.
    #[error("the kernel took the filter and does not use it")]
    NotInForce,
}

impl Is {
    /// The argument, counted from 0, is `value`.
    #[must_use]
    pub const fn equal(argument: u8, value: u32) -> Self {
        Self::masked(argument, u32::MAX, value)
    }

    /// The bits of `mask` in the argument, counted from 0, are those of `value`.
    #[must_use]
    pub const fn masked(argument: u8, mask: u32, value: u32) -> Self {
        Self {
            argument,
            mask,
            value,
        }
    }

    fn condition(self) -> SeccompCondition {
        let mask = SeccompCmpOp::MaskedEq(u64::from(self.mask));
        let width = SeccompCmpArgLen::Dword;
        SeccompCondition::new(self.argument, width, mask, u64::from(self.value))
            .expect("calls have six arguments, and the program names one of them")
    }
}

impl Filter {
    /// A filter with one answer to everything.
    #[must_use]
    pub const fn otherwise(otherwise: Answer) -> Self {
        Self {
            steps: Vec::new(),
            otherwise,
        }
    }

    /// Gives `answer` to `calls`, unless an earlier step answers.
    #[must_use]
    pub fn answer(mut self, answer: Answer, calls: impl IntoIterator<Item = c_long>) -> Self {
        let step = self.step(answer);
        step.calls
            .extend(calls.into_iter().map(|call| (call, Vec::new())));
        self
    }

    /// Gives `answer` to `call` where all conditions of one of the cases hold, unless an earlier step
    /// answers.
    #[must_use]
    pub fn answer_when(mut self, answer: Answer, call: c_long, cases: &[&[Is]]) -> Self {
        let rules = cases.iter().map(|case| {
            let conditions = case.iter().map(|is| is.condition()).collect();
            SeccompRule::new(conditions).expect("a case has conditions")
        });
        let rules: Vec<_> = rules.collect();
        let step = self.step(answer);
        match step.calls.get_mut(&call) {
            None => {
                step.calls.insert(call, rules);
            }
            Some(always) if always.is_empty() => {}
            Some(known) => known.extend(rules),
        }
        self
    }

    /// Puts the filter in force for this thread and all that it starts. The caller has promised no
    /// new privileges, or does so by this. The filter must allow the question whether it is in force
    /// (`prctl` with `PR_GET_SECCOMP`).
    ///
    /// # Errors
    /// When it is not in force.
    pub fn enforce(self) -> Result<(), FilterError> {
        let machine = TargetArch::try_from(std::env::consts::ARCH)
            .map_err(|_unknown| FilterError::Machine(std::env::consts::ARCH))?;
        let program = program::compile(&self, machine)?;
        seccompiler::apply_filter(&program)?;
        match rustix::thread::secure_computing_mode() {
            Ok(SecureComputingMode::Filter) => Ok(()),
            _ => Err(FilterError::NotInForce),
        }
    }

    /// The last step if it has this answer, else a new one.
    fn step(&mut self, answer: Answer) -> &mut Step {
        if self.steps.last().is_none_or(|last| last.answer != answer) {
            self.steps.push(Step {
                answer,
                calls: BTreeMap::new(),
            });
        }
        self.steps.last_mut().expect("one was just added")
    }
}

impl From<Answer> for SeccompAction {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Allow => Self::Allow,
            Answer::Refuse(error) => Self::Errno(error.unsigned_abs()),
            Answer::Kill => Self::KillProcess,
        }
    }
}

#[cfg(test)]
mod tests;
