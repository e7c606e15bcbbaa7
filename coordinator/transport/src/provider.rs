//! The cryptography that both ends use, named in each configuration rather than installed for the
//! whole process.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// TLS 1.2 is there for stock peers that were built against an old NSS.
pub(crate) const VERSIONS: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// rustls' own choice of suites, groups and signatures; it has what every stock peer offers.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
