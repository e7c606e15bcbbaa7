use super::*;

/// The tables of the specification, written down a second time and in another shape: for each kind
/// the bits that should be set and the bits that must not be.
fn oracle(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Directory => (0o755, 0o022),
        Kind::ClientStore | Kind::ServerCertificate => (0o644, 0o133),
        Kind::ServerStore => (0o600, 0o177),
        Kind::KeyDirectory => (0o500, 0o022),
    }
}

const KINDS: [Kind; 5] = [
    Kind::Directory,
    Kind::ClientStore,
    Kind::ServerStore,
    Kind::ServerCertificate,
    Kind::KeyDirectory,
];

fn sentence(kind: Kind, fault: Fault) -> String {
    Finding {
        path: "N".into(),
        kind,
        fault,
    }
    .to_string()
}

/// The bits that a chmod-like repair command changes, as (added, removed).
fn repaired(finding: &Finding, mode: u32) -> u32 {
    let command = finding.repair().unwrap();
    let change: Vec<char> = command.split(' ').nth(1).unwrap().chars().collect();
    let shift = match change[0] {
        'u' => 6,
        'g' => 3,
        'o' => 0,
        other => panic!("unknown class {other}"),
    };
    let bit = match change[2] {
        'r' => 4,
        'w' => 2,
        'x' => 1,
        other => panic!("unknown right {other}"),
    } << shift;
    if change[1] == '+' {
        mode | bit
    } else {
        mode & !bit
    }
}

#[test]
fn every_mode_of_every_kind_is_judged_as_the_tables_say() {
    for kind in KINDS {
        let (should, must_not) = oracle(kind);
        for mode in 0..=0o777 {
            let seen = Seen {
                mode,
                owner: 7,
                readable: true,
            };
            let faults = judge(kind, seen, Some(7));
            let severity_of = |fault: &Fault| {
                Finding {
                    path: "N".into(),
                    kind,
                    fault: *fault,
                }
                .severity()
            };
            let count = |severity| faults.iter().filter(|f| severity_of(f) == severity).count();
            assert_eq!(
                count(Severity::Warning),
                (should & !mode).count_ones() as usize,
                "{kind:?} {mode:o}"
            );
            assert_eq!(
                count(Severity::Error),
                (must_not & mode).count_ones() as usize,
                "{kind:?} {mode:o}"
            );
        }
    }
}

#[test]
fn every_repair_command_repairs_what_it_is_given_for() {
    for kind in KINDS {
        for mode in 0..=0o777 {
            let faults = judge(
                kind,
                Seen {
                    mode,
                    owner: 7,
                    readable: true,
                },
                None,
            );
            let mended = faults.iter().fold(mode, |mode, fault| {
                repaired(
                    &Finding {
                        path: "N".into(),
                        kind,
                        fault: *fault,
                    },
                    mode,
                )
            });
            let seen = Seen {
                mode: mended,
                owner: 7,
                readable: true,
            };
            assert_eq!(
                judge(kind, seen, None),
                [],
                "{kind:?} {mode:o} became {mended:o}"
            );
        }
    }
}

#[test]
fn special_bits_are_ignored() {
    let seen = Seen {
        mode: 0o7755,
        owner: 0,
        readable: true,
    };
    assert_eq!(judge(Kind::Directory, seen, Some(0)), []);
}

#[test]
fn an_owner_is_judged_only_where_one_is_required() {
    let seen = Seen {
        mode: 0o755,
        owner: 1,
        readable: true,
    };
    assert_eq!(judge(Kind::Directory, seen, None), []);
    assert_eq!(judge(Kind::Directory, seen, Some(1)), []);
    assert_eq!(
        judge(Kind::Directory, seen, Some(0)),
        [Fault::NotOwnedBy(0)]
    );
}

#[test]
fn only_a_server_certificate_may_be_unreadable() {
    for kind in KINDS {
        let faults = judge(
            kind,
            Seen {
                mode: 0,
                owner: 0,
                readable: false,
            },
            None,
        );
        let expected = kind != Kind::ServerCertificate;
        assert_eq!(faults.contains(&Fault::Unreadable), expected, "{kind:?}");
    }
}

#[test]
fn the_sentences_are_the_documented_ones() {
    use Class::{Group, Others, Owner};
    use Right::{Execute, Read, Write};
    let directory = |fault| sentence(Kind::Directory, fault);
    let file = |fault| sentence(Kind::ClientStore, fault);
    for (said, documented) in [
        (
            directory(Fault::Missing),
            "Certificate database 'N' does not exist",
        ),
        (
            directory(Fault::WrongType),
            "Certificate database 'N' is not a directory",
        ),
        (
            directory(Fault::NotOwnedBy(0)),
            "Certificate database 'N' must be owned by root",
        ),
        (
            directory(Fault::Unreadable),
            "Certificate database 'N' is not readable",
        ),
        (
            directory(Fault::Lacks(Read, Group)),
            "Certificate database 'N' should be readable by the group",
        ),
        (
            directory(Fault::Lacks(Write, Owner)),
            "Certificate database 'N' should be writeable by the owner",
        ),
        (
            directory(Fault::Lacks(Execute, Others)),
            "Certificate database 'N' should be searchable by the others",
        ),
        (
            directory(Fault::Grants(Write, Others)),
            "Certificate database 'N' must not be writable by the others",
        ),
        (
            file(Fault::WrongType),
            "Certificate database file 'N' is not a regular file",
        ),
        (
            file(Fault::Missing),
            "Certificate database file 'N' does not exist",
        ),
        (
            file(Fault::Grants(Execute, Owner)),
            "Certificate database file 'N' must not be executable by the owner",
        ),
        (
            sentence(Kind::ServerStore, Fault::Grants(Read, Group)),
            "Certificate database file 'N' must not be readable by the group",
        ),
        (
            sentence(Kind::ServerCertificate, Fault::Grants(Write, Group)),
            "Certificate file 'N' must not be writable by the group",
        ),
    ] {
        assert_eq!(said, documented);
    }
}

#[test]
fn what_one_command_cannot_repair_has_no_command() {
    let repair = |fault| {
        Finding {
            path: "N".into(),
            kind: Kind::Directory,
            fault,
        }
        .repair()
    };
    assert_eq!(repair(Fault::Missing), None);
    assert_eq!(repair(Fault::WrongType), None);
    assert_eq!(
        repair(Fault::NotOwnedBy(0)).as_deref(),
        Some("chown root 'N'")
    );
    assert_eq!(repair(Fault::Unreadable).as_deref(), Some("chmod u+rx 'N'"));
}
