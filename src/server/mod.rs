//! Sockets: listeners, TLS, the head gate, HTTP/1.1 and HTTP/2 connections, and how they all come to an end.

pub mod accept;
pub mod client_stream;
pub mod gate;
pub mod h1;
pub mod h2;
pub mod handshake;
pub mod health;
pub mod listen;
pub mod memory;
pub mod permits;
pub mod proxy_protocol;
pub mod registry;
pub mod reload;
pub mod room;
pub mod run;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod watch;
pub mod worker;

use std::sync::{Arc, atomic::AtomicBool};

use crate::{config::model::Http, gateway::Gateway, types::peer::Peer};
use registry::Handle;

/// What every connection of a worker has at hand.
#[derive(Debug)]
pub struct Service {
    /// The worker's gateway.
    pub gateway: Arc<Gateway>,
    /// Limits on heads and connections.
    pub http: Http,
    /// The server is about to drain, or has too little memory to keep idle connections: replies ask their clients to
    /// connect anew.
    pub ends_keep_alive: Arc<AtomicBool>,
}

/// A connection's own facts.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What its worker has.
    pub service: Arc<Service>,
    /// Who is at the other end.
    pub peer: Arc<Peer>,
    /// Its entry in the registry.
    pub handle: Arc<Handle>,
    /// Whether it may turn out to be HTTP/2 without TLS.
    pub may_be_http2: bool,
}
