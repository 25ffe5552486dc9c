//! HTTP/2 connections: the h2 library speaks the protocol, and each stream is a task under its own clocks.

mod head;
mod keep_alive;
mod reply;
mod stream;
mod wire;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason,
    server::{Builder, Connection},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Origin, client_stream::ClientStream, registry::WELCOME};
use crate::{stream::timer::LazyTimer, types::clock::Tick};
use keep_alive::KeepAlive;
use wire::{Watched, Wire};

/// What the streams of a connection have in common.
#[derive(Debug)]
struct Streams {
    origin: Origin,
    wire: Arc<Wire>,
    open: AtomicUsize,
    /// When the last one ended, in ticks.
    last: AtomicU64,
}

impl Streams {
    /// When the connection will have been idle for too long; later than `now` while a stream is open.
    fn idle_until(&self, now: Tick) -> Tick {
        let since = if self.open.load(Relaxed) == 0 {
            Tick::from_micros(self.last.load(Relaxed))
        } else {
            now
        };
        since.after(self.origin.service.http.keep_alive)
    }
}

/// How long a client without streams may take to agree to the end of its connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub async fn serve<S: ClientStream>(stream: S, origin: Origin) {
    origin.handle.set_carrier();
    let (stream, wire) = Watched::new(stream);
    let Some(connection) = welcome(settings().handshake(stream), &origin).await else {
        return;
    };
    let streams = Arc::new(Streams {
        origin,
        wire,
        open: AtomicUsize::new(0),
        last: AtomicU64::new(Tick::now().micros()),
    });
    streams.origin.handle.set_idle(Tick::now());
    let mut serving = Serving::new(connection, streams);
    poll_fn(|cx| serving.poll(cx)).await;
}

/// Waits for the client's preface; not for long once the connection is to end.
async fn welcome<C>(
    preface: impl Future<Output = Result<C, h2::Error>>,
    origin: &Origin,
) -> Option<C> {
    let first_byte = origin.service.http.first_byte;
    let begun = Tick::now();
    let mut timer = LazyTimer::new(begun.after(first_byte));
    let mut preface = pin!(preface);
    poll_fn(|cx| {
        origin.handle.register(cx.waker());
        if let Poll::Ready(preface) = preface.as_mut().poll(cx) {
            return Poll::Ready(preface.inspect_err(ended).ok());
        }
        let patience = if origin.handle.is_closing() {
            first_byte.min(WELCOME)
        } else {
            first_byte
        };
        let due = begun.after(patience);
        timer.poll(cx, Tick::now(), due).map(|()| None)
    })
    .await
}

fn settings() -> Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(100)
        .initial_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_frame_size(16 * 1024)
        .max_send_buffer_size(64 * 1024)
        .max_header_list_size(16 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(128));
    builder
}

fn ended(error: &h2::Error) {
    tracing::debug!(%error, "an HTTP/2 connection ended");
}

/// A connection whose preface has come.
struct Serving<S> {
    connection: Connection<S, Bytes>,
    streams: Arc<Streams>,
    keep_alive: Option<KeepAlive>,
    /// For the next look at whether the connection is idle.
    timer: LazyTimer,
    /// Since when it is to end.
    ending: Option<Tick>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    fn new(mut connection: Connection<S, Bytes>, streams: Arc<Streams>) -> Serving<S> {
        let pings = connection.ping_pong();
        let now = Tick::now();
        Serving {
            connection,
            keep_alive: pings.map(|pings| KeepAlive::new(pings, streams.wire.clone(), now)),
            timer: LazyTimer::new(streams.idle_until(now)),
            streams,
            ending: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let handle = &self.streams.origin.handle;
        handle.register(cx.waker());
        let now = Tick::now();
        if self.ending.is_none() {
            let is_idle = self.timer.poll(cx, now, self.streams.idle_until(now));
            if is_idle.is_ready() || handle.is_closing() {
                self.ending = Some(now);
                self.connection.graceful_shutdown();
            }
        }
        let is_silent = |keep_alive: &mut KeepAlive| keep_alive.poll(cx, now).is_ready();
        if self.keep_alive.as_mut().is_some_and(is_silent) || self.is_left_alone(cx, now) {
            tracing::debug!("an HTTP/2 client doesn't answer");
            self.connection.abrupt_shutdown(Reason::NO_ERROR);
            // Once, for the farewell; nobody may be there to read it.
            let _ = self.poll_accept(cx);
            return Poll::Ready(());
        }
        let polled = self.poll_accept(cx);
        self.streams.wire.end_turn();
        polled
    }

    /// Whether the client has neither streams nor an answer to being asked to end.
    fn is_left_alone(&mut self, cx: &mut Context<'_>, now: Tick) -> bool {
        let Some(since) = self.ending else {
            return false;
        };
        // What a stream has handed over last may still be on its way when the stream has ended.
        let is_busy = self.streams.open.load(Relaxed) > 0 || self.streams.wire.is_blocked();
        let last = Tick::from_micros(self.streams.last.load(Relaxed));
        let alone = if is_busy { now } else { since.max(last) };
        self.timer.poll(cx, now, alone.after(FAREWELL)).is_ready()
    }

    /// Moves the connection forward, and begins its streams.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let accepted = pin!(self.connection.accept()).poll(cx);
            match ready!(accepted) {
                Some(Ok((request, respond))) => stream::begin(request, respond, &self.streams),
                Some(Err(error)) => {
                    ended(&error);
                    return Poll::Ready(());
                }
                None => return Poll::Ready(()),
            }
        }
    }
}
