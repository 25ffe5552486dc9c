//! TLS of listeners: certificates by server name, TLS 1.2 and 1.3, HTTP/2 by ALPN.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use x509_parser::extensions::GeneralName;

use crate::{config::model, types::peer::TlsFacts, upstream::tls::provider};

/// A certificate or key that can't be used.
#[derive(Debug)]
pub struct TlsFault(String);

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsFault {}

/// The TLS configuration of a listener.
pub fn server_config(tls: &model::Tls) -> Result<Arc<ServerConfig>, TlsFault> {
    let keys = tls
        .certificates
        .iter()
        .map(|(certificate, key)| load(certificate, key))
        .collect::<Result<_, _>>()?;
    let certificates = Certificates {
        keys,
        refuses_unknown: tls.refuse_unknown_names,
    };
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsFault(error.to_string()))?;
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.require_ems = true;
    config.send_tls13_tickets = 2;
    config.ticketer = Ticketer::new().map_err(|error| TlsFault(error.to_string()))?;
    Ok(Arc::new(config))
}

fn load(certificate: &Path, key: &Path) -> Result<Entry, TlsFault> {
    let name = certificate.display();
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsFault(format!("can't read the certificate `{name}`: {error}")))?;
    let first = chain
        .first()
        .ok_or_else(|| TlsFault(format!("`{name}` has no certificate")))?;
    let names =
        names(first).ok_or_else(|| TlsFault(format!("`{name}` isn't a valid certificate")))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        TlsFault(format!(
            "can't read the private key `{}`: {error}",
            key.display()
        ))
    })?;
    let key = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
        TlsFault(format!(
            "the key `{}` doesn't go with `{name}`: {error}",
            key.display()
        ))
    })?;
    Ok(Entry {
        names,
        key: Arc::new(key),
    })
}

/// The names a certificate is for, in lower case.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let extension = parsed.subject_alternative_name().ok().flatten();
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    Some(names.collect())
}

#[derive(Debug)]
struct Entry {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// Chooses the certificate whose names fit what the client asks for.
#[derive(Debug)]
struct Certificates {
    keys: Vec<Entry>,
    refuses_unknown: bool,
}

impl Certificates {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.keys.iter().find(|entry| entry.names.contains(&name));
        let wildcard = || {
            let (_, rest) = name.split_once('.')?;
            let wanted = format!("*.{rest}");
            self.keys.iter().find(|entry| entry.names.contains(&wanted))
        };
        exact.or_else(wildcard).map(|entry| &entry.key)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name));
        let default = || {
            self.keys
                .first()
                .map(|entry| &entry.key)
                .filter(|_| !self.refuses_unknown)
        };
        found.or_else(default).cloned()
    }
}

/// What a handshake agreed on.
pub fn facts(connection: &rustls::ServerConnection) -> TlsFacts {
    TlsFacts {
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(Into::into))
            .unwrap_or_default(),
        server_name: connection.server_name().map(Into::into),
    }
}
