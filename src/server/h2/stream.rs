//! One stream of a connection: its request is served, and its reply sent as the client gives window.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{RecvStream, server::SendResponse};
use http::{Request as HttpRequest, Response, StatusCode, header};

use super::{Streams, head, reply::Sending, wire::Wire};
use crate::{
    gateway::{Request, reply::Reply},
    server::{
        gate::Sizes,
        registry::{Entry, NO_DOOR},
    },
    stream::{clocks::Clocks, request_body::RequestBody, watchdog::Watchdog},
    types::clock::Tick,
};

/// Until the route is known.
const CLIENT_STALL: Duration = Duration::from_secs(60);
const UPLOAD: Duration = Duration::from_secs(30);

/// Begins a stream, in a task of its own.
pub(super) fn begin(
    request: HttpRequest<RecvStream>,
    respond: SendResponse<Bytes>,
    streams: &Arc<Streams>,
) {
    let clocks = Arc::new(Clocks::default());
    clocks.open(CLIENT_STALL, UPLOAD);
    let awaits_continue =
        request.headers().contains_key(header::EXPECT) && !request.body().is_end_stream();
    let pipeline = serve(request, streams.clone(), clocks.clone());
    let exchange = Exchange::Serving {
        // The record was closed on the way out.
        pipeline: Box::pin(AssertUnwindSafe(pipeline).catch_unwind().map(Result::ok)),
        respond,
        awaits_continue,
        wire: streams.wire.clone(),
    };
    streams.open.fetch_add(1, Relaxed);
    streams.origin.handle.set_busy();
    tokio::spawn(Stream {
        entry: Entry::new(clocks.clone(), NO_DOOR),
        watched: Watchdog::new(exchange, clocks),
        streams: streams.clone(),
    });
}

/// A stream among those of its connection, under its clocks.
struct Stream {
    entry: Entry,
    watched: Watchdog<Exchange>,
    streams: Arc<Streams>,
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.entry.handle().register(cx.waker());
        Pin::new(&mut self.watched).poll(cx).map(drop)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let now = Tick::recent();
        self.streams.last.store(now.micros(), Relaxed);
        if self.streams.open.fetch_sub(1, Relaxed) == 1 {
            self.streams.origin.handle.set_idle(now);
        }
    }
}

/// What becomes of a request; nothing if the gateway panicked. It is large, and gone once there is a reply.
type Pipeline = Pin<Box<dyn Future<Output = Option<Box<Reply>>> + Send>>;

enum Exchange {
    Serving {
        pipeline: Pipeline,
        respond: SendResponse<Bytes>,
        /// The client holds its body back until it is told that it is wanted (RFC 9110, section 10.1.1).
        awaits_continue: bool,
        wire: Arc<Wire>,
    },
    Sending(Sending),
}

impl Future for Exchange {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Exchange::Serving {
            pipeline,
            respond,
            awaits_continue,
            wire,
        } = &mut *self
        {
            let Poll::Ready(reply) = pipeline.as_mut().poll(cx) else {
                // What isn't refused at once is wanted.
                if std::mem::take(awaits_continue) {
                    let mut go_on = Response::new(());
                    *go_on.status_mut() = StatusCode::CONTINUE;
                    let _ = respond.send_informational(go_on);
                }
                // A client that resets its stream has left.
                return respond.poll_reset(cx).map(drop);
            };
            let Some(sending) = Sending::begin(reply, respond, wire.clone()) else {
                return Poll::Ready(());
            };
            *self = Exchange::Sending(sending);
        }
        match &mut *self {
            Exchange::Sending(sending) => sending.poll(cx),
            Exchange::Serving { .. } => Poll::Pending,
        }
    }
}

async fn serve(
    request: HttpRequest<RecvStream>,
    streams: Arc<Streams>,
    clocks: Arc<Clocks>,
) -> Box<Reply> {
    let (parts, body) = request.into_parts();
    let service = &streams.origin.service;
    let peer = streams.origin.peer.clone();
    let sizes = Sizes {
        line: service.http.request_line,
        fields: service.http.header,
    };
    let reply = match head::read(&parts, sizes) {
        Ok((head, length)) => {
            let request = Request {
                head,
                body: RequestBody::from_http2(body, length),
                peer,
                clocks,
            };
            // Apart from the rest, which makes two allocations of usual sizes out of a large one.
            Box::pin(service.gateway.serve(request)).await
        }
        Err((fault, head)) => service.gateway.refuse(*head, peer, clocks, fault),
    };
    Box::new(reply)
}
