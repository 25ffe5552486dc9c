//! The gateway in a process of its own, its routes, and what it says of itself.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    backend,
    ledger::{Ledger, Table, by_outcome},
    process::{Process, free_port},
    support::{Client, document, proxy, status, within},
};

/// The gateway and the way to it.
pub struct Stage {
    process: Process,
    pub address: SocketAddr,
    encrypted: SocketAddr,
    connector: TlsConnector,
    /// A port where nobody listens, and nobody else can.
    _taken: TcpSocket,
    /// Open descriptors before anything happened.
    descriptors_at_first: usize,
    /// Resident memory when everything had happened once.
    resident_at_first: u64,
}

/// What the routes differ in; everything else streams with a minute's time.
const SETTINGS: [(&str, &str); 5] = [
    ("buffered", "responseTransferMode: BUFFERED"),
    ("late", "responseTransferMode: STREAM\ntimeoutInMillis: 300"),
    (
        "quiet",
        "responseTransferMode: STREAM\nx-sluicegate-timeouts: {idleInMillis: 2000}",
    ),
    (
        "unread",
        "responseTransferMode: STREAM\ntimeoutInMillis: 60000\nx-sluicegate-timeouts: {clientStallInMillis: 1000}\nx-sluicegate-stream: {policy: unlimited}",
    ),
    (
        "limited",
        "responseTransferMode: STREAM\ntimeoutInMillis: 60000\nx-sluicegate-stream: {burstBytes: 40000, rateBytesPerSecond: 200000}",
    ),
];

const KINDS: [&str; 16] = [
    "whole",
    "empty",
    "head",
    "stream",
    "hints",
    "cut-chunk",
    "cut-length",
    "bad-chunk",
    "reset",
    "reset-early",
    "close-early",
    "garbage",
    "endless",
    "upload",
    "refusing",
    "nobody",
];

fn routes(backend: SocketAddr, nobody: SocketAddr) -> String {
    let streamed = "responseTransferMode: STREAM\ntimeoutInMillis: 60000";
    let mut routes = String::new();
    let settings = SETTINGS
        .iter()
        .copied()
        .chain(KINDS.iter().map(|kind| (*kind, streamed)));
    for (kind, more) in settings {
        let to = if kind == "nobody" { nobody } else { backend };
        routes += &proxy(&format!("/{kind}"), to, more);
        routes += &proxy(&format!("/{kind}/{{number}}"), to, more);
    }
    routes
        + &function("function", "BUFFERED", "2015-03-31", "invocations")
        + &function(
            "function-stream",
            "STREAM",
            "2021-11-15",
            "response-streaming-invocations",
        )
}

fn function(path: &str, mode: &str, version: &str, operation: &str) -> String {
    format!(
        "  /{path}:\n    post:\n      x-amazon-apigateway-integration:\n        type: aws_proxy\n        httpMethod: POST\n        \
         responseTransferMode: {mode}\n        \
         uri: arn:aws:apigateway:eu-west-3:lambda:path/{version}/functions/arn:aws:lambda:eu-west-3:123456789012:function:chat/{operation}\n"
    )
}

impl Stage {
    pub async fn start() -> Stage {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let encrypted = ([127, 0, 0, 1], free_port()).into();
        let listeners = format!(
            "    h2c: true\n  - address: {encrypted}\n    tls: {{certificates: [{{certificate: tls.pem, privateKey: tls.key}}]}}\n"
        );
        let settings = "accessLog:\n  path: access.log\n  format: $context.path $context.sluicegate.outcome\n\
            lambda: {region: eu-west-3}\n\
            functions:\n  chat: {runtime: provided, command: [python3, runtime.py], initTimeout: 60, idleTimeout: 5}\n\
            shutdown: {preStopDelayInMillis: 0}\n";
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let nobody = taken.local_addr().unwrap();
        let files = [
            (
                "api.yaml",
                document(&routes(backend::start().await, nobody)),
            ),
            (
                "runtime.py",
                include_str!("../it/support/runtime.py").to_owned(),
            ),
            ("tls.pem", certificate.clone()),
            ("tls.key", key),
        ];
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let process = Process::start(&files, settings)
            .with_listener(&listeners)
            .await;
        let mut stage = Stage {
            address: process.address,
            encrypted,
            connector: trusting(&certificate),
            _taken: taken,
            descriptors_at_first: 0,
            resident_at_first: 0,
            process,
        };
        stage.descriptors_at_first = stage.descriptors();
        stage
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    pub async fn encrypted_client(&self) -> Client<TlsStream<TcpStream>> {
        let tcp = within(TcpStream::connect(self.encrypted)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Client::over(within(self.connector.connect(name, tcp)).await.unwrap())
    }

    /// Loads the configuration anew, and reads the metrics.
    pub async fn reload(&self) {
        let (head, text) = self.process.reload().await;
        assert_eq!(status(&head), 200, "{text}");
        self.metrics().await;
        self.didnt_panic().await;
    }

    async fn metrics(&self) -> BTreeMap<String, f64> {
        let (head, text) = self.process.ask_admin("GET /metrics").await;
        assert_eq!(status(&head), 200);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Everything that was under way has ended.
    pub async fn is_quiet(&self) {
        let gauges = [
            "sluicegate_streams_open",
            "sluicegate_connections_open",
            "sluicegate_function_waiting",
        ];
        let begun = Instant::now();
        loop {
            let metrics = self.metrics().await;
            let busy: Vec<_> = metrics
                .iter()
                .filter(|(series, value)| {
                    **value > 0.0
                        && (gauges.iter().any(|gauge| series.starts_with(gauge))
                            || series.contains("state=\"busy\""))
                })
                .collect();
            if busy.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "still under way: {busy:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The access log and the metrics say what the clients did, request for request.
    pub async fn agrees_with(&self, ledger: &Ledger) {
        let expected = ledger.table();
        let begun = Instant::now();
        let mut logged = self.logged();
        while logged != expected && begun.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(100)).await;
            logged = self.logged();
        }
        assert_eq!(
            logged, expected,
            "left: the access log; right: what the clients did"
        );
        let metrics = self.metrics().await;
        let sum = |name: &str, label: &str| -> u64 {
            let of = metrics
                .iter()
                .filter(|(series, _)| series.starts_with(name) && series.contains(label));
            of.map(|(_, value)| *value as u64).sum()
        };
        assert_eq!(sum("sluicegate_requests_total{", ""), ledger.total());
        for (outcome, count) in by_outcome(&expected) {
            assert_eq!(
                sum(
                    "sluicegate_outcomes_total{",
                    &format!("outcome=\"{outcome}\"")
                ),
                count,
                "{outcome}"
            );
        }
        println!(
            "{} requests, as many lines, as many counted; {:#?}",
            ledger.total(),
            by_outcome(&expected)
        );
    }

    fn logged(&self) -> Table {
        let mut table = Table::new();
        let file = fs::File::open(self.process.directory.join("access.log")).unwrap();
        for line in BufReader::new(file).lines() {
            let line = line.unwrap();
            let (path, outcome) = line.split_once(' ').unwrap();
            let kind = match path {
                "-" => "malformed",
                path => path.trim_start_matches('/').split('/').next().unwrap(),
            };
            *table
                .entry((kind.to_owned(), outcome.to_owned()))
                .or_default() += 1;
        }
        table
    }

    async fn didnt_panic(&self) {
        let said = self.process.said().await;
        let panic = said.iter().find(|line| line.contains("panicked"));
        assert_eq!(panic, None);
    }

    /// From now on, memory should stay as it is.
    pub fn remember_memory(&mut self) {
        self.resident_at_first = self.resident_kib();
    }

    /// A while after everything has ended, nothing of it is left: no descriptor, and little memory.
    pub async fn is_as_before(&self) {
        let begun = Instant::now();
        let most = self.resident_at_first * 13 / 10;
        while self.descriptors() != self.descriptors_at_first || self.resident_kib() > most {
            let (descriptors, resident) = (self.descriptors(), self.resident_kib());
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "{descriptors} descriptors ({} at first), {resident} KiB ({} at first)",
                self.descriptors_at_first,
                self.resident_at_first
            );
            sleep(Duration::from_secs(1)).await;
        }
        println!(
            "as before after {} s: {} KiB",
            begun.elapsed().as_secs(),
            self.resident_kib()
        );
    }

    /// Ends on request, at once, since nothing is under way.
    pub async fn ends_well(&self) {
        self.process.signal("TERM");
        assert_eq!(self.process.exit_status().await, Some(0));
        self.didnt_panic().await;
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Open descriptors, but for the access log's: it is opened for its first line.
    pub fn descriptors(&self) -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.filter(|link| !link.ends_with("access.log")).count()
    }
}

fn trusting(certificate: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    TlsConnector::from(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}
