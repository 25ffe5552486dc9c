//! The chunked coding: whatever the pieces, the same payload, trailers, surplus and fault; and the payload that a simpler
//! decoder finds.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sluicegate::stream::framing::{Framing, FramingFault};
use sluicegate_fuzz::{assert_sound, pairs, pieces};

#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    payload: Vec<u8>,
    surplus: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    is_over: bool,
    fault: Option<FramingFault>,
}

fn decode<'a>(mut framing: Framing, parts: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let mut decoded = Decoded::default();
    for part in parts {
        if framing.is_over() {
            decoded.surplus.extend_from_slice(part);
            continue;
        }
        let mut data = BytesMut::from(part);
        let rest = framing.decode(&mut data);
        decoded.payload.extend_from_slice(&data);
        match rest {
            Ok(rest) => {
                assert!(rest.is_none() || framing.is_over());
                decoded.surplus.extend(rest.unwrap_or_default());
            }
            Err(fault) => {
                decoded.fault = Some(fault);
                break;
            }
        }
    }
    decoded.is_over = framing.is_over();
    if let Some(trailers) = framing.take_trailers() {
        assert_sound(&trailers);
        decoded.trailers = pairs(&trailers);
    }
    decoded
}

/// The payload, and what it and its frames took, as a lenient decoder sees them that has everything at hand.
fn simple(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut payload = Vec::new();
    let mut at = 0;
    let line = |at: usize| {
        let end = data[at..].windows(2).position(|window| window == b"\r\n")?;
        Some((&data[at..at + end], at + end + 2))
    };
    loop {
        let (size, behind) = line(at)?;
        let digits = size.split(|byte| b"; \t".contains(byte)).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at = behind;
        if size == 0 {
            break;
        }
        payload.extend_from_slice(data.get(at..at.checked_add(size)?)?);
        at += size;
        at = line(at).filter(|(empty, _)| empty.is_empty())?.1;
    }
    loop {
        let (trailer, behind) = line(at)?;
        at = behind;
        if trailer.is_empty() {
            return Some((payload, at));
        }
    }
}

/// What is encoded is decoded, whatever the chunks.
fn round_trip(seed: u8, data: &[u8]) {
    let mut body = Vec::new();
    for chunk in pieces(seed.rotate_left(3), data) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
    let decoded = decode(Framing::chunked(), pieces(seed, &body));
    let expected = Decoded {
        payload: data.to_vec(),
        trailers: vec![(b"X-Sum".to_vec(), b"1".to_vec())],
        is_over: true,
        ..Decoded::default()
    };
    assert_eq!(decoded, expected);
}

fuzz_target!(|input: (u8, &[u8])| {
    let (seed, data) = input;
    let strict = decode(Framing::chunked(), std::iter::once(data));
    for framing in [Framing::chunked(), Framing::chunked_response()] {
        let whole = decode(framing.clone(), std::iter::once(data));
        assert_eq!(decode(framing.clone(), pieces(seed, data)), whole);
        assert_eq!(decode(framing, pieces(0, data)), whole);
        if whole.is_over {
            let (payload, length) = simple(data).expect("the simpler decoder takes it");
            assert_eq!(
                (&whole.payload, &whole.surplus[..]),
                (&payload, &data[length..])
            );
        }
        // Responses may be padded; that is all that is let through.
        assert!(!strict.is_over || whole == strict);
    }
    let length = u64::from(seed);
    let counted = decode(Framing::Length(length), pieces(seed, data));
    let (mine, rest) = data.split_at(data.len().min(length as usize));
    assert_eq!((&counted.payload[..], &counted.surplus[..]), (mine, rest));
    round_trip(seed, data);
});
