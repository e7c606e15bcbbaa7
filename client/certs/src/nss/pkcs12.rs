//! The file in which NSS's pk12util takes and gives a private key with its certificate (PKCS #12,
//! RFC 7292).
//!
//! Such a file exists for a moment, in a directory that only this process enters. So one that is
//! written has its key in clear, as our own key file has it. One that is read is encrypted, because
//! pk12util knows no other way; with which algorithms is ours to choose, and others are not read.

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

use super::NICKNAME;

/// Why such a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Pkcs12Error {
    #[error("what pk12util wrote is not understood")]
    Malformed,
    #[error("what pk12util wrote is encrypted in another way than was asked for")]
    Algorithm,
    #[error("what pk12util wrote cannot be decrypted")]
    Decryption,
}

/// The cipher to ask pk12util for.
pub(super) const CIPHER: &str = "AES-256-CBC";

/// The most keys that are decrypted. Each costs as much time as guessing a password is to cost.
const MAX_KEYS: usize = 4;

/// The most rounds of making a key from a password that are done. NSS does 600,000.
const MAX_ITERATIONS: u32 = 10_000_000;

/// Files nest about a dozen deep.
const MAX_DEPTH: usize = 24;

/// Packs a private key (PKCS #8) and its certificate, under the nickname of servers, for pk12util with
/// this password, which protects nothing.
pub(super) fn pack(certificate: &[u8], private_key: &[u8], password: &str) -> Vec<u8> {
    let key_id = digest::digest(&digest::SHA256, certificate);
    let attributes = der(
        SET,
        &[
            attribute(FRIENDLY_NAME, &der(BMP_STRING, &[utf_16(NICKNAME)])),
            attribute(LOCAL_KEY_ID, &der(OCTETS, &[key_id.as_ref()])),
        ],
    );
    let in_bag = der(
        SEQUENCE,
        &[
            der(OID, &[X509_CERTIFICATE]),
            der(EXPLICIT, &[der(OCTETS, &[certificate])]),
        ],
    );
    let bag = |kind: &[u8], content: &[u8]| {
        let (kind, content) = (der(OID, &[kind]), der(EXPLICIT, &[content]));
        der(SEQUENCE, &[kind, content, attributes.clone()])
    };
    let bags = der(
        SEQUENCE,
        &[bag(CERTIFICATE_BAG, &in_bag), bag(KEY_BAG, private_key)],
    );
    let safe = der(SEQUENCE, &[data(&bags)]);
    let mac = mac(&safe, password);
    der(SEQUENCE, &[der(INTEGER, &[[3]]), data(&safe), mac])
}

/// Returns the private keys (PKCS #8) in a file that pk12util wrote with [`CIPHER`] and this password.
pub(super) fn private_keys(file: &[u8], password: &str) -> Result<Vec<Vec<u8>>, Pkcs12Error> {
    let mut pfx = Elements::inside(file, SEQUENCE)?;
    pfx.next(INTEGER)?;
    let safe = content(pfx.next(SEQUENCE)?)?.ok_or(Pkcs12Error::Malformed)?;
    let mut keys = Vec::new();
    let mut contents = Elements::inside(&safe, SEQUENCE)?;
    while let Some(info) = contents.next_if_any(SEQUENCE)? {
        // Certificates may be in a part that is encrypted as a whole; they are had more directly.
        let Some(bags) = content(info)? else { continue };
        let mut bags = Elements::inside(&bags, SEQUENCE)?;
        while let Some(bag) = bags.next_if_any(SEQUENCE)? {
            let mut bag = Elements::of(bag);
            let kind = bag.next(OID)?;
            let value = bag.next(EXPLICIT)?;
            match kind {
                KEY_BAG => keys.push(value.to_vec()),
                SHROUDED_KEY_BAG => keys.push(decrypt(value, password)?),
                _ => {}
            }
            if keys.len() > MAX_KEYS {
                return Err(Pkcs12Error::Malformed);
            }
        }
    }
    Ok(keys)
}

/// Decrypts a private key: PBES2 with PBKDF2, HMAC-SHA-256 and AES-256 in CBC mode.
fn decrypt(encrypted: &[u8], password: &str) -> Result<Vec<u8>, Pkcs12Error> {
    let mut info = Elements::inside(encrypted, SEQUENCE)?;
    let mut algorithm = Elements::of(info.next(SEQUENCE)?);
    let ciphertext = octets(&mut info)?;
    let is = |found: &[u8], wanted| {
        (found == wanted)
            .then_some(())
            .ok_or(Pkcs12Error::Algorithm)
    };
    is(algorithm.next(OID)?, PBES2)?;
    let mut parameters = Elements::of(algorithm.next(SEQUENCE)?);
    let mut derivation = Elements::of(parameters.next(SEQUENCE)?);
    let mut scheme = Elements::of(parameters.next(SEQUENCE)?);
    is(derivation.next(OID)?, PBKDF2)?;
    let mut derivation = Elements::of(derivation.next(SEQUENCE)?);
    let salt = derivation.next(OCTETS)?;
    let iterations = number(derivation.next(INTEGER)?)?;
    let _length = derivation.next_if(INTEGER)?;
    let mut prf = Elements::of(
        derivation
            .next(SEQUENCE)
            .map_err(|_sha1| Pkcs12Error::Algorithm)?,
    );
    is(prf.next(OID)?, HMAC_SHA256)?;
    is(scheme.next(OID)?, AES_256_CBC)?;
    let iv: [u8; 16] = scheme
        .next(OCTETS)?
        .try_into()
        .map_err(|_length| Pkcs12Error::Malformed)?;

    let mut key = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        password.as_bytes(),
        &mut key,
    );
    let failed = |_opaque| Pkcs12Error::Decryption;
    let key = UnboundCipherKey::new(&AES_256, &key).map_err(failed)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(failed)?;
    let mut buffer = ciphertext;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let clear = key.decrypt(&mut buffer, context).map_err(failed)?;
    Ok(clear.to_vec())
}

fn number(content: &[u8]) -> Result<NonZeroU32, Pkcs12Error> {
    if content.len() > 4 {
        return Err(Pkcs12Error::Algorithm);
    }
    let number = content
        .iter()
        .fold(0_u32, |number, octet| number << 8 | u32::from(*octet));
    NonZeroU32::new(number)
        .filter(|number| number.get() <= MAX_ITERATIONS)
        .ok_or(Pkcs12Error::Algorithm)
}

/// The seal without which pk12util takes no file.
fn mac(safe: &[u8], password: &str) -> Vec<u8> {
    // One salt for all: the password is used once and the file is never anybody's.
    const SALT: [u8; 8] = *b"one time";
    const ITERATIONS: u16 = 2048;
    // RFC 7292, appendix B.2, for a key that is no longer than one digest: blocks of 64 octets of the
    // purpose (3 is a seal), of the salt and of the password, the latter with its terminating zero.
    let mut password = utf_16(password);
    password.extend([0, 0]);
    let blocks = |text: &[u8]| {
        let length = text.len().div_ceil(BLOCK) * BLOCK;
        text.iter()
            .copied()
            .cycle()
            .take(length)
            .collect::<Vec<u8>>()
    };
    let mut key = [vec![3; BLOCK], blocks(&SALT), blocks(&password)].concat();
    for _round in 0..ITERATIONS {
        key = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &key)
            .as_ref()
            .to_vec();
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = hmac::sign(&key, safe);
    let algorithm = der(SEQUENCE, &[der(OID, &[SHA1]), der(NULL, &[[0_u8; 0]])]);
    let sealed = der(SEQUENCE, &[algorithm, der(OCTETS, &[tag.as_ref()])]);
    let iterations = der(INTEGER, &[ITERATIONS.to_be_bytes()]);
    der(SEQUENCE, &[sealed, der(OCTETS, &[SALT]), iterations])
}

const BLOCK: usize = 64;

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn attribute(kind: &[u8], value: &[u8]) -> Vec<u8> {
    der(SEQUENCE, &[der(OID, &[kind]), der(SET, &[value])])
}

fn data(content: &[u8]) -> Vec<u8> {
    let content = der(EXPLICIT, &[der(OCTETS, &[content])]);
    der(SEQUENCE, &[der(OID, &[DATA]), content])
}

/// One element: its tag, its length and its parts.
fn der<T: AsRef<[u8]>>(tag: u8, parts: &[T]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.as_ref().len()).sum();
    let octets = length.to_be_bytes();
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    let mut element = vec![tag];
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => element.push(length),
        _ => {
            let count = u8::try_from(significant.len()).expect("a length has at most eight octets");
            element.push(0x80 | count);
            element.extend_from_slice(significant);
        }
    }
    parts
        .iter()
        .for_each(|part| element.extend_from_slice(part.as_ref()));
    element
}

/// The elements of some bytes, one after the other. NSS writes BER: an element's end may be marked
/// instead of its length.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn of(content: &'a [u8]) -> Self {
        Self(content)
    }

    fn inside(bytes: &'a [u8], tag: u8) -> Result<Self, Pkcs12Error> {
        Self(bytes).next(tag).map(Self)
    }

    /// The content of the next element, which must have this tag.
    fn next(&mut self, tag: u8) -> Result<&'a [u8], Pkcs12Error> {
        self.next_if(tag)?.ok_or(Pkcs12Error::Malformed)
    }

    fn next_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Pkcs12Error> {
        if self.0.first() != Some(&tag) {
            return Ok(None);
        }
        let element = element(self.0, MAX_DEPTH)?;
        self.0 = element.rest;
        Ok(Some(element.content))
    }

    fn next_if_any(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Pkcs12Error> {
        if self.0.is_empty() {
            Ok(None)
        } else {
            self.next(tag).map(Some)
        }
    }
}

/// The bytes of a `ContentInfo` that is plain data; `None` for another kind.
fn content(info: &[u8]) -> Result<Option<Vec<u8>>, Pkcs12Error> {
    let mut info = Elements::of(info);
    if info.next(OID)? != DATA {
        return Ok(None);
    }
    octets(&mut Elements::of(info.next(EXPLICIT)?)).map(Some)
}

/// The next element, a string of octets in one piece or in several.
fn octets(elements: &mut Elements<'_>) -> Result<Vec<u8>, Pkcs12Error> {
    if let Some(whole) = elements.next_if(OCTETS)? {
        return Ok(whole.to_vec());
    }
    let mut pieces = Elements::of(elements.next(OCTETS | CONSTRUCTED)?);
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next_if_any(OCTETS)? {
        whole.extend_from_slice(piece);
    }
    Ok(whole)
}

struct Element<'a> {
    content: &'a [u8],
    rest: &'a [u8],
}

fn element(bytes: &[u8], depth: usize) -> Result<Element<'_>, Pkcs12Error> {
    let malformed = Pkcs12Error::Malformed;
    let depth = depth.checked_sub(1).ok_or(malformed)?;
    let (&first, after) = bytes
        .get(1..)
        .and_then(<[u8]>::split_first)
        .ok_or(malformed)?;
    let length = match first {
        0..0x80 => usize::from(first),
        0x80 => return until_the_mark(after, depth),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let octets = after.get(..count).ok_or(malformed)?;
            let length = octets
                .iter()
                .fold(0, |length, octet| length << 8 | usize::from(*octet));
            let (content, rest) = after[count..].split_at_checked(length).ok_or(malformed)?;
            return Ok(Element { content, rest });
        }
        _ => return Err(malformed),
    };
    let (content, rest) = after.split_at_checked(length).ok_or(malformed)?;
    Ok(Element { content, rest })
}

/// The content up to the two zeros that end it, which are no part of an element inside.
fn until_the_mark(bytes: &[u8], depth: usize) -> Result<Element<'_>, Pkcs12Error> {
    let mut rest = bytes;
    loop {
        if let Some(after) = rest.strip_prefix(&[0, 0]) {
            let content = &bytes[..bytes.len() - rest.len()];
            return Ok(Element {
                content,
                rest: after,
            });
        }
        rest = element(rest, depth)?.rest;
    }
}

const CONSTRUCTED: u8 = 0x20;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const EXPLICIT: u8 = 0xa0;

/// Object identifiers, each the content of its element.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const KEY_BAG: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01,
];
const SHROUDED_KEY_BAG: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02,
];
const CERTIFICATE_BAG: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03,
];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
