//! Client sockets, with or without TLS, and what a connection wants of the TCP below.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use futures_util::FutureExt as _;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::stream::arena::{READ, poll_take};

/// How long the last bytes of a cut response may take to leave.
const LEAVE: Duration = Duration::from_secs(1);

/// What is read of what nobody wants, so that the answer isn't lost to a reset.
pub const MOST_UNWANTED: usize = 64 * 1024;
/// And for how long.
pub const LINGER: Duration = Duration::from_secs(1);

/// A stream from a client.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The TCP socket below; `None` for streams in memory.
    fn tcp(&self) -> Option<&TcpStream>;

    /// Whether the client has closed its side, even if bytes from before wait to be read.
    fn is_closed_by_client(&self) -> bool {
        let ready = self
            .tcp()
            .and_then(|tcp| tcp.ready(Interest::READABLE).now_or_never());
        ready.is_some_and(|ready| ready.is_ok_and(tokio::io::Ready::is_read_closed))
    }

    /// From now on the kernel takes no more while it holds this many bytes that it hasn't sent.
    fn bound_unsent(&self, bytes: u32) {
        self.tcp()
            .inspect(|tcp| drop(SockRef::from(tcp).set_tcp_notsent_lowat(bytes)));
    }

    /// Closing will reset the connection and drop what hasn't left.
    fn reset_on_close(&self) {
        self.tcp().inspect(|tcp| drop(tcp.set_zero_linger()));
    }
}

impl ClientStream for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl ClientStream for TlsStream<TcpStream> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

#[cfg(test)]
impl ClientStream for tokio::io::DuplexStream {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// Waits until the kernel has sent what it was given, but not long.
pub async fn drained(stream: &impl ClientStream) {
    let Some(tcp) = stream.tcp() else { return };
    if SockRef::from(tcp).set_tcp_notsent_lowat(1).is_ok() {
        // Writable again means that fewer than one byte is unsent.
        let _ = tokio::time::timeout(LEAVE, tcp.writable()).await;
    }
}

/// Says to the client that nothing more comes. Whether that could be said.
pub async fn shut(stream: &mut (impl AsyncWrite + Unpin)) -> bool {
    let shutting = tokio::time::timeout(LINGER, stream.shutdown()).await;
    matches!(shutting, Ok(Ok(())))
}

/// Closes so that the client can read what was written: what it may still send is taken and dropped for a while, for a
/// socket that is closed with bytes unread resets the connection and takes the answer with it.
pub async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if !shut(&mut stream).await {
        return;
    }
    let mut taken = 0;
    let take = async {
        while taken < MOST_UNWANTED {
            match poll_fn(|cx| poll_take(&mut stream, cx, READ)).await {
                Ok(data) if !data.is_empty() => taken += data.len(),
                _ => break,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, take).await;
}

/// A stream and bytes that were read from it before.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: BytesMut,
    stream: S,
}

impl<S> Prefixed<S> {
    /// Puts `prefix` back before the rest of `stream`.
    pub fn new(prefix: BytesMut, stream: S) -> Prefixed<S> {
        Prefixed { prefix, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let count = self.prefix.len().min(out.remaining());
        out.put_slice(self.prefix.get(..count).unwrap_or_default());
        self.prefix.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
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

impl<S: ClientStream> ClientStream for Prefixed<S> {
    fn tcp(&self) -> Option<&TcpStream> {
        self.stream.tcp()
    }
}
