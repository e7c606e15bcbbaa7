//! One program out of many small ones.
//!
//! Calls are sorted by number and cut into chunks. The program looks at the machine, then for the
//! chunk, and then through the steps of that chunk only. Conditions are pieces that `seccompiler`
//! has compiled. A piece that does not know the answer says so by a return value that nothing else
//! has, and those returns become jumps to the next piece. Calls without conditions are written here,
//! as runs of numbers: the kernel translates every instruction each time a filter is installed.

use std::collections::BTreeMap;
use std::ops::Range;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch, sock_filter,
};

use crate::{Answer, Filter};

/// Compiles a filter for a machine. Calls of another machine end the process.
pub(crate) fn compile(filter: &Filter, machine: TargetArch) -> Result<BpfProgram, BackendError> {
    // Without rules it is nothing but the look at the machine.
    let look = SeccompFilter::new(BTreeMap::new(), ASK_NEXT, SeccompAction::Log, machine)?;
    let mut program = Vec::new();
    append(&mut program, look.try_into()?);
    let mut chunks = Vec::new();
    for range in ranges(filter) {
        chunks.push((range.start, chunk(filter, range, machine)?));
    }
    program.extend(dispatch(chunks));
    if program.len() > MOST {
        return Err(BackendError::FilterTooLarge(program.len()));
    }
    Ok(program)
}

/// All numbers, cut where so many are named. The first range holds what lies below, and the last
/// what lies above.
fn ranges(filter: &Filter) -> Vec<Range<c_long>> {
    let calls = filter.steps.iter().flat_map(|step| step.calls.keys());
    let mut named: Vec<_> = calls.copied().collect();
    named.sort_unstable();
    named.dedup();
    let cuts = named.chunks(CHUNK).skip(1).map(|chunk| chunk[0]);
    let starts: Vec<_> = [0].into_iter().chain(cuts).collect();
    let ends = starts.iter().skip(1).copied().chain([c_long::MAX]);
    let ranges = starts.iter().zip(ends);
    ranges.map(|(start, end)| *start..end).collect()
}

/// The steps as far as they are about calls of one range, one after the other.
fn chunk(
    filter: &Filter,
    range: Range<c_long>,
    machine: TargetArch,
) -> Result<BpfProgram, BackendError> {
    let mut program = Vec::new();
    for step in &filter.steps {
        let named = || step.calls.range(range.clone());
        let conditional = named().filter(|(_, cases)| !cases.is_empty());
        let conditional: BTreeMap<_, _> = conditional
            .map(|(call, cases)| (*call, cases.clone()))
            .collect();
        if !conditional.is_empty() {
            let answer = step.answer.into();
            let piece = SeccompFilter::new(conditional, ASK_NEXT, answer, machine)?;
            append(&mut program, piece.try_into()?);
        }
        let always = named().filter(|(_, cases)| cases.is_empty());
        program.extend(always_answered(always.map(|(call, _)| *call), step.answer));
    }
    program.push(returned(filter.otherwise));
    Ok(program)
}

/// Answers some calls, given in order.
fn always_answered(calls: impl Iterator<Item = c_long>, answer: Answer) -> BpfProgram {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for call in calls.map(number) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == call => *last = call,
            _ => runs.push((call, call)),
        }
    }
    let mut program = Vec::new();
    if !runs.is_empty() {
        program.push(instruction(LOAD_NUMBER, 0, 0, 0));
    }
    for (first, last) in runs {
        program.push(instruction(JUMP_IF_NOT_BELOW, 0, 2, first));
        program.push(instruction(JUMP_IF_ABOVE, 1, 0, last));
        program.push(returned(answer));
    }
    program
}

/// Appends a piece whose questions go to what will be appended next.
fn append(program: &mut BpfProgram, piece: BpfProgram) {
    let ask_next = u32::from(ASK_NEXT);
    let length = piece.len();
    program.extend(piece.into_iter().enumerate().map(|(at, instruction)| {
        if instruction.code == RETURN && instruction.k == ask_next {
            jump(length - at - 1)
        } else {
            instruction
        }
    }));
}

/// Goes to the last chunk whose first call is not above the one that is made.
fn dispatch(chunks: Vec<(c_long, BpfProgram)>) -> BpfProgram {
    let mut starts = Vec::new();
    let mut body = Vec::new();
    for (first, code) in chunks {
        starts.push((first, body.len()));
        body.extend(code);
    }
    let mut program = vec![instruction(LOAD_NUMBER, 0, 0, 0)];
    let head = 1 + 2 * starts.len();
    for (first, start) in starts.into_iter().rev() {
        program.push(instruction(JUMP_IF_NOT_BELOW, 0, 1, number(first)));
        let behind = program.len() + 1;
        program.push(jump(head + start - behind));
    }
    program.extend(body);
    program
}

fn number(call: c_long) -> u32 {
    u32::try_from(call).expect("the kernel's numbers are small")
}

fn returned(answer: Answer) -> sock_filter {
    instruction(RETURN, 0, 0, SeccompAction::from(answer).into())
}

fn jump(over: usize) -> sock_filter {
    let over = u32::try_from(over).expect("programs are short");
    instruction(JUMP, 0, 0, over)
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The answer of a piece that has none. Nothing here is traced.
const ASK_NEXT: SeccompAction = SeccompAction::Trace(0x5ead);
/// Calls in one chunk: about as many as there are chunks, so that both ways are short.
const CHUNK: usize = 16;
/// The kernel's bound.
const MOST: usize = 4096;

/// See seccomp(2) and linux/bpf_common.h. The number of the call is the first field of what a filter
/// is given.
pub(crate) const LOAD_NUMBER: u16 = 0x20;
pub(crate) const JUMP: u16 = 0x05;
pub(crate) const JUMP_IF_NOT_BELOW: u16 = 0x35;
pub(crate) const JUMP_IF_ABOVE: u16 = 0x25;
pub(crate) const RETURN: u16 = 0x06;
