//! TLS of listeners: certificates by server name, TLS 1.2 and 1.3, HTTP/2 by ALPN.

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{
    config::model::{Certificate, Tls},
    types::{certificate::ClientCertificate, crypto::provider, peer::TlsFacts},
};

/// The TLS configuration of a listener.
pub fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certificates = Certificates {
        keys: tls.certificates.clone(),
        refuses_unknown: tls.refuse_unknown_names,
    };
    let builder = ServerConfig::builder_with_provider(provider());
    let versions: &[&SupportedProtocolVersion] = if tls.only_tls13 {
        &[&TLS13]
    } else {
        &[&TLS13, &TLS12]
    };
    let builder = builder.with_protocol_versions(versions)?;
    let builder = match &tls.mutual {
        None => builder.with_no_client_auth(),
        Some(mutual) => builder.with_client_cert_verifier(mutual.verifier.clone()),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.require_ems = true;
    config.send_tls13_tickets = 2;
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Chooses the certificate whose names fit what the client asks for.
#[derive(Debug)]
struct Certificates {
    keys: Vec<Certificate>,
    refuses_unknown: bool,
}

impl Certificates {
    fn of(&self, name: &str) -> Option<&Certificate> {
        self.keys
            .iter()
            .find(|entry| entry.names.iter().any(|own| **own == *name))
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.of(&name);
        let wildcard = || {
            let (_, rest) = name.split_once('.')?;
            self.of(&format!("*.{rest}"))
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

/// Certificates that a client may present, its own included (page "Mutual TLS").
const MOST_CHAIN: usize = 4;

/// Whether a client's chain of certificates is longer than API Gateway takes.
pub fn has_long_chain(connection: &rustls::ServerConnection) -> bool {
    let chain = connection.peer_certificates();
    chain.is_some_and(|chain| chain.len() > MOST_CHAIN)
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
        client_certificate: connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(|certificate| ClientCertificate::read(certificate))
            .map(Box::new),
    }
}
