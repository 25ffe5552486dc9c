//! TLS towards backends.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::types::crypto::provider;

/// How to speak TLS with an endpoint.
#[derive(Debug)]
pub struct ClientTls {
    insecure: bool,
    server_name: Option<Box<str>>,
    /// The gateway's own certificate, and the configuration that presents it.
    identity: Option<(Arc<CertifiedKey>, OnceLock<Arc<ClientConfig>>)>,
}

/// The same if backends can't tell them apart: their connections may be shared.
impl PartialEq for ClientTls {
    fn eq(&self, other: &ClientTls) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for ClientTls {}

impl Hash for ClientTls {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.parts().hash(hasher);
    }
}

impl ClientTls {
    /// `insecure` is `tlsConfig.insecureSkipVerification`: the issuer isn't checked, name and dates still are.
    /// `server_name` is the name to send and verify in place of the endpoint's host. `identity` is the gateway's own
    /// certificate, for backends that ask for one.
    pub fn new(
        insecure: bool,
        server_name: Option<&str>,
        identity: Option<Arc<CertifiedKey>>,
    ) -> ClientTls {
        ClientTls {
            insecure,
            server_name: server_name.map(Into::into),
            identity: identity.map(|key| (key, OnceLock::new())),
        }
    }

    fn parts(&self) -> (bool, Option<&str>, Option<&[CertificateDer<'static>]>) {
        let own = self.identity.as_ref().map(|(key, _)| &*key.cert);
        (self.insecure, self.server_name.as_deref(), own)
    }

    /// The name to verify.
    pub(super) fn server_name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` can't be the name of a TLS server"))
    }

    /// The configuration, shared by all endpoints of its kind. Roots are the system's, or `SSL_CERT_FILE`'s.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        static VERIFYING: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        static INSECURE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if let Some((key, cell)) = &self.identity {
            return cell
                .get_or_init(|| Arc::new(build(self.insecure, Some(key.clone()))))
                .clone();
        }
        let cell = if self.insecure { &INSECURE } else { &VERIFYING };
        cell.get_or_init(|| Arc::new(build(self.insecure, None)))
            .clone()
    }
}

fn build(insecure: bool, identity: Option<Arc<CertifiedKey>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "some of the system's root certificates can't be read");
    }
    roots.add_parsable_certificates(native.certs);
    let roots = Arc::new(roots);
    let builder = ClientConfig::builder_with_provider(provider());
    // The provider's own versions are always valid for it.
    let builder = match builder.with_safe_default_protocol_versions() {
        Ok(builder) => builder,
        Err(error) => unreachable!("the provider supports TLS 1.2 and 1.3: {error}"),
    };
    let builder = if insecure {
        let verifier = Arc::new(IssuerUnchecked { roots });
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots)
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// API Gateway's `insecureSkipVerification`: a private or self-signed issuer is accepted; the certificate must still be
/// in date and carry the server's name.
#[derive(Debug)]
struct IssuerUnchecked {
    roots: Arc<RootCertStore>,
}

impl ServerCertVerifier for IssuerUnchecked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider()).build();
        if let Ok(verifier) = builder
            && let Ok(verified) =
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
        {
            return Ok(verified);
        }
        check_dates(end_entity, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let invalid = |error| rustls::Error::InvalidCertificate(error);
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| invalid(rustls::CertificateError::BadEncoding))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds > parsed.validity().not_after.timestamp() {
        return Err(invalid(rustls::CertificateError::Expired));
    }
    if seconds < parsed.validity().not_before.timestamp() {
        return Err(invalid(rustls::CertificateError::NotValidYet));
    }
    Ok(())
}
