//! Who is at the other end of a client connection.

use std::net::SocketAddr;

use super::certificate::ClientCertificate;

/// Facts of one client connection, shared by all its requests.
#[derive(Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The client's IP address as text, `$context.identity.sourceIp`.
    pub ip: Box<str>,
    /// The gateway's own address that accepted the connection.
    pub local: SocketAddr,
    /// What the TLS handshake agreed on, if there was one.
    pub tls: Option<TlsFacts>,
    /// What the listener serves.
    pub serves: Serves,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// APIs.
    #[default]
    Apis,
    /// APIs, and functions by the Lambda Invoke API and by function URLs.
    Both,
    /// Only functions.
    Functions,
}

impl Serves {
    /// Whether requests can reach APIs.
    pub fn apis(self) -> bool {
        self != Serves::Functions
    }

    /// Whether requests can reach functions without an API.
    pub fn functions(self) -> bool {
        self != Serves::Apis
    }
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: Box<str>,
    /// The server name the client asked for.
    pub server_name: Option<Box<str>>,
    /// The client's own certificate, if it was asked for one.
    pub client_certificate: Option<Box<ClientCertificate>>,
}

impl Peer {
    /// Facts of a connection from `address` to `local`.
    pub fn new(
        address: SocketAddr,
        local: SocketAddr,
        tls: Option<TlsFacts>,
        serves: Serves,
    ) -> Peer {
        // An IPv4 client of a dual-stack listener is told by its IPv4 address.
        let ip = address.ip().to_canonical().to_string().into();
        Peer {
            address,
            ip,
            local,
            tls,
            serves,
        }
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
