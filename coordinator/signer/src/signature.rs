//! The two signatures that a module can get: bytes in, bytes out.
//!
//! Both are RSA with PKCS #1 v1.5, because nothing else is understood by those who check them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};
use cms::cert::IssuerAndSerialNumber;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode, Encode};
use stap_protocol::signing::SignatureHash;
use x509_cert::Certificate;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Not an RSA key, or one of a size that nobody should sign with.
    #[error("the key cannot sign: {0}")]
    Key(String),
    /// The certificate cannot be named in a signature.
    #[error("the certificate of the key cannot be named in a signature: {0}")]
    Certificate(String),
    /// The bytes are signed already, and a kernel looks at the last signature only.
    #[error("the module is signed already")]
    SignedAlready,
}

/// What `staprun` checks: the bare signature over the whole file. SHA-256 is the one digest that every
/// version takes.
///
/// # Errors
/// When the key is of no use.
pub fn detached(module: &[u8], private_key_pkcs8: &[u8]) -> Result<Vec<u8>, SignatureError> {
    sign(module, private_key_pkcs8, &RSA_PKCS1_SHA256)
}

/// What a kernel checks: the module with a signature in the kernel's own form behind it, as
/// `scripts/sign-file` writes it (a CMS message without content, certificates and attributes, then a
/// fixed trailer; `include/linux/module_signature.h`).
///
/// # Errors
/// When key or certificate are of no use, or there is a signature already.
pub fn append(
    mut module: Vec<u8>,
    hash: SignatureHash,
    certificate: &[u8],
    private_key_pkcs8: &[u8],
) -> Result<Vec<u8>, SignatureError> {
    if is_signed(&module) {
        return Err(SignatureError::SignedAlready);
    }
    let signature = sign(&module, private_key_pkcs8, encoding(hash))?;
    let message = message(hash, certificate, signature)?;
    let length = u32::try_from(message.len()).expect("a message holds one signature and two names");
    module.extend(message);
    module.extend(trailer(length));
    module.extend(MAGIC);
    Ok(module)
}

/// Whether something that a kernel would take for a signature is at the end.
#[must_use]
pub fn is_signed(module: &[u8]) -> bool {
    module.ends_with(MAGIC)
}

fn sign(
    bytes: &[u8],
    private_key_pkcs8: &[u8],
    encoding: &'static dyn RsaEncoding,
) -> Result<Vec<u8>, SignatureError> {
    let key = RsaKeyPair::from_pkcs8(private_key_pkcs8)
        .map_err(|error| SignatureError::Key(error.to_string()))?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), bytes, &mut signature)
        .map_err(|error| SignatureError::Key(error.to_string()))?;
    Ok(signature)
}

fn message(
    hash: SignatureHash,
    certificate: &[u8],
    signature: Vec<u8>,
) -> Result<Vec<u8>, SignatureError> {
    let failed = |error: der::Error| SignatureError::Certificate(error.to_string());
    let signer = Certificate::from_der(certificate).map_err(failed)?;
    // Kernels compare the issuer byte by byte.
    if signer.to_der().map_err(failed)? != certificate {
        let reason = "it is not encoded as DER has it".to_owned();
        return Err(SignatureError::Certificate(reason));
    }
    let digest = AlgorithmIdentifierOwned {
        oid: identifier(hash),
        parameters: None,
    };
    let info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: signer.tbs_certificate.issuer,
            serial_number: signer.tbs_certificate.serial_number,
        }),
        digest_alg: digest.clone(),
        signed_attrs: None,
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: RSA_ENCRYPTION,
            parameters: Some(Any::null()),
        },
        signature: OctetString::new(signature).map_err(failed)?,
        unsigned_attrs: None,
    };
    let data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![digest]).map_err(failed)?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: DATA,
            econtent: None,
        },
        certificates: None,
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![info]).map_err(failed)?),
    };
    let content = ContentInfo {
        content_type: SIGNED_DATA,
        content: Any::encode_from(&data).map_err(failed)?,
    };
    content.to_der().map_err(failed)
}

/// `struct module_signature`: all zero but the kind of message and its length.
fn trailer(length: u32) -> [u8; 12] {
    let mut trailer = [0; 12];
    trailer[2] = PKEY_ID_PKCS7;
    trailer[8..].copy_from_slice(&length.to_be_bytes());
    trailer
}

fn encoding(hash: SignatureHash) -> &'static dyn RsaEncoding {
    match hash {
        SignatureHash::Sha256 => &RSA_PKCS1_SHA256,
        SignatureHash::Sha384 => &RSA_PKCS1_SHA384,
        SignatureHash::Sha512 => &RSA_PKCS1_SHA512,
    }
}

/// RFC 5754 2.
const fn identifier(hash: SignatureHash) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(match hash {
        SignatureHash::Sha256 => "2.16.840.1.101.3.4.2.1",
        SignatureHash::Sha384 => "2.16.840.1.101.3.4.2.2",
        SignatureHash::Sha512 => "2.16.840.1.101.3.4.2.3",
    })
}

const MAGIC: &[u8] = b"~Module signature appended~\n";
const PKEY_ID_PKCS7: u8 = 2;
/// RFC 5652 4 and 5.1; RFC 8017 A.1.
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests;
