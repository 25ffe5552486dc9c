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

#[cfg(test)]
mod tests {
    use std::{
        future::{Future as _, poll_fn},
        pin::pin,
    };

    use super::*;

    /// How long it takes until a client that is silent counts as gone; `None` if it doesn't within ten minutes.
    async fn gone_after(client_answers: bool) -> Option<Duration> {
        let (near, far) = tokio::io::duplex(65_536);
        let (near, heard) = Heard::new(near);
        let (server, client) =
            tokio::join!(h2::server::handshake(near), h2::client::handshake(far));
        let mut server = server.unwrap();
        let (_requests, connection) = client.unwrap();
        let (driven, parked) = if client_answers {
            (Some(tokio::spawn(connection)), None)
        } else {
            (None, Some(connection))
        };
        let begun = Tick::now();
        let pings = server.ping_pong().unwrap();
        let mut keep_alive = KeepAlive::new(pings, heard, begun);
        let gone = poll_fn(|cx| {
            let gone = keep_alive.poll(cx, Tick::now());
            assert!(pin!(server.accept()).poll(cx).is_pending());
            gone
        });
        let is_gone = tokio::time::timeout(Duration::from_secs(600), gone).await;
        drop((driven, parked));
        is_gone.ok().map(|()| Tick::now().since(begun))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_doesnt_answer_is_gone_after_forty_seconds() {
        let waited = gone_after(false).await.unwrap();
        assert_eq!(waited.as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_may_be_silent_otherwise() {
        assert_eq!(gone_after(true).await, None);
    }
}
