//! One stream of a connection: its request is served, and its reply sent as the client gives window.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{Reason, RecvStream, server::SendResponse};
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
    spawn(pipeline, respond, awaits_continue, clocks, streams);
}

fn spawn(
    pipeline: impl Future<Output = Box<Reply>> + Send + 'static,
    respond: SendResponse<Bytes>,
    awaits_continue: bool,
    clocks: Arc<Clocks>,
    streams: &Arc<Streams>,
) {
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
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_on(cx)));
        polled.unwrap_or_else(|_| {
            self.panicked();
            Poll::Ready(())
        })
    }
}

impl Exchange {
    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Exchange::Serving {
            pipeline,
            respond,
            awaits_continue,
            wire,
        } = self
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
        match self {
            Exchange::Sending(sending) => sending.poll(cx),
            Exchange::Serving { .. } => Poll::Pending,
        }
    }

    /// The gateway has a defect; an answer that hadn't begun has closed its record on the way out.
    fn panicked(&mut self) {
        match self {
            Exchange::Serving { respond, .. } => respond.send_reset(Reason::INTERNAL_ERROR),
            Exchange::Sending(sending) => sending.panicked(),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    use http::Version;
    use tokio::sync::mpsc;

    use super::{super::wire::Watched, *};
    use crate::{
        integration::payload::Payload,
        lambda::{
            body::Body,
            output::{Completion, Frame, Output},
        },
        server::testing::{Stage, breaking_after, panics},
    };

    /// Serves a connection: each stream with the next of the payloads, or as the gateway does.
    async fn serve_all(near: tokio::io::DuplexStream, stage: &Stage, payloads: Vec<Payload>) {
        let (near, wire) = Watched::new(near);
        let mut server = h2::server::handshake(near).await.unwrap();
        let streams = Arc::new(Streams {
            origin: stage.origin.clone(),
            wire,
            open: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        });
        let mut payloads = payloads.into_iter();
        while let Some(Ok((request, respond))) = server.accept().await {
            let Some(payload) = payloads.next() else {
                begin(request, respond, &streams);
                continue;
            };
            let clocks = Arc::new(Clocks::default());
            clocks.open(CLIENT_STALL, UPLOAD);
            let reply = stage.reply(payload, Version::HTTP_2, clocks.clone());
            let pipeline = std::future::ready(Box::new(reply));
            spawn(pipeline, respond, false, clocks, &streams);
        }
    }

    /// What a body says, and how it ends.
    async fn read(mut body: RecvStream) -> (Vec<u8>, Option<Reason>) {
        let mut whole = Vec::new();
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => whole.extend_from_slice(&data),
                Err(error) => return (whole, error.reason()),
            }
        }
        (whole, None)
    }

    #[tokio::test]
    async fn a_panic_in_a_body_resets_its_stream_and_leaves_the_others_alone() {
        let (stage, before) = (Stage::new("http2"), panics());
        let (near, far) = tokio::io::duplex(65_536);
        let (give, take) = mpsc::channel(4);
        let function = Payload::Function(Body::new(Output::local(take), None, 100));
        let payloads = vec![function, breaking_after(&["hello"])];
        let client = async {
            let (mut requests, connection) = h2::client::handshake(far).await.unwrap();
            tokio::spawn(connection);
            let mut ask = || {
                let request = HttpRequest::get("http://test/").body(()).unwrap();
                requests.send_request(request, true).unwrap().0
            };
            let other = ask().await.unwrap().into_body();
            // A reset overtakes what the connection hasn't sent yet, the head too.
            let reason = match ask().await {
                Ok(broken) => read(broken.into_body()).await.1,
                Err(error) => error.reason(),
            };
            assert_eq!(reason, Some(Reason::INTERNAL_ERROR));
            let later = ask().await.unwrap();
            assert_eq!(later.status(), StatusCode::OK);
            give.send(Frame::Data(Bytes::from_static(b"still here")))
                .await
                .unwrap();
            give.send(Frame::End(Completion::default())).await.unwrap();
            assert_eq!(read(other).await, (b"still here".to_vec(), None));
        };
        let limit = tokio::time::timeout(Duration::from_secs(5), client);
        tokio::select! {
            done = limit => done.unwrap(),
            () = serve_all(near, &stage, payloads) => panic!("the connection ended"),
        }
        let records = stage.records();
        let of = |end: &str| records.lines().filter(|line| line.ends_with(end)).count();
        assert_eq!(of("200 refused panicked"), 1, "{records}");
        assert!(panics() > before);
    }
}
