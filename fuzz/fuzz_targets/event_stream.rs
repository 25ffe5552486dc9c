//! Any bytes, in any pieces: the decoder neither panics nor depends on where they were split.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluicegate::lambda::event_stream::{Decoder, Event, EventFault};

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

fuzz_target!(|input: (u8, &[u8])| {
    let (size, data) = input;
    let whole = decode(std::iter::once(data));
    assert_eq!(decode(data.chunks(usize::from(size).max(1))), whole);
});
