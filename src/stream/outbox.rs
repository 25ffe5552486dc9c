//! What waits to be written to a socket: a few small bytes, a payload, and its end, in one vectored write.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::types::fields::Fields;

/// Bytes on their way out. Payload is never copied.
#[derive(Debug, Default)]
pub struct Outbox {
    front: Vec<u8>,
    front_at: usize,
    payload: Bytes,
    tail: &'static [u8],
    /// All bytes ever written through it.
    written: u64,
}

/// An emptied buffer larger than this isn't kept.
const KEPT: usize = 2048;

impl Outbox {
    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.payload.is_empty() && self.tail.is_empty()
    }

    /// How many bytes have been written since the outbox was made.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How much of the queued payload is still to be written.
    pub fn payload_left(&self) -> usize {
        self.payload.len()
    }

    /// The buffer for a head or other small bytes, which leave before any payload. Only while there is no payload.
    pub fn front(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.payload.is_empty() && self.tail.is_empty());
        &mut self.front
    }

    /// Queues payload as it is. Only while there is none.
    pub fn payload(&mut self, payload: Bytes) {
        debug_assert!(self.payload.is_empty() && self.tail.is_empty());
        self.payload = payload;
    }

    /// Queues a chunk, and the last chunk with it if `is_last`. Only while there is no payload.
    pub fn chunk(&mut self, payload: Bytes, is_last: bool) {
        debug_assert!(self.payload.is_empty() && self.tail.is_empty());
        // Writing to a vector can't fail.
        let _ = write!(self.front, "{:x}\r\n", payload.len());
        self.payload = payload;
        self.tail = if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
    }

    /// Queues the last chunk, with trailer fields if any.
    pub fn last_chunk(&mut self, trailers: Option<&Fields>) {
        self.front.extend_from_slice(b"0\r\n");
        self.front
            .extend_from_slice(trailers.map_or(b"", Fields::wire));
        self.front.extend_from_slice(b"\r\n");
    }

    /// Forgets what hasn't been written.
    pub fn clear(&mut self) {
        self.front = Vec::new();
        self.front_at = 0;
        self.payload = Bytes::new();
        self.tail = b"";
    }

    /// Writes as much as the socket takes. Ready once everything is written.
    pub fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let front = self.front.get(self.front_at..).unwrap_or_default();
            let slices = [
                IoSlice::new(front),
                IoSlice::new(&self.payload),
                IoSlice::new(self.tail),
            ];
            let written = ready!(Pin::new(&mut *output).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        let of_front = written.min(self.front.len() - self.front_at);
        self.front_at += of_front;
        if self.front_at == self.front.len() {
            self.front.clear();
            self.front_at = 0;
            if self.front.capacity() > KEPT {
                self.front = Vec::new();
            }
        }
        let rest = written - of_front;
        let of_payload = rest.min(self.payload.len());
        self.payload.advance(of_payload);
        if self.payload.is_empty() {
            // Gives the worker's read buffer back.
            self.payload = Bytes::new();
        }
        self.tail = self.tail.get(rest - of_payload..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn everything_leaves_in_order_through_a_narrow_pipe() {
        let (mut near, mut far) = tokio::io::duplex(3);
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            far.read_to_string(&mut text).await.unwrap();
            text
        });
        let mut outbox = Outbox::default();
        outbox.front().extend_from_slice(b"head\r\n\r\n");
        outbox.chunk(Bytes::from_static(b"hello, world"), false);
        poll_fn(|cx| outbox.poll_write(&mut near, cx))
            .await
            .unwrap();
        outbox.chunk(Bytes::from_static(b"!"), true);
        poll_fn(|cx| outbox.poll_write(&mut near, cx))
            .await
            .unwrap();
        let mut trailers = Fields::default();
        trailers.push(b"X-Sum", b"1");
        outbox.last_chunk(Some(&trailers));
        poll_fn(|cx| outbox.poll_write(&mut near, cx))
            .await
            .unwrap();
        drop(near);
        let expected = "head\r\n\r\nc\r\nhello, world\r\n1\r\n!\r\n0\r\n\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(reading.await.unwrap(), expected);
        assert_eq!(outbox.written(), expected.len() as u64);
    }
}
