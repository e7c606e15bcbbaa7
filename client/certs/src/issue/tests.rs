use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn certificate() -> Certificate {
    KEY.certify(&Identity::of_host("labhost.example.com"), now())
        .unwrap()
}

/// Looks at a new certificate through a second implementation of X.509.
fn inspect(look: impl FnOnce(&X509Certificate<'_>)) {
    let certificate = certificate();
    let (rest, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    assert!(rest.is_empty());
    look(&parsed);
}

/// Runs the openssl command on a new certificate and its key in a directory of their own.
fn openssl(arguments: &[&str]) -> String {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("stap.cert"), certificate().der()).unwrap();
    fs::write(directory.path().join("stap.key"), KEY.pkcs8()).unwrap();
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_subject_is_ou_then_cn_as_printable_strings_and_issues_itself() {
    inspect(|parsed| {
        assert_eq!(parsed.subject().as_raw(), parsed.issuer().as_raw());
        let attributes: Vec<_> = parsed
            .subject()
            .iter_attributes()
            .map(|attribute| {
                (
                    attribute.attr_type().to_id_string(),
                    attribute.as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            attributes,
            [
                ("2.5.4.11".to_owned(), "Systemtap"),
                ("2.5.4.3".to_owned(), "Systemtap Compile Server"),
            ]
        );
        let printable = parsed
            .subject()
            .iter_attributes()
            .all(|a| a.attr_value().tag() == Tag::PrintableString);
        assert!(printable);
    });
}

#[test]
fn the_subject_is_byte_for_byte_that_of_a_stock_server() {
    // SEQUENCE { SET { OU PrintableString "Systemtap" }, SET { CN PrintableString "Systemtap ..." } }
    let mut expected = vec![
        0x30, 0x37, 0x31, 0x12, 0x30, 0x10, 0x06, 0x03, 0x55, 0x04, 0x0b, 0x13, 9,
    ];
    expected.extend(b"Systemtap");
    expected.extend([
        0x31, 0x21, 0x30, 0x1f, 0x06, 0x03, 0x55, 0x04, 0x03, 0x13, 24,
    ]);
    expected.extend(b"Systemtap Compile Server");
    inspect(|parsed| assert_eq!(parsed.subject().as_raw(), expected));
}

#[test]
fn the_serial_number_is_five_octets_and_new_each_time() {
    let (first, second) = (certificate(), certificate());
    for serial in [first.serial_text(), second.serial_text()] {
        assert_eq!(serial.len(), 14, "{serial}");
        assert!(serial.starts_with("00:"), "{serial}");
        assert!(
            u8::from_str_radix(&serial[3..5], 16).unwrap() >= 0x80,
            "{serial}"
        );
    }
    assert_ne!(first.serial_text(), second.serial_text());
}

#[test]
fn it_says_critically_that_it_is_no_authority() {
    inspect(|parsed| {
        let extension = parsed
            .get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS)
            .unwrap()
            .unwrap();
        assert!(extension.critical);
        let ParsedExtension::BasicConstraints(constraints) = extension.parsed_extension() else {
            panic!("not basic constraints: {extension:?}");
        };
        assert!(!constraints.ca);
        assert_eq!(constraints.path_len_constraint, None);
    });
}

#[test]
fn its_key_may_sign_and_encipher_keys_and_nothing_else() {
    inspect(|parsed| {
        let extension = parsed
            .get_extension_unique(&OID_X509_EXT_KEY_USAGE)
            .unwrap()
            .unwrap();
        assert!(extension.critical);
        let usage = parsed.key_usage().unwrap().unwrap().value;
        assert_eq!(usage.flags, 0b101, "{usage}");
        assert!(usage.digital_signature() && usage.key_encipherment());
    });
}

#[test]
fn it_is_for_servers_and_code_signing_and_nothing_else() {
    inspect(|parsed| {
        let extension = parsed
            .get_extension_unique(&OID_X509_EXT_EXTENDED_KEY_USAGE)
            .unwrap()
            .unwrap();
        assert!(!extension.critical);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.code_signing);
        let others = [
            usage.any,
            usage.client_auth,
            usage.email_protection,
            usage.time_stamping,
        ];
        assert_eq!(others, [false; 4]);
        assert!(!usage.ocsp_signing && usage.other.is_empty());
    });
}

#[test]
fn its_names_are_all_dns_names_of_the_host_best_first() {
    inspect(|parsed| {
        let extension = parsed
            .get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME)
            .unwrap()
            .unwrap();
        assert!(!extension.critical);
        let names = &parsed
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert!(
            names
                .iter()
                .all(|name| matches!(name, GeneralName::DNSName(_))),
            "{names:?}"
        );
    });
    assert_eq!(
        certificate().dns_names(),
        [
            "labhost.example.com",
            "labhost",
            "labhost.local",
            "localhost"
        ]
    );
}

#[test]
fn it_is_valid_from_a_little_while_ago_for_a_year() {
    let certificate = certificate();
    assert_eq!(certificate.not_before(), now() - BACKDATING);
    assert_eq!(certificate.not_after(), now() + LIFETIME);
}

#[test]
fn it_is_a_version_three_rsa_certificate_signed_with_sha256() {
    inspect(|parsed| {
        assert_eq!(parsed.version().0, 2);
        let signature = parsed.signature_algorithm.algorithm.to_id_string();
        assert_eq!(signature, "1.2.840.113549.1.1.11");
        match parsed.public_key().parsed().unwrap() {
            x509_parser::public_key::PublicKey::RSA(key) => assert_eq!(key.key_size(), 3072),
            other => panic!("not an RSA key: {other:?}"),
        }
    });
}

#[test]
fn openssl_reads_every_property_alike() {
    let text = openssl(&[
        "x509",
        "-inform",
        "DER",
        "-in",
        "stap.cert",
        "-noout",
        "-text",
    ]);
    for expected in [
        "Version: 3 (0x2)",
        "Signature Algorithm: sha256WithRSAEncryption",
        "Issuer: OU = Systemtap, CN = Systemtap Compile Server",
        "Subject: OU = Systemtap, CN = Systemtap Compile Server",
        "Public-Key: (3072 bit)",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, Code Signing",
        "DNS:labhost.example.com, DNS:labhost, DNS:labhost.local, DNS:localhost",
        "Not Before: Dec 31 23:00:00 2025 GMT",
        "Not After : Jan  1 00:00:00 2027 GMT",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}

#[test]
fn openssl_verifies_the_certificate_against_itself_as_a_server() {
    let directory = TempDir::new().unwrap();
    let pem = openssl(&[
        "x509",
        "-inform",
        "DER",
        "-in",
        "stap.cert",
        "-outform",
        "PEM",
    ]);
    fs::write(directory.path().join("stap.pem"), pem).unwrap();
    let output = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-partial_chain",
            "-purpose",
            "sslserver",
        ])
        .args(["-attime", "1767225600", "-CAfile", "stap.pem", "stap.pem"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("stap.pem: OK"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn openssl_finds_the_same_public_key_in_key_and_certificate() {
    let of_key = openssl(&["pkey", "-inform", "DER", "-in", "stap.key", "-pubout"]);
    let of_certificate = openssl(&[
        "x509",
        "-inform",
        "DER",
        "-in",
        "stap.cert",
        "-noout",
        "-pubkey",
    ]);
    assert_eq!(of_key, of_certificate);
}

#[test]
fn a_key_made_by_openssl_is_read_and_recognised() {
    let directory = TempDir::new().unwrap();
    for arguments in [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out key.der",
        "pkcs8 -topk8 -nocrypt -inform DER -in key.der -outform DER -out key.p8",
        "req -x509 -key key.p8 -keyform DER -subj /CN=x -outform DER -out cert.der",
    ] {
        let status = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory.path())
            .output()
            .unwrap()
            .status;
        assert!(status.success(), "openssl {arguments}");
    }
    let key = PrivateKey::from_pkcs8(&fs::read(directory.path().join("key.p8")).unwrap()).unwrap();
    let theirs =
        Certificate::from_der(&fs::read(directory.path().join("cert.der")).unwrap()).unwrap();
    assert!(key.belongs_to(&theirs));
    assert!(!KEY.belongs_to(&theirs));
}

#[test]
fn names_are_those_of_the_host_without_doubles_and_without_what_is_no_name() {
    let names = |nodename| Identity::of_host(nodename).dns_names;
    assert_eq!(names("labhost"), ["labhost", "labhost.local", "localhost"]);
    assert_eq!(names("a.b.c"), ["a.b.c", "a", "a.local", "localhost"]);
    assert_eq!(names("localhost"), ["localhost", "localhost.local"]);
    assert_eq!(names("LocalHost"), ["LocalHost", "LocalHost.local"]);
    assert_eq!(names("mac.local"), ["mac.local", "mac", "localhost"]);
    let long = "x".repeat(64);
    for nothing in [
        "",
        "(none)",
        "my_host",
        "-a",
        "a-",
        "a b",
        "é",
        "*",
        long.as_str(),
    ] {
        assert_eq!(names(nothing), ["localhost"], "{nothing:?}");
    }
    assert_eq!(names("10.0.0.1"), ["10.local", "localhost"]);
}

#[test]
fn this_host_has_a_name() {
    assert!(!Identity::of_this_host().dns_names().is_empty());
}

#[test]
fn a_clock_out_of_range_is_refused() {
    let identity = Identity::of_host("h");
    for moment in [SystemTime::UNIX_EPOCH, now() + Duration::from_secs(1 << 40)] {
        let error = KEY.certify(&identity, moment).unwrap_err();
        assert!(matches!(error, IssueError::Clock), "{error:?}");
    }
}

#[test]
fn junk_is_no_key_and_a_key_is_in_no_debug_text() {
    assert!(PrivateKey::from_pkcs8(b"").is_none());
    assert!(PrivateKey::from_pkcs8(&[0x30; 100]).is_none());
    assert_eq!(format!("{:?}", *KEY), "PrivateKey(secret)");
}
