//! Frames of `application/vnd.amazon.eventstream`, as `InvokeWithResponseStream` answers with.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Map, Value};

/// A frame with a piece of payload.
pub fn payload_chunk(payload: &[u8]) -> Bytes {
    frame(
        "PayloadChunk",
        "application/octet-stream",
        Bytes::copy_from_slice(payload),
    )
}

/// The last frame: how the invocation ended. `log` is in base64.
pub fn invoke_complete(
    error_code: Option<&str>,
    details: Option<&str>,
    log: Option<&str>,
) -> Bytes {
    let members = [
        ("ErrorCode", error_code),
        ("ErrorDetails", details),
        ("LogResult", log),
    ];
    let said: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect();
    let json = Value::Object(said).to_string();
    frame("InvokeComplete", "application/json", json.into())
}

fn frame(event: &'static str, content_type: &'static str, payload: Bytes) -> Bytes {
    let header = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    let message = Message::new(payload)
        .add_header(header(":event-type", event))
        .add_header(header(":content-type", content_type))
        .add_header(header(":message-type", "event"));
    let mut frame = Vec::with_capacity(message.payload().len() + 128);
    // Fails only for headers or payloads beyond 4 GB.
    let _ = write_message_to(&message, &mut frame);
    frame.into()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn hex(frame: &[u8]) -> String {
        let mut text = String::new();
        frame
            .iter()
            .for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text
    }

    #[test]
    fn frames_are_the_ones_that_sdks_read() {
        assert_eq!(
            hex(&payload_chunk(b"hello")),
            "0000006f0000005af5fe871f0b3a6576656e742d7479706507000c5061796c6f61644368756e6b0d3a636f6e74656e742d747970650700\
             186170706c69636174696f6e2f6f637465742d73747265616d0d3a6d6573736167652d747970650700056576656e7468656c6c6f29e71260"
        );
        assert_eq!(
            hex(&invoke_complete(None, None, None)),
            "00000066000000541f56c8690b3a6576656e742d7479706507000e496e766f6b65436f6d706c6574650d3a636f6e74656e742d747970650700\
             106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b7d7006d467"
        );
    }
}
