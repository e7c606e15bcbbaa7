//! One X.509 certificate as the trust rules see it: exact bytes, and the few fields that are shown.
//!
//! Reading one is bounded and never judges who signed it; trust is a matter of being in a database.

use std::fmt;
use std::time::{Duration, SystemTime};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// A certificate. Two are equal when their bytes are.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    fingerprint: Fingerprint,
    serial: Vec<u8>,
    dns_names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    subject: Vec<u8>,
    public_key_info: Vec<u8>,
}

/// The SHA-256 of a certificate's DER bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// More bytes than any certificate has.
    #[error("it is larger than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// Not X.509, or not its DER encoding.
    #[error("it is not an X.509 certificate in DER form")]
    Malformed,
    /// Bytes follow the certificate.
    #[error("something follows the certificate")]
    TrailingBytes,
    /// A date that no clock can show.
    #[error("its dates are out of range")]
    Dates,
    /// PEM text with a damaged block.
    #[error("its PEM text is damaged")]
    Pem,
    /// PEM text with no certificate, or with several.
    #[error("it holds {0} PEM certificates instead of one")]
    NotOne(usize),
}

/// The largest certificate. Real ones have one or two kilobytes.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// The most alternative names that are kept; real certificates have a few.
pub const MAX_DNS_NAMES: usize = 64;

/// A certificate is renewed when less than this of its life is left.
pub const RENEWAL_MARGIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Certificate {
    /// Reads a certificate from its DER bytes, which must be nothing else.
    ///
    /// # Errors
    /// Says why the bytes are not one certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge);
        }
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_opaque| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingBytes);
        }
        Ok(Self {
            der: der.to_vec(),
            fingerprint: Fingerprint::of(der),
            serial: parsed.raw_serial().to_vec(),
            dns_names: dns_names(&parsed)?,
            not_before: moment(parsed.validity().not_before)?,
            not_after: moment(parsed.validity().not_after)?,
            subject: parsed.subject().as_raw().to_vec(),
            public_key_info: parsed.public_key().raw.to_vec(),
        })
    }

    /// Reads a certificate from a file's bytes, DER or PEM.
    ///
    /// # Errors
    /// Says why the bytes are not one certificate.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge);
        }
        if bytes.first() == Some(&DER_SEQUENCE) {
            Self::from_der(bytes)
        } else {
            Self::from_pem(bytes)
        }
    }

    fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let mut found = Vec::new();
        for block in Pem::iter_from_buffer(text) {
            let block = block.map_err(|_opaque| CertificateError::Pem)?;
            if block.label == "CERTIFICATE" {
                found.push(block.contents);
            }
        }
        match found.as_slice() {
            [der] => Self::from_der(der),
            _ => Err(CertificateError::NotOne(found.len())),
        }
    }

    /// The exact bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of the exact bytes.
    #[must_use]
    pub fn sha256(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The serial number's octets as `00:cc:1b:64:0d`, the way servers announce it.
    #[must_use]
    pub fn serial_text(&self) -> String {
        let octets: Vec<String> = self
            .serial
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        octets.join(":")
    }

    /// The DNS names in the subject alternative name, in order, at most [`MAX_DNS_NAMES`]; characters
    /// that no host name has are replaced, so that they can be shown.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The first moment at which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last moment at which the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Tells whether the certificate's life has ended.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        now > self.not_after
    }

    /// Tells whether its server should make a new one: it has expired or will within
    /// [`RENEWAL_MARGIN`].
    #[must_use]
    pub fn needs_renewal(&self, now: SystemTime) -> bool {
        self.not_after
            .duration_since(now)
            .map_or(true, |left| left < RENEWAL_MARGIN)
    }

    /// The DER bytes of the subject's name.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The DER bytes of the subject's public key (`SubjectPublicKeyInfo`).
    pub(crate) fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }
}

impl Fingerprint {
    /// Computes the fingerprint of DER bytes.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Reads the 64 lower-case hexadecimal digits that [`Display`](fmt::Display) writes, and nothing
    /// else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            *octet = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(octets))
    }
}

/// The SHA-1 of a certificate's DER bytes, by which firmware and stock programs know a key. Nothing is
/// trusted because of it.
#[must_use]
pub fn sha1_of(der: &[u8]) -> [u8; 20] {
    Sha1::digest(der).into()
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("sha256", &self.fingerprint)
            .field("serial", &self.serial_text())
            .field("dns_names", &self.dns_names)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|octet| write!(formatter, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

fn dns_names(parsed: &X509Certificate<'_>) -> Result<Vec<String>, CertificateError> {
    let extension = parsed
        .subject_alternative_name()
        .map_err(|_opaque| CertificateError::Malformed)?;
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(printable(name)),
            _ => None,
        })
        .take(MAX_DNS_NAMES)
        .collect())
}

fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

fn moment(time: ASN1Time) -> Result<SystemTime, CertificateError> {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.ok_or(CertificateError::Dates)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The tag that every DER certificate starts with, and no PEM text.
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
