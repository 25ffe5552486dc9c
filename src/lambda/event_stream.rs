//! `application/vnd.amazon.eventstream`, as `InvokeWithResponseStream` answers with it.
//!
//! A stream of frames: lengths, a checksum over them, headers, payload, a checksum over all. The [`Decoder`] takes bytes
//! split anywhere and gives each event once its frame is complete and both checksums hold, never a byte before; what a
//! frame may make it hold is bounded. The other direction is [`payload_chunk`] and [`invoke_complete`].

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::output::{Completion, FunctionError};

/// The media type of the whole.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// The longest frame (AWS's clients take no longer ones either).
const MOST_FRAME: u32 = 16 * 1024 * 1024;
/// Bytes of a frame's headers.
const MOST_HEADERS: u32 = 128 * 1024;
/// Two lengths and their checksum.
const PRELUDE: usize = 12;
/// What a frame has beside its headers and payload.
const LEAST_FRAME: u32 = 16;

/// What a function's stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `PayloadChunk`, never empty.
    Payload(Bytes),
    /// `InvokeComplete`: the end.
    Complete(Completion),
    /// An exception or an error in place of the end: its name, and what it says.
    Failed(FunctionError),
}

/// Why an event stream can't be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// Shorter than an empty frame, or longer than allowed.
    #[error("a frame of {0} bytes, which is outside {LEAST_FRAME} to {MOST_FRAME}")]
    Length(u32),
    /// More headers than the frame has room for, or than allowed.
    #[error("a frame of {frame} bytes with {headers} bytes of headers")]
    HeadersLength {
        /// The frame's length.
        frame: u32,
        /// What its headers are said to take.
        headers: u32,
    },
    /// The checksum over the lengths doesn't hold.
    #[error("a frame whose lengths don't match their checksum")]
    PreludeChecksum,
    /// The checksum over all doesn't hold, or the headers are malformed.
    #[error("a malformed frame: {0}")]
    Frame(Box<str>),
    /// An event without `:message-type` or `:event-type`.
    #[error("a frame without `{0}`")]
    Unnamed(&'static str),
    /// `InvokeComplete` holds something else than its JSON.
    #[error("an `InvokeComplete` that can't be read: {0}")]
    Completion(Box<str>),
}

/// `InvokeComplete`'s payload.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Complete<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_code: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_details: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_result: Option<std::borrow::Cow<'a, str>>,
}

/// Finds events in bytes as they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What belongs to frames that aren't complete, and complete ones not yet asked for.
    held: BytesMut,
    /// The length of the frame at its start, once that is known to be right.
    frame: Option<usize>,
}

impl Decoder {
    /// Takes what has arrived.
    pub fn push(&mut self, bytes: Bytes) {
        if !self.held.is_empty() {
            self.held.extend_from_slice(&bytes);
            return;
        }
        match bytes.try_into_mut() {
            Ok(bytes) => self.held = bytes,
            Err(shared) => self.held.extend_from_slice(&shared),
        }
    }

    /// The next event; `None` until more has arrived. Events that are unknown are passed over.
    #[expect(
        clippy::should_implement_trait,
        reason = "`None` isn't the end, as it would be an iterator's"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, EventFault> {
        while let Some(frame) = self.frame()? {
            let message = read_message_from(frame)
                .map_err(|error| EventFault::Frame(error.to_string().into()))?;
            if let Some(event) = event(&message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Whether nothing of an incomplete frame is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn frame(&mut self) -> Result<Option<Bytes>, EventFault> {
        let length = match self.frame {
            Some(length) => length,
            None => match self.held.get(..PRELUDE) {
                Some(prelude) => *self.frame.insert(frame_length(prelude)?),
                None => return Ok(None),
            },
        };
        if self.held.len() < length {
            return Ok(None);
        }
        self.frame = None;
        Ok(Some(self.held.split_to(length).freeze()))
    }
}

/// Judges a frame by its first bytes, so that a wrong length isn't waited for.
fn frame_length(mut prelude: &[u8]) -> Result<usize, EventFault> {
    let mut checksum = flate2::Crc::new();
    checksum.update(prelude.get(..8).unwrap_or_default());
    let (frame, headers, expected) = (prelude.get_u32(), prelude.get_u32(), prelude.get_u32());
    if checksum.sum() != expected {
        return Err(EventFault::PreludeChecksum);
    }
    if !(LEAST_FRAME..=MOST_FRAME).contains(&frame) {
        return Err(EventFault::Length(frame));
    }
    if headers > MOST_HEADERS || headers > frame - LEAST_FRAME {
        return Err(EventFault::HeadersLength { frame, headers });
    }
    Ok(frame as usize)
}

fn event(message: &Message) -> Result<Option<Event>, EventFault> {
    let header = |name: &'static str| {
        let header = message
            .headers()
            .iter()
            .find(|header| header.name().as_str() == name)?;
        Some(header.value().as_string().ok()?.as_str())
    };
    let required = |name| header(name).ok_or(EventFault::Unnamed(name));
    match required(":message-type")? {
        "event" => match required(":event-type")? {
            "PayloadChunk" => Ok(Some(message.payload())
                .filter(|payload| !payload.is_empty())
                .map(|payload| Event::Payload(payload.clone()))),
            "InvokeComplete" => completion(message.payload()).map(|it| Some(Event::Complete(it))),
            _ => Ok(None),
        },
        "exception" => Ok(Some(Event::Failed(FunctionError {
            code: header(":exception-type").unwrap_or("exception").into(),
            details: String::from_utf8_lossy(message.payload()).into(),
        }))),
        "error" => Ok(Some(Event::Failed(FunctionError {
            code: header(":error-code").unwrap_or("error").into(),
            details: header(":error-message").unwrap_or_default().into(),
        }))),
        _ => Ok(None),
    }
}

fn completion(payload: &[u8]) -> Result<Completion, EventFault> {
    let fault = |error: &dyn std::fmt::Display| EventFault::Completion(error.to_string().into());
    let said: Complete<'_> = serde_json::from_slice(payload).map_err(|error| fault(&error))?;
    let log = match said.log_result {
        Some(log) => {
            Some(decode_log(log.as_bytes()).ok_or_else(|| fault(&"its log isn't base64"))?)
        }
        None => None,
    };
    let details = said.error_details.unwrap_or_default();
    Ok(Completion {
        error: said.error_code.map(|code| FunctionError {
            code: code.into(),
            details: details.into(),
        }),
        log,
    })
}

/// A log's text from its base64, as `LogResult` and `X-Amz-Log-Result` carry it.
pub fn decode_log(base64: &[u8]) -> Option<Box<str>> {
    let log = STANDARD.decode(base64).ok()?;
    Some(String::from_utf8_lossy(&log).into())
}

/// A frame with a part of a function's payload.
pub fn payload_chunk(payload: &[u8]) -> Bytes {
    let payload = Bytes::copy_from_slice(payload);
    frame("PayloadChunk", "application/octet-stream", payload)
}

/// The last frame: how the invocation ended. `log` is the log's text, which goes out in base64.
pub fn invoke_complete(
    error_code: Option<&str>,
    details: Option<&str>,
    log: Option<&str>,
) -> Bytes {
    let complete = Complete {
        error_code: error_code.map(Into::into),
        error_details: details.map(Into::into),
        log_result: log.map(|log| STANDARD.encode(log).into()),
    };
    // Three texts always make JSON.
    let json = serde_json::to_vec(&complete).unwrap_or_default();
    frame("InvokeComplete", "application/json", json.into())
}

fn frame(event_type: &'static str, content_type: &'static str, payload: Bytes) -> Bytes {
    let text = |text: &'static str| HeaderValue::String(text.into());
    let mut out = BytesMut::with_capacity(payload.len() + 128);
    let message = Message::new(payload)
        .add_header(Header::new(":event-type", text(event_type)))
        .add_header(Header::new(":content-type", text(content_type)))
        .add_header(Header::new(":message-type", text("event")));
    if let Err(error) = write_message_to(&message, &mut out) {
        // Only a payload of 4 GiB has no frame, and nobody holds one.
        tracing::error!(%error, "an event's frame can't be written");
        out.clear();
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HELLO: &str = "0000006f0000005af5fe871f0b3a6576656e742d7479706507000c5061796c6f61644368756e6b0d3a636f6e74656e742d747970650700186170706c69636174696f6e2f6f637465742d73747265616d0d3a6d6573736167652d747970650700056576656e7468656c6c6f29e71260";
    const COMPLETE: &str = "00000066000000541f56c8690b3a6576656e742d7479706507000e496e766f6b65436f6d706c6574650d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b7d7006d467";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    fn message(headers: &[(&'static str, &'static str)], payload: &'static [u8]) -> Vec<u8> {
        let mut message = Message::new(payload);
        for (name, value) in headers {
            message = message.add_header(Header::new(*name, HeaderValue::String((*value).into())));
        }
        let mut out = Vec::new();
        write_message_to(&message, &mut out).unwrap();
        out
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Event>, EventFault> {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::copy_from_slice(bytes));
        let mut events = Vec::new();
        while let Some(event) = decoder.next()? {
            events.push(event);
        }
        Ok(events)
    }

    /// A frame with these lengths and a right checksum over them.
    fn lengths(frame: u32, headers: u32) -> Vec<u8> {
        let mut out = [frame.to_be_bytes(), headers.to_be_bytes()].concat();
        let mut checksum = flate2::Crc::new();
        checksum.update(&out);
        out.extend(checksum.sum().to_be_bytes());
        out
    }

    #[test]
    fn frames_are_those_that_aws_sdks_read() {
        assert_eq!(payload_chunk(b"hello"), bytes(HELLO));
        assert_eq!(invoke_complete(None, None, None), bytes(COMPLETE));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let stream = [
            &payload_chunk(b"a\0b")[..],
            &invoke_complete(
                Some("Unhandled"),
                Some("{\"x\":\"\u{fc}\"}"),
                Some("START\n"),
            ),
        ];
        let error = FunctionError {
            code: "Unhandled".into(),
            details: "{\"x\":\"\u{fc}\"}".into(),
        };
        let end = Completion {
            error: Some(error),
            log: Some("START\n".into()),
        };
        assert_eq!(
            decode(&stream.concat()),
            Ok(vec![
                Event::Payload(Bytes::from_static(b"a\0b")),
                Event::Complete(end)
            ])
        );
    }

    #[test]
    fn a_payload_is_given_once_its_frame_is_complete_and_not_a_byte_before() {
        let frame = payload_chunk(b"hello");
        let mut decoder = Decoder::default();
        for at in 0..frame.len() {
            assert_eq!(decoder.next(), Ok(None), "after {at} bytes");
            decoder.push(frame.slice(at..=at));
        }
        let hello = Event::Payload(Bytes::from_static(b"hello"));
        assert_eq!(decoder.next(), Ok(Some(hello)));
        assert!(decoder.is_empty());
    }

    #[test]
    fn unknown_events_and_empty_chunks_are_passed_over() {
        let stream = [
            message(&[(":message-type", "event"), (":event-type", "News")], b"?"),
            message(&[(":message-type", "gossip")], b"?"),
            payload_chunk(b"").to_vec(),
            payload_chunk(b"x").to_vec(),
        ];
        let x = Event::Payload(Bytes::from_static(b"x"));
        assert_eq!(decode(&stream.concat()), Ok(vec![x]));
    }

    #[test]
    fn exceptions_and_errors_are_told_with_their_text() {
        let exception = [
            (":message-type", "exception"),
            (":exception-type", "ServiceException"),
        ];
        let error = [
            (":message-type", "error"),
            (":error-code", "Internal"),
            (":error-message", "broke"),
        ];
        for (frame, code, details) in [
            (
                message(&exception, b"{\"message\":\"no\"}"),
                "ServiceException",
                "{\"message\":\"no\"}",
            ),
            (message(&error, b""), "Internal", "broke"),
        ] {
            let failed = FunctionError {
                code: code.into(),
                details: details.into(),
            };
            assert_eq!(decode(&frame), Ok(vec![Event::Failed(failed)]));
        }
    }

    #[test]
    fn item_140_lengths_that_lie_are_refused_before_they_are_waited_for() {
        for length in [0, 15, MOST_FRAME + 1, u32::MAX] {
            assert_eq!(decode(&lengths(length, 0)), Err(EventFault::Length(length)));
        }
        for (frame, headers) in [(16, 1), (100, 85), (u32::MAX / 1024, MOST_HEADERS + 1)] {
            let fault = EventFault::HeadersLength { frame, headers };
            assert_eq!(decode(&lengths(frame, headers)), Err(fault));
        }
        assert_eq!(decode(&lengths(MOST_FRAME, MOST_HEADERS)), Ok(vec![]));
    }

    #[test]
    fn item_140_any_flipped_bit_is_found() {
        let frame = payload_chunk(b"hello");
        for at in 0..frame.len() {
            let mut broken = frame.to_vec();
            broken[at] ^= 1;
            let fault = decode(&broken).unwrap_err();
            let is_early = matches!(fault, EventFault::PreludeChecksum);
            assert_eq!(is_early, at < PRELUDE, "at {at}: {fault}");
        }
    }

    #[test]
    fn headers_that_run_into_the_payload_and_ends_that_are_no_json_are_refused() {
        // A header whose value is longer than the headers are said to be.
        let mut overlong = lengths(40, 8);
        overlong.extend(b"\x01a\x07\x00\x10bb");
        overlong.resize(36, b'c');
        let mut checksum = flate2::Crc::new();
        checksum.update(&overlong);
        overlong.extend(checksum.sum().to_be_bytes());
        assert!(matches!(decode(&overlong), Err(EventFault::Frame(_))));
        let end = [
            (":message-type", "event"),
            (":event-type", "InvokeComplete"),
        ];
        for payload in [
            &b""[..],
            b"[]x",
            b"{\"LogResult\":\"*\"}",
            b"{\"ErrorCode\":1}",
        ] {
            let fault = decode(&message(&end, payload)).unwrap_err();
            assert!(
                matches!(fault, EventFault::Completion(_)),
                "{payload:?}: {fault}"
            );
        }
        assert_eq!(
            decode(&message(&[], b"")),
            Err(EventFault::Unnamed(":message-type"))
        );
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_events(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut stream: Vec<u8> = chunks.iter().flat_map(|chunk| payload_chunk(chunk)).collect();
            stream.extend(invoke_complete(None, None, Some("log")));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut decoder = Decoder::default();
            let mut events = Vec::new();
            for part in cuts.windows(2) {
                decoder.push(Bytes::copy_from_slice(&stream[part[0]..part[1]]));
                while let Some(event) = decoder.next().unwrap() {
                    events.push(event);
                }
            }
            prop_assert!(decoder.is_empty());
            prop_assert_eq!(Ok(events), decode(&stream));
        }

        #[test]
        fn no_bytes_bring_the_decoder_down(headers in 0_u32..64, body in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut frame = lengths(16 + headers.max(body.len() as u32), headers);
            frame.extend(&body);
            let mut checksum = flate2::Crc::new();
            checksum.update(&frame);
            frame.extend(checksum.sum().to_be_bytes());
            let _ = decode(&frame);
        }
    }
}
