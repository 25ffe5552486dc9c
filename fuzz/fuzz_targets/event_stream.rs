//! An event stream, in any pieces: what is read doesn't depend on where it was split, and what is written is read again.

#![no_main]

use bytes::Bytes;
use flate2::Crc;
use libfuzzer_sys::fuzz_target;
use sluicegate::lambda::event_stream::{
    Decoder, Event, EventFault, invoke_complete, payload_chunk,
};
use sluicegate_fuzz::pieces;

fn decode<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<EventFault>) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for part in parts {
        decoder.push(Bytes::copy_from_slice(part));
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Some(fault)),
            }
        }
    }
    (events, None)
}

fn checksum(data: &[u8]) -> [u8; 4] {
    let mut checksum = Crc::new();
    checksum.update(data);
    checksum.sum().to_be_bytes()
}

/// Makes the checksums right, frame by frame, so that something comes behind them.
fn mend(data: &mut [u8]) {
    let mut rest = data;
    while rest.len() >= 16 {
        let sum = checksum(&rest[..8]);
        rest[8..12].copy_from_slice(&sum);
        let length = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if length < 16 || length > rest.len() {
            return;
        }
        let sum = checksum(&rest[..length - 4]);
        rest[length - 4..length].copy_from_slice(&sum);
        rest = &mut rest[length..];
    }
}

fn round_trip(seed: u8, data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let stream = [
        payload_chunk(data),
        invoke_complete(Some(&text), Some(&text), Some(&text)),
    ]
    .concat();
    // Not byte by byte: the stream is many times as long as the data.
    let (mut events, fault) = decode(pieces(seed | 0x40, &stream));
    assert_eq!(fault, None);
    let Some(Event::Complete(end)) = events.pop() else {
        panic!("the end is missing");
    };
    let error = end.error.expect("the error is there");
    assert_eq!((&*error.code, &*error.details), (&*text, &*text));
    assert_eq!(end.log.as_deref(), Some(&*text));
    let payload = (!data.is_empty()).then(|| Event::Payload(Bytes::copy_from_slice(data)));
    assert_eq!(events, Vec::from_iter(payload));
}

fuzz_target!(|input: (u8, &[u8])| {
    let (seed, data) = input;
    let mut data = data.to_vec();
    if seed & 1 == 1 {
        mend(&mut data);
    }
    let whole = decode(std::iter::once(&data[..]));
    assert_eq!(decode(pieces(seed, &data)), whole);
    let is_empty = |event: &Event| matches!(event, Event::Payload(payload) if payload.is_empty());
    assert!(!whole.0.iter().any(is_empty));
    if seed & 2 == 2 {
        round_trip(seed, &data);
    }
});
