//! Requests for the tests of what is told of them.

use std::sync::Arc;

use http::{Method, Version};

use crate::types::{
    context::Context,
    fields::Fields,
    head::RequestHead,
    peer::{Peer, Serves},
    target::Target,
};

/// A request for an order, with these header lines.
pub(super) fn context(lines: &str) -> Context {
    let fields = Fields::parse(format!("{lines}\r\n").as_bytes(), 100);
    let target = Target::parse(&Method::GET, b"/orders/7?secret=1");
    let head = RequestHead {
        target: target.unwrap().0,
        method: Method::GET,
        authority: "api.example.com:8080".into(),
        version: Version::HTTP_11,
        fields: fields.unwrap().unwrap().0,
    };
    let address = "192.0.2.1:4000".parse().unwrap();
    let peer = Peer::new(address, address, None, Serves::Apis);
    *Context::open(Arc::new(peer), head)
}
