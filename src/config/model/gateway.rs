//! The gateway as a whole: where it listens, what it logs, how it stops, where VPC links lead.

use std::{
    collections::BTreeMap, fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, sync::Arc,
    time::Duration,
};

use rustls::{server::danger::ClientCertVerifier, sign::CertifiedKey};

use super::{Api, Function, LambdaFront};
use crate::{
    config::presets,
    types::{peer::Serves, template::Template},
};

/// A gateway.
#[derive(Clone, Debug)]
pub struct Model {
    /// Where requests are taken.
    pub listeners: Vec<Listener>,
    /// The operator's address.
    pub admin: Option<SocketAddr>,
    /// Worker threads; `None` for one per CPU.
    pub workers: Option<usize>,
    /// Bytes of memory for the gateway's process; `None` for its control group's limit, all for no limit.
    pub memory_limit: Option<u64>,
    /// Whether it is loaded anew when its files change.
    pub watch: bool,
    /// The APIs, in the order of the configuration.
    pub apis: Vec<Api>,
    /// Functions by name.
    pub functions: BTreeMap<Box<str>, Function>,
    /// Region and account of functions.
    pub lambda: LambdaFront,
    /// Targets by VPC link id.
    pub vpc_links: BTreeMap<String, VpcLink>,
    /// The record of requests that reach no API, and of those whose API has none of its own.
    pub access_log: AccessLog,
    /// Where spans of requests go, if anywhere.
    pub tracing: Option<Tracing>,
    /// Limits on heads and connections.
    pub http: Http,
    /// How it stops.
    pub shutdown: Shutdown,
    /// The gateway's name in `Via`.
    pub instance_id: Box<str>,
}

impl Model {
    /// Access logs whose format nobody chose become lines that are short enough for a terminal.
    pub fn read_by_people(&mut self) {
        let own = self
            .apis
            .iter_mut()
            .filter_map(|api| api.access_log.as_mut());
        for log in own.chain([&mut self.access_log]) {
            if log.is_default && log.sink == LogSink::Stdout {
                log.format = Template::compile(presets::TEXT).0;
                log.source = "text".into();
            }
        }
    }
}

/// An address that takes requests.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// TLS, if any.
    pub tls: Option<Tls>,
    /// HTTP/2 with prior knowledge.
    pub h2c: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether it serves APIs, functions, or both.
    pub serves: Serves,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates; the first is the default.
    pub certificates: Vec<Certificate>,
    /// Whether an unknown server name fails the handshake.
    pub refuse_unknown_names: bool,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// How clients' certificates are verified, if they are asked for.
    pub mutual: Option<MutualTls>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        let flags = |it: &Tls| (it.refuse_unknown_names, it.only_tls13);
        self.certificates == other.certificates
            && flags(self) == flags(other)
            && self.mutual == other.mutual
    }
}

/// How clients' certificates are verified.
#[derive(Clone, Debug)]
pub struct MutualTls {
    /// The file of those who may have issued them.
    pub truststore: PathBuf,
    /// The files with lists of what those have revoked.
    pub revocation_lists: Vec<PathBuf>,
    /// Stands for the contents of all these files.
    pub contents: u64,
    /// Made of them.
    pub verifier: Arc<dyn ClientCertVerifier>,
}

impl PartialEq for MutualTls {
    /// What a verifier does follows from the files that it was made of.
    fn eq(&self, other: &MutualTls) -> bool {
        self.contents == other.contents
    }
}

/// A certificate with its chain and private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The DNS names it is for, in lower case; `*.` stands for one label.
    pub names: Vec<Box<str>>,
    /// When it is valid, in seconds since the Unix epoch.
    pub valid: RangeInclusive<i64>,
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// Where they were read.
    pub files: CertificateFiles,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// The private key.
    pub private_key: PathBuf,
}

impl PartialEq for Certificate {
    /// A chain's first certificate has the public half of the key, so the chain says it all.
    fn eq(&self, other: &Certificate) -> bool {
        self.key.cert == other.key.cert
    }
}

/// Limits on heads and connections.
#[derive(Clone, Debug)]
pub struct Http {
    /// Bytes of a request line.
    pub request_line: usize,
    /// Bytes of all header lines.
    pub header: usize,
    /// From accept to the first byte, and for the TLS handshake.
    pub first_byte: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Client connections; `None` derives the number from the descriptor limit.
    pub max_connections: Option<usize>,
    /// Whether names with `_` are passed on to HTTP backends.
    pub pass_underscores: bool,
    /// Proxies before the gateway whose word about clients' addresses is taken.
    pub trusted_hops: usize,
}

/// How the gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Still accepting while not ready.
    pub pre_stop_delay: Duration,
    /// From then until open requests are cut.
    pub drain_timeout: Duration,
}

/// Where records go and what they say.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The sink.
    pub sink: LogSink,
    /// The line.
    pub format: Template,
    /// What the line was compiled from: the name of a preset, or a format.
    pub source: Box<str>,
    /// Whether nobody chose the format.
    pub is_default: bool,
}

/// Spans of requests, and the collector that takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// The collector.
    pub origin: Origin,
    /// Where it takes spans.
    pub path: Box<str>,
    /// The share of requests that are traced where the caller leaves that open, from 0 to 1.
    pub rate: f64,
    /// `service.name`.
    pub service: Box<str>,
    /// `service.instance.id`.
    pub instance: Box<str>,
    /// Headers of the gateway's requests to the collector, such as `Authorization`.
    pub headers: Vec<(Box<str>, Secret)>,
}

/// What nobody is told, not even in a debugger's words.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Box<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// Nowhere.
    None,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// What a VPC link stands for.
#[derive(Clone, Debug)]
pub struct VpcLink {
    /// The targets.
    pub targets: Vec<Origin>,
    /// The active check, if any.
    pub health_check: Option<HealthCheck>,
}

/// An active health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path to GET.
    pub path: String,
    /// Between two checks.
    pub interval: Duration,
    /// Until one has failed.
    pub timeout: Duration,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether it is `https`.
    pub is_tls: bool,
    /// Name or address, IPv6 without brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// Host and port as they stand in `Host`.
    pub authority: Box<str>,
}
