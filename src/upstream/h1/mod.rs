//! HTTP/1.1 towards a backend: strict about what it reads, exact about what was sent.

pub mod body;
mod exchange;
pub mod head;
mod upload;

use std::sync::Arc;

pub use exchange::exchange;

use super::{connect::Stream, endpoint::Endpoint};
use crate::types::clock::Tick;

/// An open connection to a backend.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    endpoint: Arc<Endpoint>,
    opened: Tick,
    /// It has served an exchange before, so the backend may close it at any moment.
    is_reused: bool,
}

impl Connection {
    /// A connection that has just been opened.
    pub fn new(stream: Stream, endpoint: Arc<Endpoint>) -> Connection {
        Connection {
            stream,
            endpoint,
            opened: Tick::now(),
            is_reused: false,
        }
    }

    /// Where it goes.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// When it was opened.
    pub fn opened(&self) -> Tick {
        self.opened
    }

    /// Whether it is open and the backend has said nothing unasked.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.is_quiet()
    }
}
