use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::fuzzing;
use crate::issue::{Identity, PrivateKey};

static SAMPLE: LazyLock<Certificate> = LazyLock::new(|| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    PrivateKey::generate()
        .unwrap()
        .certify(&Identity::of_host("labhost"), now)
        .unwrap()
});

/// Has openssl make a certificate with the given extra arguments.
fn made_by_openssl(arguments: &[&str]) -> Certificate {
    let directory = TempDir::new().unwrap();
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-noenc",
            "-keyout",
            "/dev/null",
        ])
        .args(["-outform", "DER", "-out", "made.der"])
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Certificate::from_der(&fs::read(directory.path().join("made.der")).unwrap()).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let directory = TempDir::new().unwrap();
    let input = directory.path().join("der");
    fs::write(&input, der).unwrap();
    let output = Command::new("openssl")
        .args(["base64", "-in"])
        .arg(input)
        .output()
        .unwrap();
    let body = String::from_utf8(output.stdout).unwrap();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

#[test]
fn a_certificate_like_a_stock_servers_is_read() {
    let stock = made_by_openssl(&[
        "-subj",
        "/OU=Systemtap/CN=Systemtap Compile Server",
        "-set_serial",
        "0xcc1b640d",
        "-addext",
        "nsCertType=critical,server,objsign,objCA",
        "-addext",
        "subjectAltName=DNS:labhost,DNS:labhost.local",
    ]);
    assert_eq!(stock.serial_text(), "00:cc:1b:64:0d");
    assert_eq!(stock.dns_names(), ["labhost", "labhost.local"]);
}

#[test]
fn only_dns_names_count_and_few_enough_to_show() {
    let names: Vec<String> = (0..100).map(|number| format!("DNS:h{number}")).collect();
    let extension = format!("subjectAltName=IP:10.0.0.1,email:a@b,{}", names.join(","));
    let certificate = made_by_openssl(&["-subj", "/CN=x", "-addext", &extension]);
    assert_eq!(certificate.dns_names().len(), MAX_DNS_NAMES);
    assert_eq!(certificate.dns_names()[0], "h0");
}

#[test]
fn a_name_cannot_move_the_cursor() {
    assert_eq!(printable("a\x1b[2J\nb c"), "a?[2J?b?c");
}

#[test]
fn a_certificate_without_names_has_none() {
    assert_eq!(made_by_openssl(&["-subj", "/CN=x"]).dns_names(), [""; 0]);
}

#[test]
fn der_and_pem_give_the_same_certificate() {
    let text = pem("CERTIFICATE", SAMPLE.der());
    assert_eq!(Certificate::from_file_bytes(SAMPLE.der()).unwrap(), *SAMPLE);
    assert_eq!(
        Certificate::from_file_bytes(text.as_bytes()).unwrap(),
        *SAMPLE
    );
    let with_words = format!("my server:\n{text}\nbye\n");
    assert_eq!(
        Certificate::from_file_bytes(with_words.as_bytes()).unwrap(),
        *SAMPLE
    );
}

#[test]
fn a_file_holds_exactly_one_certificate() {
    let read = |text: &str| Certificate::from_file_bytes(text.as_bytes()).unwrap_err();
    let text = pem("CERTIFICATE", SAMPLE.der());
    assert_eq!(read(&format!("{text}{text}")), CertificateError::NotOne(2));
    assert_eq!(
        read("root:x:0:0:root:/root:/bin/bash\n"),
        CertificateError::NotOne(0)
    );
    assert_eq!(read(""), CertificateError::NotOne(0));
    assert_eq!(
        read(&pem("PRIVATE KEY", b"0000")),
        CertificateError::NotOne(0)
    );
    assert_eq!(
        read(&pem("CERTIFICATE", b"junk")),
        CertificateError::Malformed
    );
    let without_end = &text[..text.len()
        - "-----END CERTIFICATE-----
"
        .len()];
    assert_eq!(read(without_end), CertificateError::Pem);
}

#[test]
fn bytes_after_the_certificate_are_refused() {
    let longer = [SAMPLE.der(), b"x"].concat();
    assert_eq!(
        Certificate::from_der(&longer),
        Err(CertificateError::TrailingBytes)
    );
}

#[test]
fn a_certificate_that_is_too_large_is_not_even_looked_at() {
    let huge = vec![DER_SEQUENCE; MAX_CERTIFICATE_BYTES + 1];
    assert_eq!(
        Certificate::from_der(&huge),
        Err(CertificateError::TooLarge)
    );
    assert_eq!(
        Certificate::from_file_bytes(&huge),
        Err(CertificateError::TooLarge)
    );
}

#[test]
fn a_certificate_is_renewed_in_its_last_thirty_days() {
    let end = SAMPLE.not_after();
    let second = Duration::from_secs(1);
    assert!(!SAMPLE.needs_renewal(end - RENEWAL_MARGIN));
    assert!(SAMPLE.needs_renewal(end - RENEWAL_MARGIN + second));
    assert!(SAMPLE.needs_renewal(end + second));
    assert!(!SAMPLE.is_expired(end));
    assert!(SAMPLE.is_expired(end + second));
}

#[test]
fn a_fingerprint_is_read_back_from_its_own_spelling_only() {
    let fingerprint = SAMPLE.sha256();
    let text = fingerprint.to_string();
    assert_eq!(Fingerprint::from_hex(&text), Some(fingerprint));
    assert_eq!(Fingerprint::from_hex(&text.to_uppercase()), None);
    assert_eq!(Fingerprint::from_hex(&text[1..]), None);
    assert_eq!(Fingerprint::from_hex(&format!("{}é", &text[2..])), None);
}

#[test]
fn the_fingerprint_is_that_of_sha256sum() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Fingerprint::of(b"abc").to_string(), expected);
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        fuzzing::certificate(&bytes);
    }

    #[test]
    fn junk_that_looks_like_pem_never_panics(body in "[A-Za-z0-9+/=\\n -]{0,300}") {
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        fuzzing::certificate(text.as_bytes());
    }

    #[test]
    fn a_certificate_with_any_byte_changed_is_another_one_or_none(
        position in 0..SAMPLE.der().len(),
        change in 1..=u8::MAX,
    ) {
        let mut der = SAMPLE.der().to_vec();
        der[position] ^= change;
        fuzzing::certificate(&der);
        if let Ok(other) = Certificate::from_der(&der) {
            prop_assert_ne!(other.sha256(), SAMPLE.sha256());
            prop_assert_ne!(&other, &*SAMPLE);
        }
    }

    #[test]
    fn a_certificate_that_was_cut_short_is_none(length in 0..SAMPLE.der().len()) {
        prop_assert!(Certificate::from_der(&SAMPLE.der()[..length]).is_err());
    }
}
