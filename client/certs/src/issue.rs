//! Making a server's key and self-signed certificate.
//!
//! Owns the certificate profile: what stock SystemTap clients (NSS) insist on, and nothing more. The
//! only module that names rcgen.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType, SerialNumber,
};
use rustix::rand::{GetRandomFlags, getrandom};
use time::OffsetDateTime;

use crate::certificate::{Certificate, CertificateError};

/// The DNS names of a server, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    dns_names: Vec<String>,
}

/// A server's private key.
pub struct PrivateKey(KeyPair);

/// Why no key or certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The cryptographic library refused.
    #[error("the key or the certificate could not be encoded: {0}")]
    Encoding(#[from] rcgen::Error),
    /// The kernel gave no random bytes.
    #[error("the system gives no random numbers: {0}")]
    Randomness(#[from] rustix::io::Errno),
    /// The clock shows a time that no certificate can carry.
    #[error("the system's clock is out of range; set it")]
    Clock,
    /// What was made cannot be read back.
    #[error("the new certificate cannot be read back: {0}")]
    ReadBack(#[from] CertificateError),
}

/// How long a certificate is valid.
pub const LIFETIME: Duration = Duration::from_secs(365 * DAY);

/// How far in the past a certificate's life begins, so that a client whose clock is behind takes it.
pub const BACKDATING: Duration = Duration::from_secs(60 * 60);

impl Identity {
    /// Returns the names of the host whose node name (`uname -n`) is given: the node name, its first
    /// label, `<short>.local` for mDNS, and `localhost`. What is not a legal host name is left out.
    #[must_use]
    pub fn of_host(nodename: &str) -> Self {
        let short = nodename.split('.').next().unwrap_or_default();
        let mdns = format!("{short}.local");
        let mut dns_names: Vec<String> = Vec::new();
        for name in [nodename, short, &mdns, "localhost"] {
            let known = dns_names
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name));
            if is_host_name(name) && !known {
                dns_names.push(name.to_owned());
            }
        }
        Self { dns_names }
    }

    /// Returns the names of this host.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::of_host(&rustix::system::uname().nodename().to_string_lossy())
    }

    /// The names, best first; never empty.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }
}

impl PrivateKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// The cryptographic library can refuse.
    pub fn generate() -> Result<Self, IssueError> {
        Ok(Self(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, KEY_SIZE)?))
    }

    /// Reads an unencrypted PKCS#8 key, if it is one.
    #[must_use]
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        KeyPair::try_from(der).ok().map(Self)
    }

    /// The key as unencrypted PKCS#8.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// Tells whether the certificate is for this key.
    #[must_use]
    pub fn belongs_to(&self, certificate: &Certificate) -> bool {
        self.0.subject_public_key_info() == certificate.public_key_info()
    }

    /// The key as a PEM file that `sign-file` and stock servers read.
    pub(crate) fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Tells whether it is an RSA key.
    #[must_use]
    pub fn is_rsa(&self) -> bool {
        self.0.algorithm() == &PKCS_RSA_SHA256
    }

    /// Signs the certificate of a machine owner key, with which kernels check modules.
    ///
    /// # Errors
    /// As for [`certify`](Self::certify).
    pub fn certify_for_modules(&self, now: SystemTime) -> Result<Certificate, IssueError> {
        let certificate = module_profile(now)?.self_signed(&self.0)?;
        Ok(Certificate::from_der(certificate.der())?)
    }

    /// Signs a certificate for this key and the given names, valid from about now for [`LIFETIME`].
    ///
    /// # Errors
    /// Fails when the system gives no random numbers or the clock is out of range.
    pub fn certify(&self, identity: &Identity, now: SystemTime) -> Result<Certificate, IssueError> {
        let certificate = profile(identity, now)?.self_signed(&self.0)?;
        Ok(Certificate::from_der(certificate.der())?)
    }
}

/// Shows that there is a key and nothing of it.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(secret)")
    }
}

/// What stock clients need of a server's certificate, each line for a reason that was measured.
fn profile(identity: &Identity, now: SystemTime) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.distinguished_name = subject()?;
    params.not_before = date(now.checked_sub(BACKDATING))?;
    params.not_after = date(now.checked_add(LIFETIME))?;
    // Stock `--trust-servers` refuses a self-signed certificate that is a CA or does not say that it
    // is none.
    params.is_ca = IsCa::ExplicitNoCa;
    // NSS wants keyEncipherment of an RSA server and, given an extended usage, serverAuth; the other
    // two are for signing modules.
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::CodeSigning,
    ];
    // Stock clients that list servers abort unless the first alternative name is a DNS name.
    for name in &identity.dns_names {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.as_str().try_into()?));
    }
    Ok(params)
}

/// What a kernel and the firmware's key manager need of a key that signs modules. Kernels look at no date
/// here, and an expiry that nobody checks would only frighten; stock servers give theirs a hundred
/// years, too.
fn module_profile(now: SystemTime) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    // Stock clients find their keys among those of the firmware by this issuer.
    for (attribute, value) in [
        (DnType::OrganizationName, "Systemtap"),
        (DnType::CommonName, "Systemtap module signing key"),
    ] {
        params
            .distinguished_name
            .push(attribute, DnValue::Utf8String(value.to_owned()));
    }
    params.not_before = date(now.checked_sub(BACKDATING))?;
    params.not_after = date(now.checked_add(MODULE_KEY_LIFETIME))?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // The second one tells shim that the key is for modules only, so that no boot loader or kernel
    // that it signed would be started.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::CodeSigning,
        ExtendedKeyUsagePurpose::Other(MODULE_SIGNING_ONLY.to_vec()),
    ];
    Ok(params)
}

/// NSS keeps several certificates under one nickname only when their subjects are equal byte for
/// byte, so order and string type are those of the stock server.
fn subject() -> Result<DistinguishedName, IssueError> {
    let mut subject = DistinguishedName::new();
    for (attribute, value) in [
        (DnType::OrganizationalUnitName, "Systemtap"),
        (DnType::CommonName, "Systemtap Compile Server"),
    ] {
        subject.push(attribute, DnValue::PrintableString(value.try_into()?));
    }
    Ok(subject)
}

/// Stock clients name a server by a serial number of exactly five octets: the top bit is set, so that
/// the encoding has a zero in front of the four.
fn serial() -> Result<SerialNumber, IssueError> {
    let mut octets = [0_u8; 4];
    let given = getrandom(&mut octets, GetRandomFlags::empty())?;
    debug_assert_eq!(
        given,
        octets.len(),
        "getrandom(2) gives up to 256 bytes at once"
    );
    octets[0] |= 0x80;
    Ok(SerialNumber::from_slice(&octets))
}

fn date(moment: Option<SystemTime>) -> Result<OffsetDateTime, IssueError> {
    let since_epoch = moment
        .and_then(|moment| moment.duration_since(SystemTime::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or(IssueError::Clock)?;
    OffsetDateTime::from_unix_timestamp(since_epoch).map_err(|_range| IssueError::Clock)
}

/// A host name of letters, digits and hyphens that cannot be taken for an address.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Large enough for the next decade, and made in a fraction of the time that 4096 bits take, which on
/// a slow host would not fit the 20 seconds that a first start may last.
const KEY_SIZE: RsaKeySize = RsaKeySize::_3072;

/// How long the certificate of a key for modules is valid.
const MODULE_KEY_LIFETIME: Duration = Duration::from_secs(100 * 365 * DAY);

/// `1.3.6.1.4.1.2312.16.1.2`, which shim knows.
const MODULE_SIGNING_ONLY: [u64; 10] = [1, 3, 6, 1, 4, 1, 2312, 16, 1, 2];

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests;
