//! TLS: towards clients with several certificates, towards backends with and without trust.

use std::{fs, sync::Arc};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use sluicegate::types::lifecycle::Phase;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::support::{
    Backend, Client, End, Gateway, document, failed_handshakes, header, one_more_has_failed, proxy,
    status, within,
};

/// A certificate for a name, signed by itself, and its key; both in PEM.
fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn gateway(backend: std::net::SocketAddr, more: &str) -> (Gateway, [String; 2]) {
    let (one, two) = (certificate("one.example"), certificate("*.two.example"));
    let settings = format!(
        "listeners:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n        - {{certificate: one.pem, privateKey: one.key}}\n        \
         - {{certificate: two.pem, privateKey: two.key}}\n{more}accessLog: {{path: access.log}}\napis: [{{definition: api.yaml}}]\n"
    );
    let api = document(&proxy(
        "/{proxy+}",
        backend,
        "responseTransferMode: STREAM\ntimeoutInMillis: 60000",
    ));
    let gateway = Gateway::from_files(&[
        ("sluicegate.yaml", &settings),
        ("api.yaml", &api),
        ("one.pem", &one.0),
        ("one.key", &one.1),
        ("two.pem", &two.0),
        ("two.key", &two.1),
    ]);
    (gateway, [one.0, two.0])
}

async fn connect(
    gateway: &Gateway,
    trusted: &str,
    name: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_by(rustls::DEFAULT_VERSIONS, gateway, trusted, name, protocols).await
}

/// The same, by these versions of TLS alone.
async fn connect_by(
    versions: &[&'static rustls::SupportedProtocolVersion],
    gateway: &Gateway,
    trusted: &str,
    name: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let tcp = TcpStream::connect(gateway.address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

#[tokio::test]
async fn the_certificate_fits_the_name_and_alpn_chooses_the_protocol() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (gateway, [one, two]) = gateway(backend, "");
    for (trusted, name) in [(&one, "one.example"), (&two, "www.two.example")] {
        let stream = connect(&gateway, trusted, name, &["http/1.1"])
            .await
            .unwrap();
        let mut client = Client::over(stream);
        client
            .send(format!("GET /x HTTP/1.1\r\nHost: {name}\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.1, "ok");
    }
    // An unknown name gets the first certificate, which doesn't fit it.
    assert!(connect(&gateway, &one, "three.example", &[]).await.is_err());
    let stream = connect(&gateway, &one, "one.example", &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = within(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = http::Request::get("https://one.example/x")
        .body(())
        .unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn clients_that_havent_begun_dont_hold_a_shutdown_up() {
    let backend = Backend::start().await;
    let (gateway, [one, _]) = gateway(backend.address, "");
    let _says_nothing = TcpStream::connect(gateway.address).await.unwrap();
    let without_preface = connect(&gateway, &one, "one.example", &["h2"]);
    let _without_preface = without_preface.await.unwrap();
    gateway.conductor().advance(Phase::Draining);
    gateway.ended().await;
}

#[tokio::test]
async fn unknown_names_can_be_refused() {
    let backend = Backend::start().await;
    let (gateway, [one, _]) = gateway(backend.address, "      unknownServerName: refuse\n");
    assert!(connect(&gateway, &one, "one.example", &[]).await.is_ok());
    let before = failed_handshakes("unknown_server_name");
    let error = connect(&gateway, &one, "three.example", &[])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
    one_more_has_failed("unknown_server_name", before).await;
}

#[tokio::test]
async fn the_security_policy_says_which_versions_are_taken() {
    use rustls::version::{TLS12, TLS13};
    let backend = Backend::start().await;
    let (strict, [one, _]) = gateway(backend.address, "      securityPolicy: TLS_1_3\n");
    let stream = connect_by(&[&TLS13], &strict, &one, "one.example", &[]).await;
    assert!(stream.is_ok());
    let error = connect_by(&[&TLS12], &strict, &one, "one.example", &[])
        .await
        .unwrap_err();
    let cause = error.get_ref().and_then(|it| it.downcast_ref());
    let refused = rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion);
    assert_eq!(cause, Some(&refused));
    for policy in ["", "      securityPolicy: TLS_1_2\n"] {
        let (gateway, [one, _]) = gateway(backend.address, policy);
        for version in [&TLS12, &TLS13] {
            let stream = connect_by(&[version], &gateway, &one, "one.example", &[]).await;
            let stream = stream.unwrap();
            let spoken = stream.get_ref().1.protocol_version();
            assert_eq!(spoken, Some(version.version));
        }
    }
}

#[tokio::test]
async fn handshakes_that_come_to_nothing_are_counted_by_their_reason() {
    let backend = Backend::start().await;
    let (patient, [one, two]) = gateway(backend.address, "");
    let before = failed_handshakes("not_tls");
    let mut plain = Client::connect(patient.address).await;
    plain.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    plain.rest().await;
    one_more_has_failed("not_tls", before).await;
    let before = failed_handshakes("client_refused");
    assert!(connect(&patient, &two, "one.example", &[]).await.is_err());
    one_more_has_failed("client_refused", before).await;
    let before = failed_handshakes("incompatible");
    assert!(
        connect(&patient, &one, "one.example", &["gopher"])
            .await
            .is_err()
    );
    one_more_has_failed("incompatible", before).await;
    let before = failed_handshakes("client_left");
    drop(Client::connect(patient.address).await);
    one_more_has_failed("client_left", before).await;
    let before = failed_handshakes("timeout");
    let (hasty, _) = gateway(backend.address, "http: {firstByteTimeoutInMillis: 50}\n");
    let mut silent = Client::connect(hasty.address).await;
    silent.is_closed().await;
    one_more_has_failed("timeout", before).await;
}

#[tokio::test]
async fn a_truncated_stream_ends_without_close_notify() {
    let backend = Backend::start().await;
    let (gateway, [one, _]) = gateway(backend.address, "");
    let mut client = Client::over(connect(&gateway, &one, "one.example", &[]).await.unwrap());
    client
        .send("GET /x HTTP/1.1\r\nHost: one.example\r\n\r\n")
        .await;
    let (mut conn, head) = backend.request().await;
    assert_eq!(header(&head, "x-forwarded-proto"), Some("https"));
    conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        .await;
    client.head().await;
    assert_eq!(client.chunk().await, b"hi");
    drop(conn);
    // rustls reports an end without close_notify as an error.
    assert_eq!(client.is_closed().await, End::Reset);
    assert_eq!(gateway.record().await["outcome"], "integration_truncated");
}

#[tokio::test]
async fn item_164_stalled_handshakes_block_nobody() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (gateway, [one, _]) = gateway(backend, "");
    let mut stalled = Vec::new();
    for _ in 0..100 {
        stalled.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    let mut client = Client::over(connect(&gateway, &one, "one.example", &[]).await.unwrap());
    client
        .send("GET /x HTTP/1.1\r\nHost: one.example\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.1, "ok");
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocol: &str,
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A TLS backend with this certificate, which answers every connection once.
async fn tls_backend(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocol: &str,
) -> u16 {
    let acceptor = acceptor(chain, key, protocol);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(tcp).await else {
                continue;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                tokio::spawn(serve_h2(stream));
                continue;
            }
            let mut client = Client::over(stream);
            client.head().await;
            client
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    });
    port
}

async fn serve_h2(stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path();
        let status = if path == "/odd" { 600 } else { 200 };
        let response = http::Response::builder()
            .status(status)
            .header("x-path", path)
            .body(())
            .unwrap();
        let mut body = respond.send_response(response, false).unwrap();
        body.send_data("over h2".into(), false).unwrap();
        if path == "/reset" {
            // Once what came before has left.
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                body.send_reset(h2::Reason::NO_ERROR);
            });
            continue;
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        body.send_trailers(trailers).unwrap();
    }
}

fn named(params: &mut CertificateParams) {
    params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
}

async fn asked(port: u16, insecure: bool) -> (u16, String, serde_json::Value) {
    let (gateway, mut client) = asking(port, insecure, "/x").await;
    let head = client.head().await;
    let rest = if header(&head, "transfer-encoding").is_some() {
        String::from_utf8(client.chunk().await).unwrap()
    } else {
        String::new()
    };
    (status(&head), rest, gateway.record().await)
}

/// A gateway in front of a TLS backend, and a client that has asked it for `path`.
async fn asking(port: u16, insecure: bool, path: &str) -> (Gateway, Client) {
    let tls = if insecure {
        "tlsConfig: {insecureSkipVerification: true}\n"
    } else {
        ""
    };
    let more = format!("{tls}responseTransferMode: STREAM\ntimeoutInMillis: 5000");
    let api = document(&proxy("/{proxy+}", ([127, 0, 0, 1], port).into(), &more));
    let api = api.replace(
        &format!("http://127.0.0.1:{port}"),
        &format!("https://localhost:{port}"),
    );
    let gateway = Gateway::start("", &api);
    let mut client = Client::connect(gateway.address).await;
    client
        .send(format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nTE: trailers\r\n\r\n"
        ))
        .await;
    (gateway, client)
}

#[tokio::test]
async fn a_backend_must_be_trusted_unless_the_document_says_otherwise() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    named(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let port = tls_backend(
        vec![certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        "http/1.1",
    )
    .await;
    let (code, _, record) = asked(port, false).await;
    assert_eq!((code, &record["reason"]), (504, &"tls_failed".into()));
    assert!(
        record["integrationError"]
            .as_str()
            .unwrap()
            .contains("certificate"),
        "{record}"
    );
    assert_eq!(asked(port, true).await.0, 200);
}

#[tokio::test]
async fn skipping_the_issuer_skips_neither_dates_nor_names() {
    let issuer_key = KeyPair::generate().unwrap();
    let issuer = CertifiedIssuer::self_signed(CertificateParams::default(), issuer_key).unwrap();
    for (expired, name) in [(true, "localhost"), (false, "elsewhere")] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let chain = vec![certificate.der().clone()];
        let port = tls_backend(
            chain,
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            "http/1.1",
        )
        .await;
        let (code, _, record) = asked(port, true).await;
        assert_eq!(
            (code, &record["reason"]),
            (504, &"tls_failed".into()),
            "{name}"
        );
    }
}

/// TLS reads ahead: a second answer may wait in its buffer although the socket is silent.
#[tokio::test]
async fn item_129_an_answer_that_waits_inside_tls_is_never_delivered() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    named(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let acceptor = acceptor(
        vec![certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        "http/1.1",
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let api = document(&proxy(
        "/{proxy+}",
        ([127, 0, 0, 1], port).into(),
        // The gateway reads no more than may leave.
        "tlsConfig: {insecureSkipVerification: true}\nresponseTransferMode: STREAM\n\
         x-sluicegate-stream: {burstBytes: 10, rateBytesPerSecond: 1000}",
    ));
    let api = api.replace(
        &format!("http://127.0.0.1:{port}"),
        &format!("https://localhost:{port}"),
    );
    let gateway = Gateway::start("", &api);
    let mut client = Client::connect(gateway.address).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let (tcp, _) = within(listener.accept()).await.unwrap();
        let mut conn = Client::over(within(acceptor.accept(tcp)).await.unwrap());
        conn.head().await;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            .await;
        client.head().await;
        conn.send("0123456789HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            .await;
        client.expect("0123456789").await;
        open.push(conn);
    }
}

#[tokio::test]
async fn a_backend_that_offers_http2_is_spoken_to_in_http2() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    named(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let port = tls_backend(
        vec![certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        "h2",
    )
    .await;
    let (code, body, record) = asked(port, true).await;
    assert_eq!(
        (code, body.as_str(), &record["outcome"]),
        (200, "over h2", &"complete".into())
    );
}

/// A stream that is reset without an error ends like one that was cut, not like one that is whole.
#[tokio::test]
async fn an_http2_answer_that_is_reset_never_looks_complete() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    named(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let port = tls_backend(
        vec![certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        "h2",
    )
    .await;
    let (gateway, mut client) = asking(port, true, "/reset").await;
    assert_eq!(status(&client.head().await), 200);
    assert_eq!(client.chunk().await, b"over h2");
    assert_eq!(client.is_closed().await, End::Fin);
    assert_eq!(gateway.record().await["outcome"], "integration_truncated");
    let (gateway, mut client) = asking(port, true, "/odd").await;
    assert_eq!(status(&client.answer().await.0), 502);
    assert_eq!(gateway.record().await["reason"], "bad_answer");
}

#[test]
fn certificates_that_cannot_be_used_are_told_at_start() {
    let directory = std::env::temp_dir().join(format!("sluicegate-tls-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (one, other) = (certificate("one.example"), certificate("other.example"));
    fs::write(directory.join("one.pem"), &one.0).unwrap();
    fs::write(directory.join("other.key"), &other.1).unwrap();
    fs::write(directory.join("empty.pem"), "").unwrap();
    fs::write(directory.join("api.yaml"), document("  /x:\n    get: {}\n")).unwrap();
    for (certificate, key, expected) in [
        ("one.pem", "other.key", "can't be used with"),
        ("empty.pem", "other.key", "has no certificate"),
        ("one.pem", "one.pem", "private key"),
    ] {
        let settings = format!(
            "listeners: [{{address: 127.0.0.1:0, tls: {{certificates: [{{certificate: {certificate}, privateKey: {key}}}]}}}}]\n\
             apis: [{{definition: api.yaml}}]\naccessLog: {{path: none}}\n"
        );
        let path = directory.join("sluicegate.yaml");
        fs::write(&path, settings).unwrap();
        let loaded =
            sluicegate::config::load(&path, &sluicegate::config::build::Overrides::default());
        let findings = loaded.diagnostics.to_json().to_string();
        assert!(
            loaded.model.is_none() && findings.contains("E017"),
            "{findings}"
        );
        assert!(findings.contains(expected), "{findings}");
    }
    fs::remove_dir_all(directory).unwrap();
}
