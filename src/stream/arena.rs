//! Reads into buffers that a worker's connections share.
//!
//! Nothing is held for a socket that has nothing to say. A read takes the front of the worker's buffer; once all frames
//! cut from a buffer are gone it is used again from its start, so a lone chunk costs no allocation.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// The usual size of a read, and so the most that one frame of a stream holds.
pub const READ: usize = 16 * 1024;

thread_local! {
    static SMALL: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    static LARGE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Reads once, at most `want` bytes. Empty bytes mean the end of the input.
pub fn poll_take<R: AsyncRead + Unpin>(
    input: &mut R,
    cx: &mut Context<'_>,
    want: usize,
) -> Poll<io::Result<BytesMut>> {
    let arena = if want > READ { &LARGE } else { &SMALL };
    arena.with_borrow_mut(|arena| {
        // A small remainder is still fine for one more read; a smaller one isn't worth a system call.
        if arena.capacity() < want.min(READ) / 2 || (want > READ && arena.capacity() < want / 2) {
            arena.reserve(want.max(READ));
        }
        let room = arena.capacity().min(want);
        let mut limited = (&mut *arena).limit(room);
        ready!(poll_read_buf(Pin::new(input), cx, &mut limited))?;
        Poll::Ready(Ok(arena.split()))
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_buffer_is_used_again_once_its_frames_are_gone() {
        let (mut writer, mut reader) = tokio::io::duplex(64 * 1024);
        let mut places = std::collections::HashSet::new();
        for _ in 0..1000 {
            writer.write_all(&[7; 100]).await.unwrap();
            let frame = poll_fn(|cx| poll_take(&mut reader, cx, READ))
                .await
                .unwrap();
            assert_eq!(frame.len(), 100);
            places.insert(frame.as_ptr() as usize / (2 * READ));
        }
        assert!(places.len() < 20, "{}", places.len());
    }

    #[tokio::test]
    async fn a_read_takes_no_more_than_asked_and_the_end_is_empty() {
        let (mut writer, mut reader) = tokio::io::duplex(64 * 1024);
        writer.write_all(&[7; 100]).await.unwrap();
        drop(writer);
        let sizes = [30, 30, 40, 0];
        for (want, size) in [30, 30, 1000, 1000].into_iter().zip(sizes) {
            assert_eq!(
                poll_fn(|cx| poll_take(&mut reader, cx, want))
                    .await
                    .unwrap()
                    .len(),
                size
            );
        }
    }
}
