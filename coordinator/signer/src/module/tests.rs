//! What is taken for the module that was asked for.

use proptest::prelude::*;

use super::*;
use crate::forge::{COMPRESSED, NOBITS, PROGBITS, Section, elf as forged, module, sections};

const NAME: &str = "stap_4ba4ca63_959";

fn target() -> TargetName {
    TargetName {
        release: "6.1.0-9".parse().unwrap(),
        arch: "x86_64".parse().unwrap(),
    }
}

fn judged_as(name: &str, content: &[u8], wanted: Privilege) -> Result<(), ModuleFault> {
    let name = FileName::try_from(name).unwrap();
    judge(&name, content, &target(), wanted)
}

fn judged(content: &[u8]) -> Result<(), ModuleFault> {
    judged_as(&format!("{NAME}.ko"), content, Privilege::Stapusr)
}

fn with(change: impl FnOnce(&mut Vec<Section<'static>>)) -> Vec<u8> {
    let mut sections = sections(NAME, "6.1.0-9", 2);
    change(&mut sections);
    forged(1, 62, &sections)
}

#[test]
fn a_module_that_enforces_what_was_asked_for_is_taken() {
    assert_eq!(judged(&module(NAME, 2)), Ok(()));
    let name = format!("{NAME}.ko");
    for (number, privilege) in [(4, Privilege::Stapsys), (8, Privilege::Stapdev)] {
        assert_eq!(judged_as(&name, &module(NAME, number), privilege), Ok(()));
    }
}

#[test]
fn a_module_that_enforces_something_else_is_not() {
    for number in [4, 8] {
        let refused = judged(&module(NAME, number));
        assert!(
            matches!(refused, Err(ModuleFault::OtherPrivilege { .. })),
            "{refused:?}"
        );
    }
    for number in [0, 1, 3, 6, 0x0200_0000, u32::MAX] {
        assert_eq!(
            judged(&module(NAME, number)),
            Err(ModuleFault::Privilege(number))
        );
    }
}

#[test]
fn a_privilege_that_two_readers_could_read_differently_is_none() {
    let twice = with(|sections| {
        sections.push((PRIVILEGE_SECTION, PROGBITS, 0, 2_u32.to_le_bytes().to_vec()));
    });
    let none = with(|sections| drop(sections.pop()));
    for (content, count) in [(twice, 2), (none, 0)] {
        let section = PRIVILEGE_SECTION;
        assert_eq!(
            judged(&content),
            Err(ModuleFault::Sections { section, count })
        );
    }
    let odd: [fn(&mut Section<'static>); 4] = [
        |section| section.1 = NOBITS,
        |section| section.2 = COMPRESSED,
        |section| section.3.push(0),
        |section| section.3.truncate(3),
    ];
    for change in odd {
        let content = with(|sections| change(&mut sections[1]));
        assert_eq!(
            judged(&content),
            Err(ModuleFault::Malformed(PRIVILEGE_SECTION))
        );
    }
}

#[test]
fn a_name_that_is_not_the_module_s_own_is_refused() {
    for name in [
        "stap_other_1.ko",
        "hello.ko",
        "stap_.ko.ko",
        "stap_4ba4ca63_959.bo",
        ".ko",
    ] {
        let refused = judged_as(name, &module(NAME, 2), Privilege::Stapusr);
        assert_eq!(refused, Err(ModuleFault::Name), "{name}");
    }
    // A module that calls itself ext4 would take its place.
    let refused = judged_as("ext4.ko", &module("ext4", 2), Privilege::Stapusr);
    assert_eq!(refused, Err(ModuleFault::Name));
    let two = with(|sections| sections[0].3.extend(format!("name={NAME}\0").bytes()));
    assert_eq!(judged(&two), Err(ModuleFault::Malformed(MODINFO)));
}

#[test]
fn a_module_for_another_kernel_is_refused() {
    for release in ["6.1.0-90", "6.1.0", "6.1.0-8", ""] {
        let refused = judged(&forged(1, 62, &sections(NAME, release, 2)));
        assert!(
            matches!(refused, Err(ModuleFault::Release(_))),
            "{release:?}: {refused:?}"
        );
    }
}

#[test]
fn what_no_kernel_would_load_is_refused() {
    let sections = sections(NAME, "6.1.0-9", 2);
    let whole = module(NAME, 2);
    let is_no_module = |content: &[u8]| matches!(judged(content), Err(ModuleFault::NotAModule(_)));
    assert!(is_no_module(&forged(2, 62, &sections)), "an executable");
    assert!(is_no_module(&forged(3, 62, &sections)), "a shared object");
    assert!(is_no_module(b"ELF\n") && is_no_module(b""));
    for length in 0..whole.len() {
        assert!(judged(&whole[..length]).is_err(), "cut off at {length}");
    }
    let machine = judged(&forged(1, elf::EM_AARCH64.0, &sections));
    assert!(
        matches!(machine, Err(ModuleFault::Machine(_))),
        "{machine:?}"
    );
    let signed = [&whole[..], b"~Module signature appended~\n"].concat();
    assert_eq!(judged(&signed), Err(ModuleFault::SignedAlready));
    let monster = vec![0; MAX_MODULE + 1];
    assert_eq!(judged(&monster), Err(ModuleFault::TooLarge));
}

#[test]
fn nothing_is_signed_for_an_architecture_that_is_not_known() {
    let target = TargetName {
        arch: "vax".parse().unwrap(),
        ..target()
    };
    let name = FileName::try_from(format!("{NAME}.ko").as_str()).unwrap();
    let refused = judge(&name, &module(NAME, 2), &target, Privilege::Stapusr);
    assert!(
        matches!(refused, Err(ModuleFault::Machine(_))),
        "{refused:?}"
    );
}

proptest! {
    #[test]
    fn any_damage_is_judged_and_never_makes_another_privilege(at in 0..600_usize, byte: u8) {
        let mut content = module(NAME, 2);
        let at = at % content.len();
        content[at] = byte;
        let name = format!("{NAME}.ko");
        // One changed byte may turn 2 into 4 or 8, which is then what the module says; it never
        // satisfies two wishes.
        let satisfied = [Privilege::Stapusr, Privilege::Stapsys, Privilege::Stapdev]
            .into_iter()
            .filter(|wanted| judged_as(&name, &content, *wanted).is_ok())
            .count();
        prop_assert!(satisfied <= 1);
    }

    #[test]
    fn any_bytes_are_judged(tail in proptest::collection::vec(any::<u8>(), 0..600), class in 0..4_u8, order in 0..4_u8) {
        let content = [&b"\x7fELF"[..], &[class, order, 1], &tail].concat();
        prop_assert!(judged(&content).is_err());
    }
}
