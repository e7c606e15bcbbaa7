//! What an NSS store holds: its certificates and what it trusts them for.
//!
//! A store is read here and never by NSS's programs: their listings name a certificate only by a
//! nickname that several share, so they cannot say which of them is trusted; they load the modules
//! that the store's own configuration names; and those of one version do not see the trust that a
//! newer one wrote (since 3.111 or so it is an object of PKCS #11's own kind).

use std::collections::HashMap;

use aws_lc_rs::digest;

use super::sqlite::{Database, Row, SqliteError};
use crate::certificate::{Certificate, Fingerprint};

/// A store's certificates, and the trust that belongs to none of them.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) held: Vec<Held>,
    strays: Trusts,
}

/// Trust objects by whom they are about.
type Trusts = HashMap<Name, Vec<TrustObject>>;

/// A certificate's name in a store: the DER bytes of its issuer and of its serial number.
type Name = (Vec<u8>, Vec<u8>);

/// One certificate in a store.
#[derive(Debug)]
pub(super) struct Held {
    /// The exact bytes.
    pub(super) der: Vec<u8>,
    /// As we read it; NSS may accept what we do not.
    pub(super) certificate: Option<Certificate>,
    /// The name that it is listed under.
    pub(super) nickname: String,
    /// The DER bytes of its subject.
    pub(super) subject: Vec<u8>,
    /// What joins it to its private key.
    pub(super) key_id: Vec<u8>,
    name: Name,
    trust: Vec<TrustObject>,
}

/// What one object of a store says about one certificate.
#[derive(Clone, Debug)]
struct TrustObject {
    hash: Hash,
    server: Trust,
    client: Trust,
    email: Trust,
    code: Trust,
}

/// The digest by which a trust object means exactly one certificate.
#[derive(Clone, Debug)]
enum Hash {
    Sha1(Vec<u8>),
    Sha256(Vec<u8>),
    Missing,
}

/// What a certificate is trusted for in one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// As this certificate: `P`.
    Peer,
    /// Also as an issuer: `C`.
    Issuer,
    /// Neither; its issuer decides.
    Nothing,
    /// Never, whoever issued it: `p`.
    Distrusted,
}

impl Contents {
    /// Reads the bytes of a `cert9.db`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, SqliteError> {
        let database = Database::open(bytes)?;
        let table = database
            .table("nssPublic")?
            .ok_or(SqliteError::NotADatabase)?;
        let mut contents = Self::default();
        for row in database.rows(&table)? {
            match class(&row) {
                Some(CERTIFICATE) => contents.held.extend(Held::of(&row)),
                Some(NSS_TRUST) => contents.learn(&row, &NSS),
                Some(PKCS11_TRUST) => contents.learn(&row, &PKCS11),
                _ => {}
            }
        }
        for held in &mut contents.held {
            let Some(named) = contents.strays.remove(&held.name) else {
                continue;
            };
            let (own, others) = named
                .into_iter()
                .partition(|trust| trust.is_about(&held.der));
            held.trust = own;
            contents.strays.insert(held.name.clone(), others);
        }
        Ok(contents)
    }

    /// Certificates that stock programs accept from a server.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &Certificate> {
        let trusted = self.held.iter().filter(|held| held.is_trusted());
        trusted.filter_map(|held| held.certificate.as_ref())
    }

    /// Certificates that somebody marked as never to be accepted.
    pub(super) fn distrusted(&self) -> impl Iterator<Item = Fingerprint> {
        let marked = self.held.iter().filter(|held| held.is_distrusted());
        marked.map(|held| Fingerprint::of(&held.der))
    }

    /// Tells whether the store says anything at all about trust in this certificate. NSS believes
    /// such an object even where the certificate itself was removed.
    pub(super) fn mentions(&self, certificate: &Certificate) -> bool {
        let is_held = |held: &Held| held.der == certificate.der();
        self.held.iter().any(is_held) || self.has_stray(certificate)
    }

    /// Tells whether trust in the certificate is left in the store without the certificate.
    pub(super) fn has_stray(&self, certificate: &Certificate) -> bool {
        let named = name_in(certificate.der()).and_then(|name| self.strays.get(&name));
        let mut named = named.into_iter().flatten();
        named.any(|trust| trust.is_about(certificate.der()))
    }

    fn learn(&mut self, row: &Row<'_>, form: &Form) {
        if let Some(name) = name_of(row) {
            let trust = TrustObject::of(row, form);
            self.strays.entry(name).or_default().push(trust);
        }
    }
}

impl Held {
    fn of(row: &Row<'_>) -> Option<Self> {
        let der = value(row, "a11")?.to_vec();
        let text = |column| value(row, column).unwrap_or_default();
        Some(Self {
            certificate: Certificate::from_der(&der).ok(),
            nickname: String::from_utf8_lossy(text("a3")).into_owned(),
            subject: text("a101").to_vec(),
            key_id: text("a102").to_vec(),
            name: name_of(row)?,
            trust: Vec::new(),
            der,
        })
    }

    /// Every object about it has to say so: two versions of NSS may have written one each, and what a
    /// later one took back must not live on in the other.
    pub(super) fn is_trusted(&self) -> bool {
        let says_so = |trust: &TrustObject| matches!(trust.server, Trust::Peer | Trust::Issuer);
        !self.trust.is_empty() && self.trust.iter().all(says_so)
    }

    fn is_distrusted(&self) -> bool {
        let says_so = |trust: &TrustObject| trust.server == Trust::Distrusted;
        self.trust.iter().any(says_so)
    }

    /// The flags that certutil gives it the same trust by.
    pub(super) fn flags(&self) -> String {
        let of = |usage: fn(&TrustObject) -> Trust| {
            let all: Vec<Trust> = self.trust.iter().map(usage).collect();
            match all.first() {
                _ if all.contains(&Trust::Distrusted) => "p",
                Some(first) if all.iter().any(|other| other != first) => "",
                Some(Trust::Peer) => "P",
                Some(Trust::Issuer) => "C",
                _ => "",
            }
        };
        let issues_clients = of(|trust| trust.client) == "C";
        let clients = if issues_clients { "T" } else { "" };
        let server = of(|trust| trust.server);
        let (email, code) = (of(|trust| trust.email), of(|trust| trust.code));
        format!("{server}{clients},{email},{code}")
    }
}

impl TrustObject {
    fn of(row: &Row<'_>, form: &Form) -> Self {
        let hash = value(row, form.hash).map(<[u8]>::to_vec);
        let usage = |column| {
            let found = value(row, column).and_then(number);
            (form.trust)(found.unwrap_or_default())
        };
        let hash = match hash {
            Some(hash) if hash.len() == 20 => Hash::Sha1(hash),
            Some(hash) if hash.len() == 32 => Hash::Sha256(hash),
            _ => Hash::Missing,
        };
        Self {
            hash,
            server: usage(form.server),
            client: usage(form.client),
            email: usage(form.email),
            code: usage(form.code),
        }
    }

    /// Of the certificates of its name, the one with its digest. Without a digest it means whatever
    /// has that name, as it does for NSS.
    fn is_about(&self, der: &[u8]) -> bool {
        match &self.hash {
            Hash::Sha1(hash) => sha1(der) == *hash,
            Hash::Sha256(hash) => digest::digest(&digest::SHA256, der).as_ref() == hash,
            Hash::Missing => true,
        }
    }
}

/// The digest that NSS's older trust objects hold. Whoever could write a colliding certificate into
/// the store could as well write the trust.
fn sha1(der: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    digest.as_ref().to_vec()
}

fn name_of(row: &Row<'_>) -> Option<Name> {
    Some((value(row, "a81")?.to_vec(), value(row, "a82")?.to_vec()))
}

/// The name that a certificate has in a store.
fn name_in(der: &[u8]) -> Option<Name> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_rest, parsed) = X509Certificate::from_der(der).ok()?;
    let number = parsed.raw_serial();
    let length = u8::try_from(number.len())
        .ok()
        .filter(|length| *length < 0x80)?;
    let mut serial = vec![0x02, length];
    serial.extend_from_slice(number);
    Some((parsed.issuer().as_raw().to_vec(), serial))
}

/// The two kinds of trust objects: which column holds what, and what the numbers mean.
struct Form {
    hash: &'static str,
    server: &'static str,
    client: &'static str,
    email: &'static str,
    code: &'static str,
    trust: fn(u32) -> Trust,
}

const NSS: Form = Form {
    hash: "ace5363b4",
    server: "ace536358",
    client: "ace536359",
    code: "ace53635a",
    email: "ace53635b",
    trust: |number| match number {
        0xce53_4351 => Trust::Peer,
        0xce53_4352 => Trust::Issuer,
        0xce53_435a => Trust::Distrusted,
        _ => Trust::Nothing,
    },
};

const PKCS11: Form = Form {
    hash: "a635",
    server: "a62c",
    client: "a62d",
    code: "a62e",
    email: "a62f",
    trust: |number| match number {
        1 => Trust::Peer,
        2 => Trust::Issuer,
        3 => Trust::Distrusted,
        _ => Trust::Nothing,
    },
};

/// An object's class (`CKA_CLASS`).
fn class(row: &Row<'_>) -> Option<u32> {
    value(row, "a0").and_then(number)
}

const CERTIFICATE: u32 = 1;
const PKCS11_TRUST: u32 = 0x0b;
const NSS_TRUST: u32 = 0xce53_4353;

fn number(blob: &[u8]) -> Option<u32> {
    blob.try_into().ok().map(u32::from_be_bytes)
}

/// An attribute that has a value; a mark stands for an attribute that is there and empty.
fn value<'r>(row: &'r Row<'_>, column: &str) -> Option<&'r [u8]> {
    row.blob(column).filter(|blob| *blob != EMPTY)
}

const EMPTY: &[u8] = &[0xa5, 0x00, 0x5a];
