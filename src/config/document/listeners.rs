//! The shape of `listeners:` in `sluicegate.yaml`.

use schemars::JsonSchema;
use serde::Deserialize;

/// An address that takes requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(default)]
pub struct Listener {
    /// Address and port, such as `0.0.0.0:8080` or `[::]:8443`. `:8080` means `0.0.0.0:8080`; port 0 takes any free
    /// port.
    pub address: String,
    /// TLS, for `https`. HTTP/2 is offered by ALPN.
    pub tls: Option<Tls>,
    /// Also take HTTP/2 without TLS, from clients that know (prior knowledge). Default: false.
    pub h2c: bool,
    /// Whether every connection begins with the client's address in a PROXY protocol header, version 2, as load balancers
    /// send it. Connections without one are closed. Default: false.
    pub proxy_protocol: bool,
}

/// TLS of a listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// Certificates. A client gets the one whose names fit the server name it asks for, else the first.
    pub certificates: Vec<Certificate>,
    /// What happens to a client that asks for a name no certificate has, or for none, as those do that connect to an IP
    /// address. Default: `serveDefault`.
    #[serde(default)]
    pub unknown_server_name: UnknownServerName,
    /// The oldest version of TLS. Default: `TLS_1_2`.
    #[serde(default)]
    pub security_policy: SecurityPolicy,
    /// Ask clients for certificates (mTLS). Default: not.
    #[serde(default)]
    pub mutual_tls_authentication: Option<MutualTls>,
}

/// The oldest version of TLS that a listener takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum SecurityPolicy {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "TLS_1_2")]
    Tls12,
    /// TLS 1.3 only.
    #[serde(rename = "TLS_1_3")]
    Tls13,
}

/// Certificates of clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MutualTls {
    /// The certificates that may have issued a client's, in one PEM file of at most 1,000 certificates and 1 MB.
    pub truststore: String,
    /// PEM files with lists of revoked certificates, each with one at least. Default: none; API Gateway doesn't check
    /// revocation.
    #[serde(default)]
    pub certificate_revocation_lists: Vec<String>,
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The certificate and the intermediates after it.
    pub certificate: String,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub private_key: String,
}

/// What happens to a TLS client that asks for an unknown server name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UnknownServerName {
    /// It gets the first certificate.
    #[default]
    ServeDefault,
    /// The handshake fails with `unrecognized_name`.
    Refuse,
}
