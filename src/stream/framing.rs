//! Where a message's body ends (RFC 9112, sections 6 and 7), followed over any split of its bytes.

use std::ops::Range;

use bytes::{Buf, BytesMut};

use crate::types::fields::{FieldFault, Fields};

/// Bytes of chunk extensions that one body may carry in all.
const MOST_EXTENSIONS: u32 = 16 * 1024;
/// Bytes of a trailer section.
const MOST_TRAILERS: usize = 16 * 1024;
/// Trailer fields.
const MOST_TRAILER_FIELDS: usize = 100;
/// Hexadecimal digits of a chunk's size: sizes stay below 2^60.
const MOST_DIGITS: u8 = 15;

/// How the end of a body is found.
#[derive(Clone, Debug)]
pub enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks. Boxed, because heads pass through many hands, and most have a length.
    Chunked(Box<Chunked>),
    /// The connection's end is the body's end (responses only).
    UntilClose,
}

/// Why a body's framing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// Not a chunk size.
    #[error("a chunk's size isn't a hexadecimal number")]
    Size,
    /// A chunk's line or data doesn't end in CR LF.
    #[error("a chunk doesn't end where its size says")]
    LineEnd,
    /// A control character in a chunk extension, or too many extensions.
    #[error("a chunk extension is malformed or too long")]
    Extension,
    /// A malformed trailer section, or one over its limits.
    #[error("the trailer section is malformed or too long")]
    Trailers,
}

impl Framing {
    /// A body of chunks, none of them seen yet.
    pub fn chunked() -> Framing {
        Framing::Chunked(Box::default())
    }

    /// The same of a response: some servers pad their chunk sizes with spaces. In a request that is no longer HTTP.
    pub fn chunked_response() -> Framing {
        Framing::Chunked(Box::new(Chunked {
            takes_padding: true,
            ..Chunked::default()
        }))
    }

    /// Whether the end has been seen.
    pub fn is_over(&self) -> bool {
        match self {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunked) => chunked.state == State::End,
            Framing::UntilClose => false,
        }
    }

    /// How many payload bytes are still to come, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Framing::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// Takes this body's bytes from the front of `data` and leaves exactly their payload there.
    ///
    /// Returns what came after the body's end, which belongs to the next message. On a fault, `data` holds the payload
    /// from before it.
    pub fn decode(&mut self, data: &mut BytesMut) -> Result<Option<BytesMut>, FramingFault> {
        match self {
            Framing::UntilClose => Ok(None),
            Framing::Length(left) => {
                let mine = (*left).min(data.len() as u64);
                *left -= mine;
                Ok(surplus(data, mine as usize))
            }
            Framing::Chunked(chunked) => chunked.decode(data),
        }
    }

    /// The trailer fields, once the end has been seen and if there were any.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        match self {
            Framing::Chunked(chunked) => chunked.trailers.take(),
            _ => None,
        }
    }
}

fn surplus(data: &mut BytesMut, at: usize) -> Option<BytesMut> {
    (at < data.len()).then(|| data.split_off(at))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// White space after a size, which only an extension may follow (RFC 9112, section 7.1.1).
    Space,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// A decoder of the chunked coding.
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    takes_padding: bool,
    digits: u8,
    extensions: u32,
    left: u64,
    trailer_text: Vec<u8>,
    trailers: Option<Fields>,
}

impl Chunked {
    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<BytesMut>, FramingFault> {
        let (mut at, mut payload) = (0, 0..0);
        let scanned = self.scan(data, &mut at, &mut payload);
        let rest = surplus(data, at);
        data.truncate(payload.end);
        data.advance(payload.start);
        scanned.map(|()| rest)
    }

    /// Reads from `at` on, and gathers the payload in one place of `data`.
    fn scan(
        &mut self,
        data: &mut BytesMut,
        at: &mut usize,
        payload: &mut Range<usize>,
    ) -> Result<(), FramingFault> {
        while self.state != State::End {
            if self.state == State::Data {
                let run = self.left.min((data.len() - *at) as u64) as usize;
                if payload.start == payload.end {
                    *payload = *at..*at;
                } else {
                    data.copy_within(*at..*at + run, payload.end);
                }
                payload.end += run;
                *at += run;
                self.left -= run as u64;
                if self.left > 0 {
                    break;
                }
                self.state = State::DataCr;
            }
            let Some(byte) = data.get(*at) else { break };
            self.state = self.framing_byte(*byte)?;
            *at += 1;
        }
        Ok(())
    }

    #[inline]
    fn framing_byte(&mut self, byte: u8) -> Result<State, FramingFault> {
        match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < MOST_DIGITS => {
                let digit = if byte <= b'9' {
                    byte - b'0'
                } else {
                    (byte | 0x20) - b'a' + 10
                };
                self.left = (self.left << 4) | u64::from(digit);
                self.digits += 1;
                Ok(State::Size)
            }
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeEnd),
            (State::Size, b';') if self.digits > 0 => self.extension_byte(State::Extension),
            (State::Size, b' ' | b'\t') if self.digits > 0 => self.extension_byte(State::Space),
            (State::Space, b' ' | b'\t') => self.extension_byte(State::Space),
            (State::Space, b'\r') if self.takes_padding => Ok(State::SizeEnd),
            (State::Space, b';') => self.extension_byte(State::Extension),
            (State::Size | State::Space, _) => Err(FramingFault::Size),
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, b' '..=b'~' | b'\t' | 0x80..) => {
                self.extension_byte(State::Extension)
            }
            (State::Extension, _) => Err(FramingFault::Extension),
            (State::SizeEnd, b'\n') => {
                self.digits = 0;
                Ok(if self.left == 0 {
                    State::Trailers
                } else {
                    State::Data
                })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::Trailers, _) => self.trailer_byte(byte),
            _ => Err(FramingFault::LineEnd),
        }
    }

    fn extension_byte(&mut self, next: State) -> Result<State, FramingFault> {
        self.extensions += 1;
        if self.extensions > MOST_EXTENSIONS {
            Err(FramingFault::Extension)
        } else {
            Ok(next)
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, FramingFault> {
        self.trailer_text.push(byte);
        if self.trailer_text.len() > MOST_TRAILERS {
            return Err(FramingFault::Trailers);
        }
        // Lines are judged as they end, so that a bare line end never waits for more.
        if byte != b'\n' {
            return Ok(State::Trailers);
        }
        let parsed = Fields::parse(&self.trailer_text, MOST_TRAILER_FIELDS);
        match parsed.map_err(|_: FieldFault| FramingFault::Trailers)? {
            None => Ok(State::Trailers),
            Some((fields, _)) => {
                self.trailers = (!fields.is_empty()).then_some(fields);
                self.trailer_text = Vec::new();
                Ok(State::End)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `body` in pieces of `step` bytes: payload, surplus and the framing at the end.
    fn decode(body: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, Framing), FramingFault> {
        let mut framing = Framing::chunked();
        let (mut payload, mut after) = (Vec::new(), Vec::new());
        for piece in body.chunks(step) {
            if framing.is_over() {
                after.extend_from_slice(piece);
                continue;
            }
            let mut data = BytesMut::from(piece);
            after.extend(framing.decode(&mut data)?.unwrap_or_default());
            payload.extend_from_slice(&data);
        }
        Ok((payload, after, framing))
    }

    #[test]
    fn any_split_gives_the_same_payload_trailers_and_surplus() {
        let body = b"5\r\nhello\r\nA;name=\"v\"\r\n, streamed\r\n1 ;a\r\n!\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\nGET / HTTP/1.1\r\n";
        for step in 1..=body.len() {
            let (payload, after, mut framing) = decode(body, step).unwrap();
            assert_eq!(payload, b"hello, streamed!", "step {step}");
            assert_eq!(after, b"GET / HTTP/1.1\r\n", "step {step}");
            assert!(framing.is_over());
            assert_eq!(
                framing.take_trailers().unwrap().wire(),
                b"X-Sum: 1\r\nX-B: 2\r\n"
            );
        }
    }

    #[test]
    fn broken_framing_is_refused_at_every_split() {
        let long_extension = [b"1;", vec![b'x'; 16 * 1024].as_slice(), b"\r\n"].concat();
        let cases: [(&[u8], FramingFault); 14] = [
            (b"x\r\n", FramingFault::Size),
            (b"\r\n", FramingFault::Size),
            (b"-1\r\n", FramingFault::Size),
            (b"0x5\r\n", FramingFault::Size),
            (b"1000000000000000\r\n", FramingFault::Size),
            (b"5\nhello", FramingFault::Size),
            (b"5 \r\nhello", FramingFault::Size),
            (b"5 x\r\nhello", FramingFault::Size),
            (b"5\r\rhello", FramingFault::LineEnd),
            (b"2\r\nabc", FramingFault::LineEnd),
            (b"2\r\nab\rx", FramingFault::LineEnd),
            (b"1;a\nb\r\n", FramingFault::Extension),
            (b"0\r\nbad line\r\n\r\n", FramingFault::Trailers),
            (&long_extension, FramingFault::Extension),
        ];
        for (body, fault) in cases {
            for step in [1, 2, 3, body.len()] {
                assert_eq!(
                    decode(body, step).err(),
                    Some(fault),
                    "{:?}",
                    String::from_utf8_lossy(body)
                );
            }
        }
    }

    #[test]
    fn a_response_may_pad_its_sizes() {
        let mut framing = Framing::chunked_response();
        let mut data = BytesMut::from(&b"2 \t\r\nhi\r\n0  \r\n\r\n"[..]);
        assert_eq!(framing.decode(&mut data), Ok(None));
        assert_eq!((&data[..], framing.is_over()), (&b"hi"[..], true));
        let mut data = BytesMut::from(&b"2 x\r\nhi\r\n"[..]);
        assert!(Framing::chunked_response().decode(&mut data).is_err());
    }

    #[test]
    fn extensions_are_counted_over_the_whole_body() {
        let chunk = [b"1;".as_slice(), &[b'x'; 1000], b"\r\na\r\n"].concat();
        assert!(decode(&chunk.repeat(16), 4096).is_ok());
        assert_eq!(
            decode(&chunk.repeat(17), 4096).err(),
            Some(FramingFault::Extension)
        );
    }

    #[test]
    fn a_length_takes_no_byte_more() {
        let mut framing = Framing::Length(5);
        let mut data = BytesMut::from(&b"helloGET"[..]);
        let rest = framing.decode(&mut data).unwrap();
        assert_eq!(
            (&data[..], rest.as_deref()),
            (&b"hello"[..], Some(&b"GET"[..]))
        );
        assert!(framing.is_over());
    }
}
