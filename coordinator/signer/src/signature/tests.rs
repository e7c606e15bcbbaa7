//! Signatures that the programs of others accept: the field's own tools check ours.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use stap_certs::issue::{Identity, PrivateKey};
use stap_certs::module_keys::ModuleKeys;
use tempfile::TempDir;

use super::*;

const MODULE: &[u8] = b"\x7fELF and what else a module holds";

/// A key for modules, and its directory.
fn key() -> (TempDir, std::path::PathBuf, Vec<u8>, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let (key, path) = ModuleKeys::create(&home.path().join("server"), now).unwrap();
    let certificate = key.certificate().der().to_vec();
    let private = key.private_key_pkcs8().to_vec();
    (home, path, certificate, private)
}

fn openssl(directory: &Path, words: &str) -> std::process::Output {
    Command::new("openssl")
        .args(words.split(' '))
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Takes a signed module apart as include/linux/module_signature.h says.
fn parts(signed: &[u8]) -> (&[u8], &[u8]) {
    let rest = signed.strip_suffix(MAGIC).unwrap();
    let (rest, trailer) = rest.split_at(rest.len() - 12);
    assert_eq!(trailer[..8], [0, 0, 2, 0, 0, 0, 0, 0]);
    let length = u32::from_be_bytes(trailer[8..].try_into().unwrap()) as usize;
    rest.split_at(rest.len() - length)
}

#[test]
fn openssl_verifies_an_appended_signature_of_each_digest_and_no_changed_module() {
    let (_home, path, certificate, private) = key();
    assert!(
        openssl(&path, "x509 -inform DER -in signing_key.x509 -out cert.pem")
            .status
            .success()
    );
    let verify = "cms -verify -binary -inform DER -in message -content module -certfile cert.pem -noverify -out out";
    for hash in [
        SignatureHash::Sha256,
        SignatureHash::Sha384,
        SignatureHash::Sha512,
    ] {
        let signed = append(MODULE.to_vec(), hash, &certificate, &private).unwrap();
        let (module, message) = parts(&signed);
        assert_eq!(module, MODULE);
        fs::write(path.join("message"), message).unwrap();
        fs::write(path.join("module"), module).unwrap();
        let verified = openssl(&path, verify);
        assert!(verified.status.success(), "{hash}: {verified:?}");
        fs::write(path.join("module"), b"\x7fELF and something else").unwrap();
        assert!(!openssl(&path, verify).status.success(), "{hash}");
    }
}

/// RSA with PKCS #1 v1.5 has one signature only, so another program that makes the same message makes
/// the same bytes.
#[test]
fn an_appended_signature_is_byte_for_byte_what_openssl_makes_as_the_kernel_s_own_tool_does() {
    let (_home, path, certificate, private) = key();
    fs::write(path.join("module"), MODULE).unwrap();
    assert!(
        openssl(&path, "x509 -inform DER -in signing_key.x509 -out cert.pem")
            .status
            .success()
    );
    // sign-file(1) calls CMS_sign with these flags; -noattr, -nocerts and -binary are their names here.
    let made = openssl(
        &path,
        "cms -sign -binary -noattr -nocerts -nosmimecap -md sha256 -outform DER -in module -signer cert.pem -inkey signing_key.priv -out message",
    );
    assert!(made.status.success(), "{made:?}");
    let signed = append(
        MODULE.to_vec(),
        SignatureHash::Sha256,
        &certificate,
        &private,
    )
    .unwrap();
    assert_eq!(parts(&signed).1, fs::read(path.join("message")).unwrap());
}

#[test]
fn openssl_verifies_the_bare_signature_for_staprun() {
    let (_home, path, _, private) = key();
    let signature = detached(MODULE, &private).unwrap();
    assert_eq!(
        signature.len(),
        384,
        "as long as the key's modulus and nothing else"
    );
    fs::write(path.join("module"), MODULE).unwrap();
    fs::write(path.join("module.sgn"), &signature).unwrap();
    assert!(
        openssl(
            &path,
            "x509 -inform DER -in signing_key.x509 -pubkey -noout -out public.pem"
        )
        .status
        .success()
    );
    let verify = "dgst -sha256 -verify public.pem -signature module.sgn module";
    assert!(openssl(&path, verify).status.success());
    fs::write(path.join("module"), b"changed").unwrap();
    assert!(!openssl(&path, verify).status.success());
}

#[test]
fn a_module_is_signed_once() {
    let (_home, _, certificate, private) = key();
    let signed = append(
        MODULE.to_vec(),
        SignatureHash::Sha256,
        &certificate,
        &private,
    )
    .unwrap();
    assert!(is_signed(&signed) && !is_signed(MODULE));
    let again = append(signed, SignatureHash::Sha256, &certificate, &private);
    assert!(matches!(again, Err(SignatureError::SignedAlready)));
}

#[test]
fn a_key_or_certificate_that_is_none_is_an_error() {
    let (_home, _, certificate, private) = key();
    assert!(matches!(
        detached(MODULE, b"junk"),
        Err(SignatureError::Key(_))
    ));
    for junk in [
        &b""[..],
        b"junk",
        &certificate[..100],
        &[&certificate[..], b"x"].concat(),
    ] {
        let refused = append(MODULE.to_vec(), SignatureHash::Sha256, junk, &private);
        assert!(
            matches!(refused, Err(SignatureError::Certificate(_))),
            "{junk:?}"
        );
    }
}

#[test]
fn the_certificate_of_a_server_names_itself_as_well() {
    let key = PrivateKey::generate().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let certificate = key.certify(&Identity::of_host("box"), now).unwrap();
    append(
        MODULE.to_vec(),
        SignatureHash::Sha512,
        certificate.der(),
        key.pkcs8(),
    )
    .unwrap();
}
