//! HTTP/2 connections, through hyper, with each stream under its own clocks.

mod head;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, Response, StatusCode, header,
};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    Origin,
    client_stream::ClientStream,
    gate::Sizes,
    registry::{Entry, NO_DOOR},
};
use crate::{
    gateway::{
        Request,
        reply::{Length, Reply},
    },
    stream::{
        clocks::{Clocks, Waiting},
        request_body::RequestBody,
        source::Cut,
        timer::LazyTimer,
        watchdog::Watchdog,
    },
    types::{clock::Tick, fields::Fields, known::Known},
};

tokio::task_local! {
    /// The clocks of the stream whose task this is.
    static STREAM: Arc<Clocks>;
}

/// Spawns each stream's future with clocks of its own, and a watchdog around it.
#[derive(Clone)]
struct Streams {
    open: Arc<AtomicUsize>,
    last: Arc<AtomicU64>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let clocks = Arc::new(Clocks::default());
        let entry = Entry::new(clocks.clone(), NO_DOOR);
        let own = self.clone();
        own.open.fetch_add(1, Relaxed);
        // Spawning moves a future many times over: a pointer is moved faster.
        tokio::spawn(Box::pin(async move {
            let mut watched = pin!(STREAM.scope(clocks.clone(), Watchdog::new(stream, clocks)));
            poll_fn(|cx| {
                entry.handle().register(cx.waker());
                watched.as_mut().poll(cx).map(drop)
            })
            .await;
            own.last.store(Tick::now().micros(), Relaxed);
            own.open.fetch_sub(1, Relaxed);
        }));
    }
}

/// Serves a connection to its end.
pub async fn serve<S: ClientStream>(stream: S, origin: Origin) {
    let streams = Streams {
        open: Arc::default(),
        last: Arc::new(AtomicU64::new(Tick::now().micros())),
    };
    origin.handle.set_carrier();
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .adaptive_window(false)
        .max_frame_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(16 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    let own = origin.clone();
    let service = service_fn(move |request| answer(request, own.clone()));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut timer = LazyTimer::new(Tick::now().after(origin.service.http.keep_alive));
    let mut is_ending = false;
    poll_fn(|cx| {
        origin.handle.register(cx.waker());
        let now = Tick::now();
        let idle_until =
            Tick::from_micros(streams.last.load(Relaxed)).after(origin.service.http.keep_alive);
        let is_idle = streams.open.load(Relaxed) == 0 && now >= idle_until;
        if !is_ending && (origin.handle.is_closing() || is_idle) {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
        let due = if streams.open.load(Relaxed) == 0 {
            idle_until
        } else {
            now.after(origin.service.http.keep_alive)
        };
        if !is_ending {
            // The next look; a wake-up now and then is all that this needs.
            let _ = timer.poll(cx, now, due.max(now.after(Duration::from_secs(1))));
        }
        connection.as_mut().poll(cx).map(|result| {
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
        })
    })
    .await;
}

async fn answer(
    request: HttpRequest<Incoming>,
    origin: Origin,
) -> Result<Response<ReplyBody>, Infallible> {
    /// Until the route is known.
    const CLIENT_STALL: Duration = Duration::from_secs(60);
    const UPLOAD: Duration = Duration::from_secs(30);
    let clocks = STREAM.try_with(Arc::clone).unwrap_or_default();
    clocks.stamp(Tick::now());
    clocks.open(CLIENT_STALL, UPLOAD);
    // The pipeline's future is large, and gone once the head is sent: hyper keeps what it polls to the stream's end.
    let serving = Box::pin(serve_stream(request, &origin, clocks));
    // The record was closed on the way out.
    let response = AssertUnwindSafe(serving)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            let mut response = Response::new(ReplyBody {
                reply: None,
                cut: None,
            });
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
    Ok(response)
}

async fn serve_stream(
    request: HttpRequest<Incoming>,
    origin: &Origin,
    clocks: Arc<Clocks>,
) -> Response<ReplyBody> {
    let (parts, body) = request.into_parts();
    let gateway = &origin.service.gateway;
    let peer = origin.peer.clone();
    let http = &origin.service.http;
    let sizes = Sizes {
        line: http.request_line,
        fields: http.header,
    };
    let reply = match head::read(&parts, sizes) {
        Ok((head, length)) => {
            let body = RequestBody::from_http2(body, length);
            gateway
                .serve(Request {
                    head,
                    body,
                    peer,
                    clocks,
                })
                .await
        }
        Err((fault, head)) => gateway.refuse(*head, peer, clocks, fault),
    };
    into_response(reply)
}

fn into_response(mut reply: Reply) -> Response<ReplyBody> {
    let fields = std::mem::take(&mut reply.fields);
    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.reserve(fields.len() + 1);
    for field in fields.iter() {
        if let (Ok(name), Ok(mut value)) = (
            HeaderName::from_bytes(field.name),
            HeaderValue::from_bytes(field.value),
        ) {
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
    // From here on it is the client that is waited for: hyper polls the body as soon as there is window.
    reply.clocks().wait(Waiting::Client);
    if reply.has_body() && !reply.is_over() {
        return response.map(|()| ReplyBody {
            reply: Some(Box::new(reply)),
            cut: None,
        });
    }
    reply.complete();
    response.map(|()| ReplyBody {
        reply: None,
        cut: None,
    })
}

/// A reply's body as hyper wants it.
struct ReplyBody {
    /// Gone once it has ended, and for replies without a body.
    reply: Option<Box<Reply>>,
    /// Why the stream will be reset, and when.
    cut: Option<(Cut, LazyTimer, Tick)>,
}

/// How long a stream that is cut has for what it holds already: hyper drops that when it meets an error.
const FLUSH: Duration = Duration::from_millis(50);

impl ReplyBody {
    fn complete(&mut self) {
        self.reply
            .take()
            .into_iter()
            .for_each(|reply| reply.complete());
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some((_, timer, due)) = &mut self.cut {
            ready!(timer.poll(cx, Tick::now(), *due));
        }
        if let Some((cut, ..)) = self.cut.take() {
            self.reply
                .take()
                .into_iter()
                .for_each(|reply| reply.cut(&cut));
            return Poll::Ready(Some(Err(cut)));
        }
        let Some(reply) = &mut self.reply else {
            return Poll::Ready(None);
        };
        match ready!(reply.poll_payload(cx)) {
            Some(Ok(payload)) => {
                reply.sent(payload.len() as u64);
                reply.clocks().wait(Waiting::Client);
                // hyper doesn't poll again after the last byte, unless trailers may follow.
                if reply.is_over() && !reply.client_takes_trailers() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(Frame::data(payload))))
            }
            Some(Err(cut)) => {
                let due = Tick::now().after(FLUSH);
                self.cut = Some((cut, LazyTimer::new(due), due));
                self.poll_frame(cx)
            }
            None => {
                let trailers = reply.take_trailers();
                self.complete();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailer_map(&trailers)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.reply.as_ref().map(|reply| reply.length()) {
            Some(Length::Known(length)) => SizeHint::with_exact(length),
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // hyper drops a stream's body when its client resets it, and the watchdog when a verdict was ignored.
        if let (Some(reply), Some((cut, ..))) = (self.reply.take(), self.cut.take()) {
            reply.cut(&cut);
        }
    }
}

fn trailer_map(trailers: &Fields) -> HeaderMap {
    let pairs = trailers
        .iter()
        .filter(|field| field.known != Known::Trailer)
        .filter_map(|field| {
            Some((
                HeaderName::from_bytes(field.name).ok()?,
                HeaderValue::from_bytes(field.value).ok()?,
            ))
        });
    pairs.collect()
}
