//! A request as a backend is to see it.

use http::Method;

use crate::{stream::request_body::RequestBody, types::fields::Fields};

/// A request ready to be sent: no hop-by-hop field is left in it, and `Host` is its first.
#[derive(Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// `Host` and all other fields, save the framing's.
    pub fields: Fields,
    /// The body, as the client sends it.
    pub body: RequestBody,
}
