//! A backend's answer, over whichever protocol it came.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{group::Lease, h1, h2};
use crate::{
    stream::source::{Cut, Source},
    types::{fields::Fields, head::ResponseHead},
};

/// A complete response head, and the body behind it.
#[derive(Debug)]
pub struct Answer {
    /// The final head.
    pub head: ResponseHead,
    /// The body; polling it reads the connection.
    pub body: Body,
}

/// A response body as it arrives.
#[derive(Debug)]
pub struct Body {
    wire: Wire,
    /// Counts as work of its target until the body is gone.
    lease: Option<Lease>,
}

/// Boxed, because an answer passes through many hands until it is sent.
#[derive(Debug)]
enum Wire {
    Http1(Box<h1::body::Body>),
    Http2(Box<h2::Body>),
}

impl Body {
    /// A body of an HTTP/1.1 connection.
    pub fn http1(body: h1::body::Body) -> Body {
        Body {
            wire: Wire::Http1(Box::new(body)),
            lease: None,
        }
    }

    /// A body of an HTTP/2 stream.
    pub fn http2(body: h2::Body) -> Body {
        Body {
            wire: Wire::Http2(Box::new(body)),
            lease: None,
        }
    }

    /// Keeps a target's lease until the body is gone.
    pub fn hold(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }
}

impl Source for Body {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        match &mut self.wire {
            Wire::Http1(body) => body.poll_payload(cx, most),
            Wire::Http2(body) => body.poll_payload(cx, most),
        }
    }

    fn remaining(&self) -> Option<u64> {
        match &self.wire {
            Wire::Http1(body) => body.remaining(),
            Wire::Http2(body) => body.remaining(),
        }
    }

    fn is_over(&self) -> bool {
        match &self.wire {
            Wire::Http1(body) => body.is_over(),
            Wire::Http2(body) => body.is_over(),
        }
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        match &mut self.wire {
            Wire::Http1(body) => body.take_trailers(),
            Wire::Http2(body) => body.take_trailers(),
        }
    }
}
