//! The whole filter against its meaning: programs are run here as the kernel runs them.

use seccompiler::BpfProgram;

use super::*;
use crate::program::{JUMP, JUMP_IF_ABOVE, JUMP_IF_NOT_BELOW, LOAD_NUMBER, RETURN, compile};

/// What the kernel tells a filter of a call.
#[derive(Clone, Copy)]
struct Call {
    number: u32,
    machine: u32,
    arguments: [u64; 6],
}

impl Call {
    fn of(number: c_long, arguments: [u64; 6]) -> Self {
        Self {
            number: number.try_into().unwrap(),
            machine: X86_64,
            arguments,
        }
    }

    /// One 32-bit word of `struct seccomp_data`.
    fn word(self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.machine,
            _ => {
                let at = usize::try_from(offset - 16).unwrap();
                let argument = self.arguments[at / 8];
                let half = if at.is_multiple_of(8) {
                    argument
                } else {
                    argument >> 32
                };
                u32::try_from(half & u64::from(u32::MAX)).unwrap()
            }
        }
    }
}

/// Runs a program, and returns its answer and how many instructions that took.
fn run(program: &BpfProgram, call: Call) -> (u32, usize) {
    let (mut at, mut value, mut steps) = (0, 0_u32, 0);
    loop {
        let instruction = &program[at];
        let taken = |is: bool| usize::from(if is { instruction.jt } else { instruction.jf });
        steps += 1;
        at += 1;
        match instruction.code {
            LOAD_NUMBER => value = call.word(instruction.k),
            0x54 => value &= instruction.k,
            JUMP => at += instruction.k as usize,
            0x15 => at += taken(value == instruction.k),
            JUMP_IF_NOT_BELOW => at += taken(value >= instruction.k),
            JUMP_IF_ABOVE => at += taken(value > instruction.k),
            RETURN => return (instruction.k, steps),
            other => panic!("no piece has an instruction {other:#x}"),
        }
    }
}

fn answer(filter: &Filter, call: Call) -> SeccompAction {
    let program = compile(filter, TargetArch::x86_64).unwrap();
    let said = run(&program, call).0;
    let known = [
        Answer::Allow,
        Answer::Kill,
        Answer::Refuse(libc::EPERM),
        Answer::Refuse(libc::ENOSYS),
    ];
    let mut known = known.into_iter().map(SeccompAction::from);
    known
        .find(|action| u32::from(action.clone()) == said)
        .unwrap_or_else(|| panic!("{said:#x} is no answer"))
}

/// Calls at the ends and in the middle of chunks, with every answer.
fn example() -> Filter {
    let refused = (0..40).map(|n| n * 7);
    Filter::otherwise(Answer::Refuse(libc::ENOSYS))
        .answer(Answer::Kill, [59, 101])
        .answer(Answer::Refuse(libc::EPERM), refused)
        .answer_when(
            Answer::Refuse(libc::EPERM),
            9,
            &[&[Is::masked(3, 0x40, 0x40)]],
        )
        .answer(Answer::Allow, 0..300)
        .answer_when(
            Answer::Allow,
            400,
            &[
                &[Is::equal(0, 2), Is::masked(1, 0xf, 2)],
                &[Is::equal(0, 16)],
            ],
        )
}

#[test]
fn the_first_step_that_names_a_call_answers_it() {
    let filter = example();
    for number in 0..600 {
        let expected = match number {
            59 | 101 => Answer::Kill,
            number if number % 7 == 0 && number < 280 => Answer::Refuse(libc::EPERM),
            0..300 => Answer::Allow,
            _ => Answer::Refuse(libc::ENOSYS),
        };
        let found = answer(&filter, Call::of(number, [0; 6]));
        assert_eq!(found, expected.into(), "call {number}");
    }
    let far = answer(&filter, Call::of(0x4000_0000 + 1, [0; 6]));
    assert_eq!(far, Answer::Refuse(libc::ENOSYS).into());
}

#[test]
fn a_case_holds_when_all_its_conditions_do() {
    let filter = example();
    let ask = |number, arguments| answer(&filter, Call::of(number, arguments));
    let (allowed, absent) = (Answer::Allow.into(), Answer::Refuse(libc::ENOSYS).into());
    assert_eq!(ask(400, [2, 0x8_0002, 0, 0, 0, 0]), allowed);
    assert_eq!(ask(400, [16, 1, 0, 0, 0, 0]), allowed);
    assert_eq!(ask(400, [2, 1, 0, 0, 0, 0]), absent);
    assert_eq!(ask(400, [3, 2, 0, 0, 0, 0]), absent);
    let refused = Answer::Refuse(libc::EPERM).into();
    assert_eq!(ask(9, [0, 0, 0, 0x42, 0, 0]), refused);
    assert_eq!(ask(9, [0, 0, 0, 0x02, 0, 0]), allowed);
    // The kernel ignores what is above 32 bits in such arguments, and so does the filter.
    assert_eq!(ask(9, [0, 0, 0, 0x7_0000_0040, 0, 0]), refused);
}

#[test]
fn a_call_without_conditions_stays_so() {
    let filter = Filter::otherwise(Answer::Kill)
        .answer_when(Answer::Allow, 5, &[&[Is::equal(0, 1)]])
        .answer(Answer::Allow, [5])
        .answer_when(Answer::Allow, 5, &[&[Is::equal(0, 2)]]);
    assert_eq!(answer(&filter, Call::of(5, [9; 6])), Answer::Allow.into());
}

#[test]
fn a_call_of_another_machine_is_fatal_whatever_its_number() {
    let program = compile(&example(), TargetArch::x86_64).unwrap();
    for number in 0..600 {
        let call = Call {
            machine: 0x4000_0003,
            ..Call::of(number, [0; 6])
        };
        let killed = u32::from(SeccompAction::KillProcess);
        assert_eq!(run(&program, call).0, killed, "call {number}");
    }
}

#[test]
fn the_way_to_an_answer_is_short() {
    let program = compile(&example(), TargetArch::x86_64).unwrap();
    let most = (0..600).map(|number| run(&program, Call::of(number, [0; 6])).1);
    assert!(most.max().unwrap() < 100, "the dispatch does not work");
}

#[test]
fn a_filter_without_steps_has_one_answer() {
    let filter = Filter::otherwise(Answer::Refuse(libc::EPERM));
    let expected = Answer::Refuse(libc::EPERM).into();
    assert_eq!(answer(&filter, Call::of(7, [0; 6])), expected);
}

#[test]
fn what_is_enforced_holds_for_this_thread_and_is_confirmed_by_the_kernel() {
    let confined = std::thread::spawn(|| {
        Filter::otherwise(Answer::Allow)
            .answer(Answer::Refuse(libc::EPERM), [libc::SYS_getpriority])
            .enforce()
            .unwrap();
        rustix::process::getpriority_process(None)
    });
    let refused = confined.join().unwrap();
    assert_eq!(refused, Err(rustix::io::Errno::PERM));
    rustix::process::getpriority_process(None).unwrap();
}

/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xc000_003e;
