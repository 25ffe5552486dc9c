//! The head of a streamed response behind a function URL (`RESPONSE_STREAM`).
//!
//! The runtime's content type says whether a prelude comes first. A function elsewhere doesn't tell it: there, metadata
//! followed by the delimiter are recognised as such, and everything else passes as it is, as soon as it is seen not to
//! become a prelude any more.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use serde::de::IgnoredAny;

use crate::{
    integration::function::next_piece,
    lambda::{
        metadata::MetadataFault,
        output::Output,
        prelude::{MOST, Metadata, Parser, Reader},
    },
    stream::{clocks::Clocks, source::Cut},
    types::{
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
    },
};

/// The content type of streams that begin with a prelude.
pub(super) const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
const DELIMITER: [u8; 8] = [0; 8];

/// Whether a content type is that of streams with a prelude.
pub(super) fn has_prelude(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(WITH_PRELUDE)
}

/// What a response without a prelude begins with.
pub(super) fn raw(content_type: &str) -> Metadata {
    let mut fields = Fields::with_capacity(64);
    fields.push_known(Known::ContentType, b"Content-Type", content_type.as_bytes());
    Metadata {
        status: StatusCode::OK,
        fields,
    }
}

/// Reads the prelude that has to be there.
pub(super) async fn prelude(output: &mut Output, clocks: &Clocks) -> Result<Metadata, Fault> {
    let mut parser = Parser::default();
    while let Some(piece) = next_piece(output, clocks).await {
        let piece = piece.map_err(broken)?;
        let found = parser
            .feed(&piece, Reader::FunctionUrl)
            .map_err(|fault| malformed(&fault))?;
        if let Some((metadata, payload)) = found {
            output.put_back(payload);
            return Ok(metadata);
        }
    }
    Err(failure(output).unwrap_or_else(|| malformed(&parser.ended())))
}

/// Finds out whether there is a prelude, and reads it if so.
pub(super) async fn recognise(output: &mut Output, clocks: &Clocks) -> Result<Metadata, Fault> {
    let mut seen = BytesMut::new();
    while let Some(piece) = next_piece(output, clocks).await {
        seen.extend_from_slice(&piece.map_err(broken)?);
        match beginning(&seen) {
            Beginning::Open => {}
            Beginning::Payload => {
                output.put_back(seen.freeze());
                return Ok(raw("application/octet-stream"));
            }
            Beginning::Prelude => {
                let (metadata, payload) = split(&seen.freeze()).map_err(|it| malformed(&it))?;
                output.put_back(payload);
                return Ok(metadata);
            }
        }
    }
    if let Some(fault) = failure(output) {
        return Err(fault);
    }
    // A whole result, such as a function that doesn't stream gives: it passes as it is, as recorded.
    output.put_back(seen.freeze());
    Ok(raw("application/json"))
}

/// The metadata and the payload of a stream that is there whole.
pub(super) fn split(stream: &Bytes) -> Result<(Metadata, Bytes), MetadataFault> {
    let mut parser = Parser::default();
    match parser.feed(stream, Reader::FunctionUrl)? {
        Some(found) => Ok(found),
        None => Err(parser.ended()),
    }
}

/// What the first bytes of a stream are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Metadata with its delimiter.
    Prelude,
    /// Something else.
    Payload,
    /// Either; more bytes will tell.
    Open,
}

/// Judges the first bytes of a stream.
pub(super) fn beginning(seen: &[u8]) -> Beginning {
    let start = seen.iter().find(|byte| !byte.is_ascii_whitespace());
    match start {
        None => return Beginning::Open,
        Some(b'{') => {}
        Some(_) => return Beginning::Payload,
    }
    let head = seen.get(..MOST).unwrap_or(seen);
    if head
        .windows(DELIMITER.len())
        .any(|window| window == DELIMITER)
    {
        return Beginning::Prelude;
    }
    if seen.len() >= MOST {
        return Beginning::Payload;
    }
    let nul = head.iter().position(|byte| *byte == 0);
    let (json, nuls) = head.split_at(nul.unwrap_or(head.len()));
    if nuls.iter().any(|byte| *byte != 0) {
        return Beginning::Payload;
    }
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Err(error)) if error.is_eof() && nuls.is_empty() => Beginning::Open,
        Some(Ok(_)) if is_blank(json.get(values.byte_offset()..)) => Beginning::Open,
        _ => Beginning::Payload,
    }
}

fn is_blank(rest: Option<&[u8]>) -> bool {
    rest.is_none_or(|rest| rest.iter().all(u8::is_ascii_whitespace))
}

/// The function's own failure, if its output has ended with one.
fn failure(output: &Output) -> Option<Fault> {
    let error = output.completion()?.error.as_ref()?;
    let detail = format!("the function failed before its response began: {error}");
    Some(Fault::new(FaultKind::FunctionFailed, detail))
}

fn broken(cut: Cut) -> Fault {
    Fault::new(FaultKind::BadPrelude, cut.detail)
}

fn malformed(fault: &MetadataFault) -> Fault {
    let detail = format!("the function's streamed response is malformed: {fault}");
    Fault::new(FaultKind::BadPrelude, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_shows_by_its_first_bytes_whether_it_has_a_prelude() {
        for (seen, expected) in [
            (&b""[..], Beginning::Open),
            (b" \n", Beginning::Open),
            (b"{\"a\":", Beginning::Open),
            (b"{\"a\":1}", Beginning::Open),
            (b"{\"a\":1}\n", Beginning::Open),
            (b"{\"a\":1}\0\0\0", Beginning::Open),
            (b"{\"a\":1}\0\0\0\0\0\0\0\0x", Beginning::Prelude),
            (b"{\"a\":1}\0\0x", Beginning::Payload),
            (b"{\"a\":1}\n{", Beginning::Payload),
            (b"{\"a\":\0", Beginning::Payload),
            (b"{a", Beginning::Payload),
            (b"data: x", Beginning::Payload),
        ] {
            let text = String::from_utf8_lossy(seen);
            assert_eq!(beginning(seen), expected, "{text:?}");
        }
        let long = [b"{\"a\":\"".to_vec(), vec![b'x'; MOST]].concat();
        assert_eq!(beginning(&long), Beginning::Payload);
    }

    #[test]
    fn only_the_integration_response_type_announces_a_prelude() {
        assert!(has_prelude(WITH_PRELUDE));
        assert!(has_prelude(&format!("{WITH_PRELUDE}; charset=utf-8")));
        assert!(!has_prelude("text/event-stream"));
    }
}
