//! An endpoint: one place that connections go to, and so one pool.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::tls::ClientTls;

/// Host, port and how to speak there.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in the process; pools are found by it.
    pub id: u64,
    /// A name, or an address (IPv6 without brackets).
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// TLS, for `https`.
    pub tls: Option<Arc<ClientTls>>,
}

impl Endpoint {
    /// An endpoint with a pool of its own.
    pub fn new(host: &str, port: u16, tls: Option<Arc<ClientTls>>) -> Endpoint {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Endpoint {
            id: NEXT.fetch_add(1, Relaxed),
            host: host.into(),
            port,
            tls,
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(
            f,
            "{}://{open}{}{close}:{}",
            self.scheme(),
            self.host,
            self.port
        )
    }
}
