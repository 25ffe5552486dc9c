//! Notices that a client is gone without a word: one that has been silent is asked, and must say something.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{stream::timer::LazyTimer, types::clock::Tick};

/// How long a client may be silent before it is asked.
const SILENCE: Duration = Duration::from_secs(30);

/// How long it has to say something then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks by PING frames whether a client is there. Whatever it sends is an answer.
pub(super) struct KeepAlive {
    pings: PingPong,
    heard: Arc<AtomicU64>,
    asked: Option<Tick>,
    timer: LazyTimer,
}

impl KeepAlive {
    /// `heard` is when the client was last heard.
    pub(super) fn new(pings: PingPong, heard: Arc<AtomicU64>, now: Tick) -> KeepAlive {
        KeepAlive {
            pings,
            heard,
            asked: None,
            timer: LazyTimer::new(now.after(SILENCE)),
        }
    }

    /// Ready once the client has been asked in vain.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<()> {
        let heard = Tick::from_micros(self.heard.load(Relaxed));
        self.asked = self.asked.filter(|asked| heard < *asked);
        if let Some(asked) = self.asked {
            return self.timer.poll(cx, now, asked.after(PATIENCE));
        }
        ready!(self.timer.poll(cx, now, heard.after(SILENCE)));
        // A client that spoke otherwise may owe the answer to the last one; it isn't asked twice.
        let _ = self.pings.poll_pong(cx);
        let _ = self.pings.send_ping(Ping::opaque());
        self.asked = Some(now);
        self.timer.poll(cx, now, now.after(PATIENCE))
    }
}

/// A client's stream that notes when something was last read from it.
pub(super) struct Heard<S> {
    stream: S,
    at: Arc<AtomicU64>,
}

impl<S> Heard<S> {
    /// The stream, and its note.
    pub(super) fn new(stream: S) -> (Heard<S>, Arc<AtomicU64>) {
        let at = Arc::new(AtomicU64::new(Tick::now().micros()));
        let heard = Heard {
            stream,
            at: at.clone(),
        };
        (heard, at)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        self.at.store(Tick::recent().micros(), Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
