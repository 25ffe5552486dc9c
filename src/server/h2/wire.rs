//! A connection's way to its client, as its streams may know it: when the client was heard, and what has left.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{stream::timer::LazyTimer, types::clock::Tick};

/// What a connection notes of its own.
#[derive(Debug)]
pub(super) struct Wire {
    heard: AtomicU64,
    turns: AtomicU64,
    is_blocked: AtomicBool,
}

/// When something was handed to the connection, by its turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn(u64);

impl Wire {
    /// When the client was last heard.
    pub(super) fn heard(&self) -> Tick {
        Tick::from_micros(self.heard.load(Relaxed))
    }

    /// The connection has done what it could for now.
    pub(super) fn end_turn(&self) {
        self.turns.fetch_add(1, Relaxed);
    }

    /// What is handed over now leaves in a turn after this one.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.turns.load(Relaxed))
    }

    /// Whether the connection has had its turn since.
    pub(super) fn is_after(&self, turn: Turn) -> bool {
        self.turns.load(Relaxed) > turn.0
    }

    /// Whether the client takes no more for now, so that the connection still holds something.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Relaxed)
    }
}

/// A client's stream that keeps its wire up to date.
pub(super) struct Watched<S> {
    stream: S,
    wire: Arc<Wire>,
    /// Until when what the client still sends is taken and dropped, once nothing more is said to it.
    lingering: Option<(LazyTimer, Tick)>,
}

/// How long that is.
const LINGER: Duration = Duration::from_secs(2);

impl<S> Watched<S> {
    /// The stream, and its wire.
    pub(super) fn new(stream: S) -> (Watched<S>, Arc<Wire>) {
        let wire = Arc::new(Wire {
            heard: AtomicU64::new(Tick::now().micros()),
            turns: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
        });
        let watched = Watched {
            stream,
            wire: wire.clone(),
            lingering: None,
        };
        (watched, wire)
    }

    fn noted<T>(&self, written: Poll<T>) -> Poll<T> {
        self.wire.is_blocked.store(written.is_pending(), Relaxed);
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        self.wire.heard.store(Tick::recent().micros(), Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.noted(flushed)
    }

    /// Ready when the client has gone or had time enough: frames of its that are left unread would make the kernel reset the
    /// connection, and drop what is still on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Tick::now();
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let until = now.after(LINGER);
            self.lingering = Some((LazyTimer::new(until), until));
        }
        let mut unwanted = [0; 1024];
        loop {
            let mut read = ReadBuf::new(&mut unwanted);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        match &mut self.lingering {
            Some((timer, until)) => timer.poll(cx, now, *until).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
