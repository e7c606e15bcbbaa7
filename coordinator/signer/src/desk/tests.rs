//! Orders that are filled, and those that are not.

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use stap_certs::{Identity, ServerDatabase};
use stap_policy::builtin;
use stap_protocol::job::OutputFile;
use stap_protocol::path::{FileName, RelativePath};
use stap_protocol::signing::{Demand, SignatureHash};
use tempfile::TempDir;

use super::*;
use crate::forge;

const NAME: &str = "stap_1_2";

/// A database with the server's pair and one machine owner key.
fn desk(policy: &str) -> (TempDir, Desk) {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("server");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    ServerDatabase::open_or_create(&database, &Identity::of_host("box"), now).unwrap();
    ModuleKeys::create(&database, now).unwrap();
    let policy = policy.to_owned();
    let desk = Desk::open(&Configuration { database, policy }).unwrap();
    (home, desk)
}

fn order(arguments: &[&str], privilege: Privilege) -> Order {
    Order {
        request: "ab-1".to_owned(),
        client: "192.0.2.1".to_owned(),
        target: stap_protocol::target::TargetName {
            release: "6.1.0-9".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        },
        hash: SignatureHash::Sha256,
        arguments: arguments
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect(),
        files: Vec::new(),
        demand: Demand {
            privilege,
            machine_owner_key: None,
        },
        module: OutputFile {
            name: FileName::try_from(format!("{NAME}.ko").as_str()).unwrap(),
            content: forge::module(NAME, privilege.number()),
        },
    }
}

fn unprivileged() -> Order {
    order(
        &["-p4", "--privilege=stapusr", "-eprobe begin {}"],
        Privilege::Stapusr,
    )
}

/// Asks the desk; returns what it answers and what it says in the log.
fn asked(desk: &Desk, order: Order) -> (FromSigner, String) {
    let mut said = Vec::new();
    let answer = desk.sign(order, |line| said.push(line.to_owned()));
    assert_eq!(said.len(), 1, "one line for one order: {said:?}");
    (answer, said.concat())
}

fn refused(desk: &Desk, order: Order) -> String {
    match asked(desk, order) {
        (FromSigner::Refused { reason }, said) => {
            assert!(said.starts_with("WARN not signed: "), "{said}");
            reason
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn an_unprivileged_module_gets_the_server_s_own_signature() {
    let (home, desk) = desk(builtin::STRICT);
    let order = unprivileged();
    let module = order.module.content.clone();
    let (FromSigner::Signed(signed), said) = asked(&desk, order) else {
        panic!()
    };
    assert_eq!(signed.module, module, "the module stays as it is");
    let pair = Pair::read(&home.path().join("server")).unwrap();
    let key = RsaKeyPair::from_pkcs8(&pair.private_key_pkcs8).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(&module, &signed.signature.unwrap())
        .unwrap();
    for part in [
        "INFO signed stap_1_2.ko for 6.1.0-9 x86_64",
        "request=ab-1",
        "client=192.0.2.1",
        "privilege=stapusr",
        &format!(" sha256={}", digest(&module)),
        &format!("key={}", pair.certificate.serial_text()),
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[test]
fn the_server_s_signature_covers_that_of_the_machine_owner_key() {
    let (home, desk) = desk(builtin::SHARED_HOST);
    let mut order = unprivileged();
    order.demand.machine_owner_key = Some(desk.keys().machine_owner_keys[0].fingerprint);
    let (FromSigner::Signed(signed), said) = asked(&desk, order) else {
        panic!()
    };
    assert!(signature::is_signed(&signed.module));
    assert!(said.contains("mok="), "{said}");
    let pair = Pair::read(&home.path().join("server")).unwrap();
    let again = signature::detached(&signed.module, &pair.private_key_pkcs8).unwrap();
    assert_eq!(signed.signature, Some(again));
}

#[test]
fn a_module_for_root_gets_the_machine_owner_key_s_signature_only() {
    let (_home, desk) = desk(builtin::SHARED_HOST);
    let mut order = order(&["-p4", "-eprobe begin {}"], Privilege::Stapdev);
    order.demand.machine_owner_key = Some(desk.keys().machine_owner_keys[0].fingerprint);
    let (FromSigner::Signed(signed), _) = asked(&desk, order) else {
        panic!()
    };
    assert!(signature::is_signed(&signed.module) && signed.signature.is_none());
}

#[test]
fn an_order_that_does_not_fit_its_job_is_refused() {
    let (_home, desk) = desk(builtin::STRICT);
    for (arguments, because) in [
        (&["-ex"][..], "ask for stapdev and the order for stapusr"),
        (
            &["-ex", "--privilege=stapsys"],
            "ask for stapsys and the order for stapusr",
        ),
        (
            &["-ex", "--privilege=stapsys", "--unprivileged"],
            "only once",
        ),
        (&["-ex", "--unprivileged", "-g"], "option -g"),
        (&["-ex", "--unprivileged", "-Itapset/x"], "option -I"),
        (&["-ex", "--unprivileged", "-mx"], "option -m"),
        (&["--unprivileged"], "this request has 0"),
        (&["--unprivileged", "-p"], "Missing argument"),
    ] {
        let reason = refused(&desk, order(arguments, Privilege::Stapusr));
        assert!(reason.contains(because), "{arguments:?}: {reason}");
    }
    let mut with_file = unprivileged();
    with_file.files = vec![RelativePath::try_from("tapset/a.stp").unwrap()];
    assert!(refused(&desk, with_file).contains("was sent along"));
    assert_eq!(
        refused(&desk, order(&["-ex"], Privilege::Stapdev)),
        "no signature was asked for"
    );
}

#[test]
fn a_worker_that_returns_another_module_gets_no_signature() {
    let (_home, desk) = desk(builtin::STRICT);
    let mut other = unprivileged();
    other.module.content = forge::module(NAME, Privilege::Stapdev.number());
    assert!(refused(&desk, other).contains("enforces stapdev and not stapusr"));
    let mut renamed = unprivileged();
    renamed.module.name = FileName::try_from("stap_3_4.ko").unwrap();
    assert!(refused(&desk, renamed).contains("its name"));
    let mut cut = unprivileged();
    cut.module.content.truncate(100);
    assert!(refused(&desk, cut).contains("the module is not signed"));
}

#[test]
fn the_policy_has_the_last_word() {
    let nobody = builtin::SHARED_HOST.replace(
        "privileges         = [\"stapusr\", \"stapsys\"]",
        "privileges = []",
    );
    let (_home, desk_of_nobody) = desk(&nobody);
    assert!(refused(&desk_of_nobody, unprivileged()).contains("signs no modules for stapusr"));
    let (_home, strict) = desk(builtin::STRICT);
    assert_eq!(
        strict.keys(),
        Keys::default(),
        "keys that are not used are not shown"
    );
    let mut order = unprivileged();
    order.demand.machine_owner_key = Some(Fingerprint::new([1; 20]));
    assert!(refused(&strict, order).contains("machine owner keys"));
}

#[test]
fn a_key_that_is_gone_signs_nothing() {
    let (home, desk) = desk(builtin::SHARED_HOST);
    let mut order = unprivileged();
    order.demand.machine_owner_key = Some(Fingerprint::new([1; 20]));
    assert!(refused(&desk, order).contains("there is no machine owner key 01:01:"));
    std::fs::remove_file(home.path().join("server/stap.key")).unwrap();
    assert!(refused(&desk, unprivileged()).contains("cannot be used"));
}

#[test]
fn what_the_client_chose_cannot_forge_a_line() {
    let (_home, desk) = desk(builtin::STRICT);
    let mut order = unprivileged();
    order.client = "x\nINFO signed everything".to_owned();
    let (_, said) = asked(&desk, order);
    assert_eq!(said.lines().count(), 1);
}
