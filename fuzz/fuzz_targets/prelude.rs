//! The prelude of a streamed response, in any pieces: its metadata, and not a byte of payload lost or made up.

#![no_main]

use bytes::Bytes;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use sluicegate::lambda::prelude::{MOST, Parser, Reader, begins};
use sluicegate_fuzz::{assert_sound, pieces};

#[derive(Debug, PartialEq, Eq)]
enum Read {
    Refused,
    Incomplete,
    Complete {
        status: StatusCode,
        fields: Vec<u8>,
        payload: Vec<u8>,
    },
}

fn read<'a>(reader: Reader, parts: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut parser = Parser::default();
    let mut parts = parts;
    while let Some(part) = parts.next() {
        match parser.feed(&Bytes::copy_from_slice(part), reader) {
            Ok(None) => {}
            Err(_) => return Read::Refused,
            Ok(Some((metadata, rest))) => {
                assert_sound(&metadata.fields);
                return Read::Complete {
                    status: metadata.status,
                    fields: metadata.fields.wire().to_vec(),
                    payload: parts.fold(rest.to_vec(), |payload, part| [&payload, part].concat()),
                };
            }
        }
    }
    assert!(!parser.ended().to_string().is_empty());
    Read::Incomplete
}

fuzz_target!(|input: (u8, &[u8])| {
    let (seed, data) = input;
    let reader = match seed % 3 {
        0 => Reader::FunctionUrl,
        arrays => Reader::Api {
            header_arrays: arrays == 1,
        },
    };
    let whole = read(reader, std::iter::once(data));
    assert_eq!(read(reader, pieces(seed, data)), whole);
    let delimiter = data.windows(8).position(|window| window == [0; 8]);
    match (whole, delimiter.filter(|at| at + 8 <= MOST)) {
        (
            Read::Complete {
                status, payload, ..
            },
            Some(at),
        ) => {
            assert!((200..600).contains(&status.as_u16()));
            assert_eq!(payload, &data[at + 8..]);
            assert!(begins(data));
        }
        (Read::Complete { .. }, None) => panic!("there is no delimiter"),
        (Read::Incomplete, found) => assert!(found.is_none() && data.len() < MOST),
        (Read::Refused, _) => {}
    }
});
