//! The bodies of the fuzz targets in `fuzz/`, as plain functions, so that the committed corpus is
//! replayed by the ordinary tests. They panic when a promise is broken.

use crate::certificate::{Certificate, Fingerprint, MAX_CERTIFICATE_BYTES, MAX_DNS_NAMES};

/// What is read from a stranger's file is bounded, can be shown, and is read the same again. Tells
/// whether it was a certificate.
pub fn certificate(bytes: &[u8]) -> bool {
    let Ok(certificate) = Certificate::from_file_bytes(bytes) else {
        return false;
    };
    let names = certificate.dns_names();
    assert!(
        certificate.der().len() <= MAX_CERTIFICATE_BYTES,
        "more was kept than allowed"
    );
    assert!(
        names.len() <= MAX_DNS_NAMES,
        "more names were kept than allowed"
    );
    let is_shown = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(
        names.iter().all(is_shown),
        "a name cannot be shown: {names:?}"
    );
    let again = Certificate::from_der(certificate.der());
    assert_eq!(
        again.as_ref(),
        Ok(&certificate),
        "a certificate is read differently again"
    );
    let fingerprint = certificate.sha256();
    assert_eq!(
        Fingerprint::from_hex(&fingerprint.to_string()),
        Some(fingerprint)
    );
    true
}

/// Whatever lies where an NSS store is expected, reading it ends with an answer. Tells whether it was a
/// store.
#[must_use]
pub fn store(bytes: &[u8]) -> bool {
    crate::nss::is_store(bytes)
}
