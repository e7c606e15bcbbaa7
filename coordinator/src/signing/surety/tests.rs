//! What is refused before it is compiled.

use stap_protocol::options::parse;

use super::*;

fn print(octet: u8) -> Fingerprint {
    Fingerprint::new([octet; 20])
}

fn keys(octets: &[u8]) -> Keys {
    let key = |octet: &u8| MachineOwnerKey {
        fingerprint: print(*octet),
        certificate: vec![*octet],
    };
    Keys {
        machine_owner_keys: octets.iter().map(key).collect(),
        warnings: Vec::new(),
    }
}

fn demanded(
    class: &str,
    words: &[&str],
    wanted: &MachineOwnerKeys,
    keys: &Keys,
) -> Result<Option<Demand>, Refusal> {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let policy = Policy::builtin(class).unwrap();
    Surety::default().demand(&parse(&words).unwrap(), &[], wanted, keys, &policy)
}

const NOT_ASKED: MachineOwnerKeys = MachineOwnerKeys::NotAsked;

#[test]
fn an_ordinary_job_needs_no_signature_and_no_rules() {
    for words in [
        &["-g", "-Itapset/x", "-ex"][..],
        &["--privilege=stapdev", "-g", "-ex"],
    ] {
        assert_eq!(
            demanded("personal", words, &NOT_ASKED, &keys(&[])),
            Ok(None)
        );
    }
}

#[test]
fn a_job_below_stapdev_needs_one() {
    let demand = demanded("strict", &["--unprivileged", "-ex"], &NOT_ASKED, &keys(&[]));
    let expected = Demand {
        privilege: Privilege::Stapusr,
        machine_owner_key: None,
    };
    assert_eq!(demand, Ok(Some(expected)));
    let listing = demanded("strict", &["--unprivileged", "-Lx"], &NOT_ASKED, &keys(&[]));
    assert_eq!(listing, Ok(None));
    let with_macro = demanded(
        "personal",
        &["--unprivileged", "-DX=1", "-ex"],
        &NOT_ASKED,
        &keys(&[]),
    );
    assert!(
        matches!(with_macro, Err(Refusal::NotSignable(_))),
        "{with_macro:?}"
    );
    let two = demanded(
        "strict",
        &["--unprivileged", "--privilege=stapsys"],
        &NOT_ASKED,
        &keys(&[]),
    );
    assert!(matches!(two, Err(Refusal::Privilege(_))), "{two:?}");
}

#[test]
fn the_first_key_that_both_know_signs() {
    let enrolled = MachineOwnerKeys::Enrolled(vec![print(9), print(3), print(2)]);
    let demand = demanded("shared-host", &["-ex"], &enrolled, &keys(&[1, 2, 3])).unwrap();
    assert_eq!(demand.unwrap().machine_owner_key, Some(print(3)));
}

#[test]
fn without_a_common_key_the_client_gets_one_to_enrol() {
    for wanted in [
        MachineOwnerKeys::Missing,
        MachineOwnerKeys::Enrolled(vec![print(9)]),
    ] {
        let refused = demanded("shared-host", &["-ex"], &wanted, &keys(&[1, 2])).unwrap_err();
        let expected = Refusal::KeyNotEnrolled {
            fingerprint: print(1),
            certificate: vec![1],
        };
        assert_eq!(refused, expected);
        let none = demanded("shared-host", &["-ex"], &wanted, &keys(&[])).unwrap_err();
        assert_eq!(none, Refusal::CannotSign);
        let listing = demanded("shared-host", &["-p2", "-ex"], &wanted, &keys(&[]));
        assert_eq!(listing, Ok(None), "nothing is loaded");
    }
}

#[test]
fn a_policy_without_machine_owner_keys_says_so() {
    let wanted = MachineOwnerKeys::Enrolled(vec![print(1)]);
    let refused = demanded("strict", &["-ex"], &wanted, &keys(&[1])).unwrap_err();
    assert!(refused.to_string().contains("policy 'strict'"), "{refused}");
}

#[test]
fn guru_mode_is_not_signed_for_a_kernel_that_secure_boot_protects() {
    let wanted = MachineOwnerKeys::Enrolled(vec![print(1)]);
    let refused = demanded("personal", &["-g", "-ex"], &wanted, &keys(&[1])).unwrap_err();
    assert!(matches!(refused, Refusal::NotSignable(_)), "{refused:?}");
}

#[test]
fn a_host_that_lacks_a_layer_signs_nothing_unless_its_policy_says_so() {
    let strict = Policy::builtin("strict").unwrap();
    let layers: Vec<_> = strict
        .layers()
        .demands()
        .into_iter()
        .map(|(name, _)| Layer {
            name: name.to_owned(),
            state: if name == "cgroup" {
                LayerState::Absent
            } else {
                LayerState::Enforced
            },
            detail: String::new(),
        })
        .collect();
    let line = parse(&[b"-ex".to_vec(), b"--unprivileged".to_vec()]).unwrap();
    let asked = |class: &str| {
        let policy = Policy::builtin(class).unwrap();
        Surety::of(&policy, &layers).demand(&line, &[], &NOT_ASKED, &keys(&[]), &policy)
    };
    let refused = asked("shared-host").unwrap_err();
    assert_eq!(
        refused,
        Refusal::UnsafeToSign {
            missing: "cgroup".to_owned()
        }
    );
    asked("personal").unwrap();
}
