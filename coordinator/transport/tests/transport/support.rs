//! Certificates and servers for the tests, each test with its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use stap_transport::Deadlines;
use stap_transport::server::{Acceptor, ServerStream, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Long enough for a busy machine, and no test waits for it.
pub(crate) const PATIENT: Deadlines = Deadlines {
    handshake: Duration::from_secs(60),
    read: Duration::from_secs(60),
    write: Duration::from_secs(60),
    whole: Duration::from_secs(120),
};

impl Identity {
    /// Valid from the first day of one year to the first day of another.
    pub(crate) fn valid(from: i32, until: i32) -> Self {
        Self::make(&KeyPair::generate().unwrap(), from, until, Vec::new())
    }

    pub(crate) fn new() -> Self {
        Self::valid(2000, 2100)
    }

    /// What stock servers have: an RSA key and a critical extension that webpki does not know.
    pub(crate) fn stock() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        // nsCertType: SSL server, object signing, object signing authority.
        let oid = [2, 16, 840, 1, 113_730, 1, 1];
        let mut extension = CustomExtension::from_oid_content(&oid, vec![0x03, 0x02, 0x00, 0x51]);
        extension.set_criticality(true);
        Self::make(&key, 2000, 2100, vec![extension])
    }

    fn make(key: &KeyPair, from: i32, until: i32, extensions: Vec<CustomExtension>) -> Self {
        let names = vec!["labhost".to_owned(), "labhost.local".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Systemtap Compile Server");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.custom_extensions = extensions;
        let certificate = params.self_signed(key).unwrap().der().to_vec();
        Self {
            certificate,
            key: key.serialize_der(),
        }
    }

    pub(crate) fn acceptor(&self) -> Acceptor {
        Acceptor::new(self.certificate.clone(), self.key.clone()).unwrap()
    }

    pub(crate) fn trusted(&self) -> Vec<Vec<u8>> {
        vec![self.certificate.clone()]
    }
}

/// A TLS client that is not ours and does what a test tells it.
pub(crate) async fn raw_client<S>(
    stream: S,
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(identity.certificate.clone()))
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect("labhost".try_into().unwrap(), stream)
        .await
}

/// A TLS server that is not ours: it presents a certificate and signs with whatever key it has.
pub(crate) async fn raw_server<S>(
    stream: S,
    certificate: Vec<u8>,
    key: Vec<u8>,
    version: &'static SupportedProtocolVersion,
) -> io::Result<server::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = Arc::new(default_provider());
    let key = provider
        .key_provider
        .load_private_key(PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    let identity = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    TlsAcceptor::from(Arc::new(config)).accept(stream).await
}

/// A socket that waits for one connection after another.
pub(crate) struct Server {
    acceptor: Acceptor,
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start(identity: &Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            acceptor: identity.acceptor(),
            listener,
        }
    }

    /// Another server at the same address.
    pub(crate) fn restart(&mut self, identity: &Identity) {
        self.acceptor = identity.acceptor();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) async fn accept(&self) -> Result<ServerStream<TcpStream>, TransportError> {
        let (socket, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(socket, &PATIENT).await
    }
}
