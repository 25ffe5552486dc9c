//! Who clients are: their certificates, what load balancers and proxies say of them, and the gateway's own certificate.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SerialNumber, date_time_ymd,
};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::support::{
    Backend, Client, Gateway, Issuer, authority, document, failed_handshakes, header,
    one_more_has_failed, proxy, revoking, status, within,
};

/// A client's certificate, changed by `change`, and its key.
fn issued(issuer: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "client");
    params.serial_number = Some(SerialNumber::from(7));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, issuer).unwrap();
    (made.pem(), key.serialize_pem())
}

/// A gateway whose clients need certificates of `issuer`, and its own certificate.
fn gateway(backend: SocketAddr, issuer: &Issuer, more: &str) -> (Gateway, String) {
    let own = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
    let settings = format!(
        "listeners:\n  - address: 127.0.0.1:0\n    tls:\n      certificates: [{{certificate: one.pem, privateKey: one.key}}]\n      \
         mutualTlsAuthentication: {{truststore: clients.pem{more}}}\n\
         accessLog: {{path: access.log, format: '{{\"id\":\"$context.requestId\",\"subject\":\"$context.identity.clientCert.subjectDN\",\
         \"serial\":\"$context.identity.clientCert.serialNumber\"}}'}}\napis: [{{definition: api.yaml}}]\n"
    );
    let api = document(&proxy(
        "/{proxy+}",
        backend,
        "responseTransferMode: STREAM\ntimeoutInMillis: 60000",
    ));
    let (_, revoked) = revoking(issuer, 99);
    let gateway = Gateway::from_files(&[
        ("sluicegate.yaml", &settings),
        ("api.yaml", &api),
        ("one.pem", &own.cert.pem()),
        ("one.key", &own.signing_key.serialize_pem()),
        ("clients.pem", &issuer.pem()),
        ("revoked.pem", &revoked),
    ]);
    (gateway, own.cert.pem())
}

/// A connection with these certificates (and their key). By TLS 1.3, the gateway may yet refuse them.
async fn connect(
    gateway: &Gateway,
    trusted: &str,
    identity: Option<(&str, &str)>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.unwrap(), key).unwrap()
        }
    };
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let name = ServerName::try_from("one.example").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

/// Whether a request with these certificates (and their key) is answered.
async fn is_served(gateway: &Gateway, trusted: &str, identity: Option<(&str, &str)>) -> bool {
    let Ok(stream) = connect(gateway, trusted, identity).await else {
        return false;
    };
    let mut client = Client::over(stream);
    client
        .send("GET /x HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n")
        .await;
    client.rest().await.0.starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn only_clients_with_a_valid_certificate_are_served_and_named() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let issuer = authority("clients");
    let (gateway, trusted) = gateway(
        backend,
        &issuer,
        ", certificateRevocationLists: [revoked.pem]",
    );
    let good = issued(&issuer, |_| {});
    assert!(is_served(&gateway, &trusted, Some((&good.0, &good.1))).await);
    let record = gateway.record().await;
    assert_eq!(
        (&record["subject"], &record["serial"]),
        (&"CN=client".into(), &"07".into())
    );
    let stranger = authority("strangers");
    let refused = [
        (
            "of another issuer",
            "certificate_unknown_issuer",
            issued(&stranger, |_| {}),
        ),
        (
            "expired",
            "certificate_expired",
            issued(&issuer, |it| it.not_after = date_time_ymd(2021, 1, 1)),
        ),
        (
            "not valid yet",
            "certificate_expired",
            issued(&issuer, |it| it.not_before = date_time_ymd(2070, 1, 1)),
        ),
        (
            "for servers",
            "certificate_invalid",
            issued(&issuer, |it| {
                it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "revoked",
            "certificate_revoked",
            issued(&issuer, |it| {
                it.serial_number = Some(SerialNumber::from(99));
            }),
        ),
    ];
    for (what, reason, (chain, key)) in &refused {
        let before = failed_handshakes(reason);
        assert!(
            !is_served(&gateway, &trusted, Some((chain, key))).await,
            "a certificate {what} was taken"
        );
        one_more_has_failed(reason, before).await;
    }
    let before = failed_handshakes("certificate_missing");
    assert!(
        !is_served(&gateway, &trusted, None).await,
        "no certificate was needed"
    );
    one_more_has_failed("certificate_missing", before).await;
    let before = failed_handshakes("certificate_invalid");
    let padded = format!("{}{}", good.0, stranger.pem().repeat(4));
    assert!(
        !is_served(&gateway, &trusted, Some((&padded, &good.1))).await,
        "a chain of five was taken"
    );
    one_more_has_failed("certificate_invalid", before).await;
}

#[tokio::test]
async fn a_client_that_is_refused_hears_why_although_it_goes_on_sending() {
    let backend = Backend::start().await;
    let issuer = authority("clients");
    let (gateway, trusted) = gateway(backend.address, &issuer, "");
    let mut stream = connect(&gateway, &trusted, None).await.unwrap();
    // A request that was sent before the refusal came.
    within(stream.write_all(&[b'a'; 20_000])).await.unwrap();
    within(stream.flush()).await.unwrap();
    let error = within(stream.read(&mut [0; 1])).await.unwrap_err();
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    assert_eq!(
        cause,
        Some(&rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
        ))
    );
    // And more that comes late. A socket that is gone would answer the first of these with a reset, and refuse the next.
    let (tcp, _) = stream.get_mut();
    for _ in 0..3 {
        within(tcp.write_all(&[0; 1000])).await.unwrap();
    }
    let read = within(tcp.read(&mut [0; 1])).await;
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn the_gateway_shows_its_own_certificate_to_backends() {
    let (issuer, server) = (authority("gateways"), authority("backends"));
    let own = issued(&issuer, |_| {});
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &server).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(stream) = TlsAcceptor::from(Arc::new(config.clone()))
                .accept(tcp)
                .await
            else {
                continue;
            };
            let mut conn = Client::over(stream);
            conn.head().await;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    });
    let api = |certificate: &str| {
        let api = document(&proxy(
            "/{proxy+}",
            address,
            "tlsConfig: {insecureSkipVerification: true}",
        ));
        let settings = format!(
            "listeners: [{{address: \"127.0.0.1:0\"}}]\naccessLog: {{path: none}}\napis: [{{definition: api.yaml{certificate}}}]\n"
        );
        let api = api.replace("http://127.0.0.1", "https://127.0.0.1");
        Gateway::from_files(&[
            ("sluicegate.yaml", &settings),
            ("api.yaml", &api),
            ("own.pem", &own.0),
            ("own.key", &own.1),
        ])
    };
    for (certificate, expected) in [
        (
            ", clientCertificate: {certificate: own.pem, privateKey: own.key}",
            200,
        ),
        ("", 504),
    ] {
        let gateway = api(certificate);
        let mut client = Client::connect(gateway.address).await;
        client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, _) = client.answer().await;
        assert_eq!(status(&head), expected, "{head}");
    }
}

#[tokio::test]
async fn a_load_balancer_says_whose_connection_it_passes_on() {
    let backend = Backend::start().await;
    let settings = "listeners: [{address: \"127.0.0.1:0\", proxyProtocol: true}]\naccessLog: {path: access.log, format: '{\"id\":\"$context.requestId\",\"ip\":\"$context.identity.sourceIp\"}'}\napis: [{definition: api.yaml}]\n";
    let api = document(&proxy("/{proxy+}", backend.address, ""));
    let gateway = Gateway::from_files(&[("sluicegate.yaml", settings), ("api.yaml", &api)]);
    let mut client = Client::connect(gateway.address).await;
    let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x0f, 0xa0, 0x01, 0xbb];
    let preface = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat();
    client.send(&preface).await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut conn, head) = backend.request().await;
    assert_eq!(header(&head, "x-forwarded-for"), Some("192.0.2.1"));
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    client.answer().await;
    assert_eq!(gateway.record().await["ip"], "192.0.2.1");
    let before = failed_handshakes("proxy_header");
    let mut bare = Client::connect(gateway.address).await;
    bare.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(bare.rest().await.0, b"");
    one_more_has_failed("proxy_header", before).await;
}

#[tokio::test]
async fn trusted_proxies_say_who_the_client_is_and_nobody_else_does() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let api = document(&proxy("/{proxy+}", backend, ""));
    for (hops, chain, expected) in [
        (0, "198.51.100.9", "127.0.0.1"),
        (1, "198.51.100.9, 192.0.2.1", "192.0.2.1"),
        (2, "198.51.100.9, 192.0.2.1, 192.0.2.2", "192.0.2.1"),
        (1, "nobody", "127.0.0.1"),
    ] {
        let settings = format!(
            "listeners: [{{address: \"127.0.0.1:0\"}}]\nhttp: {{trustedHops: {hops}}}\naccessLog: {{path: access.log, format: '{{\"id\":\"$context.requestId\",\"ip\":\"$context.identity.sourceIp\"}}'}}\napis: [{{definition: api.yaml}}]\n"
        );
        let gateway = Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", &api)]);
        let mut client = Client::connect(gateway.address).await;
        client
            .send(format!(
                "GET /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {chain}\r\n\r\n"
            ))
            .await;
        client.answer().await;
        let record = gateway.record().await;
        assert_eq!(record["ip"], expected, "{hops} hops, {chain}");
    }
}
