//! Whom a client trusts: exactly the certificates that it is given.
//!
//! A certificate database holds the certificates of servers, not of authorities, so there is no chain
//! to build, and what a certificate says about its own uses does not matter: it is either one of
//! those that a user decided to trust, byte for byte, or it is not. Its dates do count. The names do
//! not, since servers are reached by address as often as by name.
//!
//! rustls' own verifier cannot be used, because it refuses the certificates of stock servers for a
//! critical extension (nsCertType) that it does not know.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::provider::provider;

/// A certificate that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an X.509 certificate in DER")]
pub struct BadCertificate;

/// Which certificates are accepted in a handshake.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// These, byte for byte, while they are valid.
    Exactly(Vec<Vec<u8>>),
    /// Any, because nothing will be sent: the caller only wants to see it.
    LookOnly,
}

/// Judges a server's certificate, and that the server holds its key.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(trust: Trust) -> Arc<Self> {
        let algorithms = provider().signature_verification_algorithms;
        Arc::new(Self { trust, algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Trust::Exactly(trusted) = &self.trust {
            if !trusted.iter().any(|known| known == end_entity.as_ref()) {
                return Err(CertificateError::UnknownIssuer.into());
            }
            check_dates(end_entity, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(public_key(cert).map_err(encoding)?);
        let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(signature)?;
        let candidates = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme);
        let (_, candidates) =
            candidates.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let fits = |candidate: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            key.verify_signature(*candidate, message, dss.signature())
                .is_ok()
        };
        match candidates.iter().any(fits) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(public_key(cert).map_err(encoding)?);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificate's public key with its algorithm, in DER.
pub(crate) fn public_key(certificate: &[u8]) -> Result<Vec<u8>, BadCertificate> {
    Ok(parse(certificate)?.public_key().raw.to_vec())
}

/// The DNS names that the certificate carries, in its order.
pub(crate) fn dns_names(certificate: &[u8]) -> Result<Vec<String>, BadCertificate> {
    let certificate = parse(certificate)?;
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension
        .into_iter()
        .flat_map(|extension| &extension.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Ok(dns.collect())
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, BadCertificate> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(BadCertificate),
    }
}

fn check_dates(certificate: &[u8], now: UnixTime) -> Result<(), Error> {
    let parsed = parse(certificate).map_err(encoding)?;
    let validity = parsed.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn encoding(_bad: BadCertificate) -> Error {
    CertificateError::BadEncoding.into()
}

fn signature(error: webpki::Error) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
