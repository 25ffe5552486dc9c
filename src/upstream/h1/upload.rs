//! A request body on its way into an HTTP/1.1 connection.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use crate::{
    stream::{
        clocks::{Clocks, Waiting},
        outbox::Outbox,
        request_body::{Pace, RequestBody},
    },
    types::{fault::Fault, fields::Fields},
};

/// The sending half of an exchange: the head, then the body frame by frame.
#[derive(Debug)]
pub(super) struct Upload {
    out: Outbox,
    body: RequestBody,
    is_chunked: bool,
    is_over: bool,
    /// Bytes taken from the client.
    taken: u64,
    pace: Pace,
}

/// Why sending stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The client's body broke, stalled or is too large.
    ByClient(Fault),
    /// The backend doesn't take any more; it may have answered.
    ByBackend(io::Error),
}

impl Upload {
    /// Sends `head`, which ends with its empty line, and then `body`.
    pub(super) fn new(head: Vec<u8>, body: RequestBody) -> Upload {
        let mut out = Outbox::default();
        *out.front() = head;
        let is_chunked = body.length().is_none();
        let is_over = body.is_empty();
        Upload {
            out,
            body,
            is_chunked,
            is_over,
            taken: 0,
            pace: Pace::default(),
        }
    }

    /// Whether everything has been sent.
    pub(super) fn is_done(&self) -> bool {
        self.is_over && self.out.is_empty()
    }

    /// Whether not a byte has left.
    pub(super) fn is_unsent(&self) -> bool {
        self.out.written() == 0
    }

    /// Whether nothing of the body has been taken from the client, so that it can still be sent elsewhere.
    pub(super) fn is_untouched(&self) -> bool {
        self.taken == 0
    }

    /// The body, to be sent elsewhere.
    pub(super) fn into_body(self) -> RequestBody {
        self.body
    }

    /// Sends what can be sent. `clocks` is told whom the upload waits for, unless the response has begun (`None`).
    pub(super) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut W,
        cx: &mut Context<'_>,
        clocks: Option<&Clocks>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            let written = self.out.poll_write(output, cx);
            if written.is_pending() {
                clocks.inspect(|clocks| clocks.wait(Waiting::Integration));
            }
            ready!(written).map_err(Stopped::ByBackend)?;
            if self.is_over {
                // A TLS stream may hold back what was written.
                return std::pin::Pin::new(output)
                    .poll_flush(cx)
                    .map_err(Stopped::ByBackend);
            }
            let polled = self.body.poll_data(cx);
            if polled.is_pending() {
                clocks.inspect(|clocks| clocks.wait(Waiting::Upload));
                let _ = std::pin::Pin::new(&mut *output).poll_flush(cx);
            }
            match ready!(polled) {
                Some(Ok(data)) => {
                    self.count(data.len() as u64, clocks);
                    if self.is_chunked {
                        self.out.chunk(data, false);
                    } else {
                        self.out.payload(data);
                    }
                }
                Some(Err(fault)) => return Poll::Ready(Err(Stopped::ByClient(fault))),
                None => self.end(),
            }
        }
    }

    fn count(&mut self, bytes: u64, clocks: Option<&Clocks>) {
        self.taken += bytes;
        if let Some(clocks) = clocks {
            self.pace.count(bytes, clocks);
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        if self.is_chunked {
            let trailers = self.body.take_trailers().map(allowed);
            self.out.last_chunk(trailers.as_ref());
        }
    }
}

/// Trailer fields that may be passed on.
fn allowed(mut trailers: Fields) -> Fields {
    trailers.retain(|field| !field.known.is_forbidden_trailer());
    trailers
}
