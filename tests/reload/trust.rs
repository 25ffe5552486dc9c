//! Whose certificates are taken, and how that changes with a reload: the truststore, lists of revoked certificates, and
//! what becomes of sessions and connections from before.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SerialNumber};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{
    certificate, handshake,
    process::{Process, mock},
    support::{Issuer, authority, document, revoking, status, within},
};

const PING: &str = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client that trusts the gateway's certificate, with one of its own from `issuer`. It resumes its sessions.
fn client(gateway: &str, issuer: &Issuer, serial: u64) -> Arc<ClientConfig> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let own = params.signed_by(&key, issuer).unwrap();
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(gateway.as_bytes()).unwrap();
    roots.add(trusted).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own.der().clone()], key);
    Arc::new(config.unwrap())
}

/// Asks on a new connection: how the handshake went, or `None` if the client's certificate was refused.
async fn ping(process: &Process, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let mut client = handshake(process, config).await.ok()?;
    client
        .send(PING.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        .await;
    let (answer, _) = within(client.rest()).await;
    let is_served = answer.starts_with(b"HTTP/1.1 200");
    is_served.then(|| client.stream.get_ref().1.handshake_kind().unwrap())
}

/// A gateway with mutual TLS by `clients.pem` and `more`, and its certificate.
async fn gateway(clients: &Issuer, list: &str) -> (Process, String) {
    let own = certificate();
    let files = [
        ("api.yaml", document(&mock("/ping", "ok"))),
        ("own.pem", own.0.clone()),
        ("own.key", own.1),
        ("clients.pem", clients.pem()),
        ("list.pem", list.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let tls = "    tls:\n      certificates: [{certificate: own.pem, privateKey: own.key}]\n      \
         mutualTlsAuthentication: {truststore: clients.pem, certificateRevocationLists: [list.pem]}\n";
    (Process::start(&files, "").with_listener(tls).await, own.0)
}

#[tokio::test]
async fn another_truststore_is_for_connections_that_begin_afterwards_resumed_ones_too() {
    let (old, new) = (authority("old"), authority("new"));
    let (process, own) = gateway(&old, &revoking(&old, 1).1).await;
    let (before, after) = (client(&own, &old, 7), client(&own, &new, 7));
    let mut open = handshake(&process, &before).await.unwrap();
    assert_eq!(ping(&process, &before).await, Some(HandshakeKind::Full));
    assert_eq!(ping(&process, &before).await, Some(HandshakeKind::Resumed));
    assert_eq!(ping(&process, &after).await, None);
    process.write("clients.pem", &new.pem());
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(ping(&process, &before).await, None);
    assert_eq!(ping(&process, &after).await, Some(HandshakeKind::Full));
    open.send(PING).await;
    assert_eq!(open.answer().await.1, "ok");
}

#[tokio::test]
async fn what_is_revoked_is_refused_from_the_reload_on_resumed_or_not() {
    let issuer = authority("clients");
    let (process, own) = gateway(&issuer, &revoking(&issuer, 1).1).await;
    let (kept, revoked) = (client(&own, &issuer, 7), client(&own, &issuer, 8));
    for config in [&kept, &revoked] {
        assert_eq!(ping(&process, config).await, Some(HandshakeKind::Full));
        assert_eq!(ping(&process, config).await, Some(HandshakeKind::Resumed));
    }
    process.write("list.pem", &revoking(&issuer, 8).1);
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(ping(&process, &revoked).await, None);
    assert_eq!(ping(&process, &kept).await, Some(HandshakeKind::Full));
}

#[tokio::test]
async fn a_file_without_a_revocation_list_leaves_the_list_from_before_in_use() {
    let issuer = authority("clients");
    let (der, pem) = revoking(&issuer, 8);
    let (process, own) = gateway(&issuer, &pem).await;
    let (kept, revoked) = (client(&own, &issuer, 7), client(&own, &issuer, 8));
    let half = pem.split("-----END").next().unwrap();
    for (what, bytes) in [
        ("DER", &*der),
        ("nothing", b""),
        ("half of it", half.as_bytes()),
        ("certificates", issuer.pem().as_bytes()),
    ] {
        std::fs::write(process.directory.join("list.pem"), bytes).unwrap();
        let (head, text) = process.reload().await;
        assert_eq!(status(&head), 422, "{what} was taken for a list");
        assert!(text.contains("E017"), "{what}: {text}");
        assert_eq!(ping(&process, &revoked).await, None, "{what}");
        assert!(ping(&process, &kept).await.is_some(), "{what}");
    }
}
