//! A reply on its way into a stream: its head as HTTP/2 wants it, then its body within the client's window.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::wire::{Turn, Wire};
use crate::{
    gateway::reply::{Length, Reply},
    stream::{clocks::Waiting, source::Cut, timer::LazyTimer},
    types::{
        clock::Tick,
        fields::{Field, Fields},
        known::Known,
    },
};

/// How long the connection may take to send what a stream that is cut has given it: a reset drops the rest.
const LEAVE: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// A reply whose head has been sent.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    wire: Arc<Wire>,
    /// When the last frame was handed over.
    handed: Turn,
    /// Gone once it has ended.
    reply: Option<Box<Reply>>,
    /// Payload that waits for window.
    held: Bytes,
    cut: Option<Cutting>,
}

/// A stream that will be reset once what it holds already has left.
struct Cutting {
    why: Cut,
    timer: LazyTimer,
    /// How long it may take to leave, once the client has given window for all of it.
    until: Option<Tick>,
}

impl Sending {
    /// Sends the head of a reply, or of the answer to a panic. `None` if nothing follows it.
    pub(super) fn begin(
        reply: Option<Box<Reply>>,
        respond: &mut SendResponse<Bytes>,
        wire: Arc<Wire>,
    ) -> Option<Sending> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        if let Some(reply) = &reply {
            *response.status_mut() = reply.status;
            *response.headers_mut() = headers(reply);
            // From here on it is the client that is waited for, unless the integration has nothing.
            reply.clocks().wait(Waiting::Client);
        }
        let has_body = |reply: &Reply| reply.has_body() && !reply.is_over();
        let is_end = !reply.as_deref().is_some_and(has_body);
        let stream = match respond.send_response(response, is_end) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "a head that HTTP/2 doesn't take");
                respond.send_reset(Reason::INTERNAL_ERROR);
                return None;
            }
        };
        let mut sending = Sending {
            stream,
            handed: wire.turn(),
            wire,
            reply,
            held: Bytes::new(),
            cut: None,
        };
        if is_end {
            sending.complete();
            return None;
        }
        Some(sending)
    }

    /// Ready once the stream has ended, whoever ended it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_send(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            // A client that resets its stream has left.
            Poll::Pending => self.stream.poll_reset(cx).map(drop),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut is_over = false;
        while !is_over {
            is_over = if !self.held.is_empty() {
                ready!(self.poll_held(cx))
            } else if self.cut.is_some() {
                ready!(self.poll_cut(cx))
            } else {
                ready!(self.poll_payload(cx))
            };
        }
        Poll::Ready(())
    }

    /// Takes the next payload. Whether the stream is over.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(reply) = &mut self.reply else {
            return Poll::Ready(true);
        };
        match ready!(reply.poll_payload(cx)) {
            Some(Ok(payload)) => {
                reply.clocks().wait(Waiting::Client);
                self.held = payload;
                Poll::Ready(false)
            }
            Some(Err(cut)) => {
                reply.clocks().wait(Waiting::Client);
                // Window for one byte more is window for all that h2 holds.
                self.stream.reserve_capacity(1);
                self.cut = Some(Cutting {
                    why: cut,
                    timer: LazyTimer::new(Tick::now().after(LOOK)),
                    until: None,
                });
                Poll::Ready(false)
            }
            None => {
                let trailers = reply.take_trailers();
                self.complete();
                let _ = match trailers {
                    Some(trailers) => self.stream.send_trailers(trailer_map(&trailers)),
                    None => self.stream.send_data(Bytes::new(), true),
                };
                Poll::Ready(true)
            }
        }
    }

    /// Sends of what is held as much as there is window for, so that it is the clocks' until the client takes it. Whether
    /// the stream is over.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.stream.reserve_capacity(self.held.len());
        if !ready!(self.poll_window(cx)) {
            return Poll::Ready(true);
        }
        let count = self.stream.capacity().min(self.held.len());
        let payload = self.held.split_to(count);
        let is_last = |reply: &Reply| reply.is_over() && !reply.client_takes_trailers();
        let is_end = self.held.is_empty() && self.reply.as_deref().is_some_and(is_last);
        if self.stream.send_data(payload, is_end).is_err() {
            return Poll::Ready(true);
        }
        self.handed = self.wire.turn();
        if let Some(reply) = &mut self.reply {
            reply.sent(count as u64);
            reply.clocks().progress();
        }
        if is_end {
            self.complete();
        }
        Poll::Ready(is_end)
    }

    /// Waits until something may be sent. False if the stream is gone.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.stream.capacity() == 0 {
            if !matches!(ready!(self.stream.poll_capacity(cx)), Some(Ok(_))) {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }

    /// Resets the stream when all that came before has left. Whether the stream is over.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let has_window = |cut: &Cutting| cut.until.is_some();
        if !self.cut.as_ref().is_some_and(has_window) && !ready!(self.poll_window(cx)) {
            return Poll::Ready(true);
        }
        let Some(cut) = &mut self.cut else {
            return Poll::Ready(true);
        };
        let now = Tick::now();
        let until = *cut.until.get_or_insert(now.after(LEAVE));
        // A connection that is blocked has no turn, so that is asked first.
        if now < until && self.wire.is_blocked() {
            if cut.timer.poll(cx, now, now.after(LOOK)).is_ready() {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if now < until && !self.wire.is_after(self.handed) {
            // The connection's turn comes before the next one of this stream.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.stream.send_reset(Reason::INTERNAL_ERROR);
        Poll::Ready(true)
    }

    /// The gateway failed at the reply: nobody must take it for complete.
    pub(super) fn panicked(&mut self) {
        self.stream.send_reset(Reason::INTERNAL_ERROR);
        if let Some(reply) = self.reply.take() {
            reply.panicked(true);
        }
    }

    fn complete(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply.complete();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // Also when the client resets the stream first, or the watchdog ends it.
        if let (Some(reply), Some(cut)) = (self.reply.take(), self.cut.take()) {
            reply.cut(&cut.why);
        }
    }
}

fn headers(reply: &Reply) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(reply.fields.len() + 1);
    for field in reply
        .fields
        .iter()
        .filter(|field| !is_forbidden(field.known))
    {
        if let (Some(name), Ok(mut value)) = (name(field), HeaderValue::from_bytes(field.value)) {
            // These never come again: in the compression's table they would only displace what does.
            value.set_sensitive(matches!(
                field.known,
                Known::XAmznRequestId | Known::XAmzApigwId
            ));
            headers.append(name, value);
        }
    }
    if let Length::Known(length) = reply.length() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers
}

/// Fields that HTTP/2 has no use for (RFC 9113, section 8.2.2).
fn is_forbidden(known: Known) -> bool {
    known.is_hop_by_hop() && known != Known::Trailer
}

fn trailer_map(trailers: &Fields) -> HeaderMap {
    let fields = trailers.iter();
    fields
        .filter(|field| field.known != Known::Trailer && !is_forbidden(field.known))
        .filter_map(|field| Some((name(field)?, HeaderValue::from_bytes(field.value).ok()?)))
        .collect()
}

/// The name of a field. What most replies say needn't be read again.
fn name(field: Field<'_>) -> Option<HeaderName> {
    const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
    const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-apigw-id");
    match field.known {
        Known::ContentType => Some(header::CONTENT_TYPE),
        Known::Date => Some(header::DATE),
        Known::Server => Some(header::SERVER),
        Known::XAmznRequestId => Some(REQUEST_ID),
        Known::XAmzApigwId => Some(EXTENDED_ID),
        _ => HeaderName::from_bytes(field.name).ok(),
    }
}
