//! What the targets share: how bytes are cut into pieces, and what must hold of any header.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::Method;
use sluicegate::types::{fields::Fields, head::RequestHead, target::Target};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes cut into pieces, as sockets do it.
///
/// The seed decides how long pieces are: 0 cuts after every byte, other seeds after 1 to so many bytes.
pub struct Pieces<'a> {
    rest: &'a [u8],
    most: usize,
    state: u32,
}

/// Cuts `data` as `seed` wants it.
pub fn pieces(seed: u8, data: &[u8]) -> Pieces<'_> {
    Pieces {
        rest: data,
        most: usize::from(seed).max(1),
        state: u32::from(seed) | 0x100,
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        // Xorshift.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        let length = 1 + self.state as usize % self.most;
        let (piece, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}

/// A stream that is read piece by piece, and isn't ready before each of them.
pub struct Trickle<'a> {
    pieces: Pieces<'a>,
    piece: &'a [u8],
    was_ready: bool,
}

impl<'a> Trickle<'a> {
    /// A stream of these pieces.
    pub fn new(pieces: Pieces<'a>) -> Trickle<'a> {
        Trickle {
            pieces,
            piece: &[],
            was_ready: true,
        }
    }

    /// What nobody has read.
    pub fn unread(&self) -> Vec<u8> {
        [self.piece, self.pieces.rest].concat()
    }
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.piece.is_empty() {
            self.was_ready = !self.was_ready;
            if !self.was_ready {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.piece = self.pieces.next().unwrap_or_default();
        }
        let (taken, rest) = self
            .piece
            .split_at(self.piece.len().min(buffer.remaining()));
        buffer.put_slice(taken);
        self.piece = rest;
        Poll::Ready(Ok(()))
    }
}

/// Names and values, in order.
pub fn pairs(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |field: sluicegate::types::fields::Field<'_>| {
        (field.name.to_vec(), field.value.trim_ascii().to_vec())
    };
    fields.iter().map(pair).collect()
}

/// Whoever reads these fields from the wire reads these very fields.
pub fn assert_sound(fields: &Fields) {
    let wire = [fields.wire(), b"\r\n"].concat();
    let (read, length) = Fields::parse(&wire, usize::MAX)
        .expect("fields are well-formed on the wire")
        .expect("fields are complete on the wire");
    assert_eq!(length, wire.len(), "something ends the fields early");
    assert_eq!(pairs(&read), pairs(fields));
}

/// The request head of `GET target`, with a path of one segment if the target is unfit.
pub fn request(target: &[u8], fields: Fields) -> RequestHead {
    let target =
        Target::parse(&Method::GET, target).or_else(|_| Target::parse(&Method::GET, b"/x"));
    RequestHead {
        target: target.expect("a path of one segment is a target").0,
        fields,
        ..RequestHead::unreadable()
    }
}

/// Fields of all the lines that are fit to be fields.
pub fn fields_of(lines: &[u8]) -> Fields {
    let mut fields = Fields::default();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = [line, b"\r\n\r\n"].concat();
        if let Ok(Some((read, length))) = Fields::parse(&line, 1)
            && length == line.len()
        {
            read.iter().for_each(|field| fields.push_field(field));
        }
    }
    fields
}

/// The bytes that a percent-encoded text stands for.
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}
