//! What the headers of a call say: how it is invoked, with what context, and whether its log is wanted.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;

use crate::{config::model::TransferMode, lambda::invocation::Refusal, types::fields::Fields};

/// Bytes of a client context, in base64.
const MOST_CONTEXT: usize = 3583;

/// How a function is invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvocationType {
    /// The caller waits for the result.
    RequestResponse,
    /// Nobody does.
    Event,
    /// Not at all.
    DryRun,
}

impl InvocationType {
    /// The name in `X-Amz-Invocation-Type`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            InvocationType::RequestResponse => "RequestResponse",
            InvocationType::Event => "Event",
            InvocationType::DryRun => "DryRun",
        }
    }

    fn from_name(name: &[u8], mode: TransferMode) -> Option<InvocationType> {
        match name {
            b"RequestResponse" => Some(InvocationType::RequestResponse),
            b"DryRun" => Some(InvocationType::DryRun),
            b"Event" if mode == TransferMode::Buffered => Some(InvocationType::Event),
            _ => None,
        }
    }
}

/// A call's options.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) invocation_type: InvocationType,
    pub(super) wants_log: bool,
    pub(super) client_context: Option<Box<str>>,
}

impl Options {
    /// Reads the headers of a call for `mode`.
    pub(super) fn read(fields: &Fields, mode: TransferMode) -> Result<Options, Refusal> {
        let first = |name: &'static [u8]| fields.named(name).next();
        let invocation_type = match first(b"x-amz-invocation-type") {
            None => InvocationType::RequestResponse,
            Some(name) => InvocationType::from_name(name, mode).ok_or_else(|| {
                unknown_value("invocationType", name, "RequestResponse, Event, DryRun")
            })?,
        };
        let wants_log = match first(b"x-amz-log-type") {
            None | Some(b"None") => false,
            Some(b"Tail") => true,
            Some(name) => return Err(unknown_value("logType", name, "None, Tail")),
        };
        let client_context = first(b"x-amz-client-context").map(client_context);
        Ok(Options {
            invocation_type,
            wants_log,
            client_context: client_context.transpose()?,
        })
    }
}

fn unknown_value(what: &str, said: &[u8], known: &str) -> Refusal {
    let said = String::from_utf8_lossy(said);
    Refusal::new(
        400,
        "InvalidParameterValueException",
        format!(
            "Value '{said}' at '{what}' failed to satisfy constraint: Member must satisfy enum value set: [{known}]"
        ),
    )
}

fn client_context(said: &[u8]) -> Result<Box<str>, Refusal> {
    let bad = || {
        Refusal::new(
            400,
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        )
    };
    if said.len() > MOST_CONTEXT {
        return Err(bad());
    }
    let decoded = STANDARD.decode(said).map_err(|_| bad())?;
    let text = String::from_utf8(decoded).map_err(|_| bad())?;
    serde_json::from_str::<IgnoredAny>(&text).map_err(|_| bad())?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, mode: TransferMode) -> Result<Options, Refusal> {
        let block = format!("{line}\r\n\r\n");
        let lines = if line.is_empty() { "\r\n" } else { &block };
        Options::read(
            &Fields::parse(lines.as_bytes(), 9).unwrap().unwrap().0,
            mode,
        )
    }

    #[test]
    fn what_isnt_said_is_the_default() {
        let options = read("", TransferMode::Buffered).unwrap();
        assert_eq!(options.invocation_type, InvocationType::RequestResponse);
        assert!(!options.wants_log && options.client_context.is_none());
    }

    #[test]
    fn streams_cant_be_invoked_as_events() {
        let line = "X-Amz-Invocation-Type: Event";
        let options = read(line, TransferMode::Buffered).unwrap();
        assert_eq!(options.invocation_type, InvocationType::Event);
        let refusal = read(line, TransferMode::Stream).unwrap_err();
        assert_eq!(
            (refusal.status, &*refusal.error_type),
            (400, "InvalidParameterValueException")
        );
        assert!(read("X-Amz-Log-Type: Head", TransferMode::Stream).is_err());
    }

    #[test]
    fn the_client_context_is_json_in_base64() {
        let context = |text: &str| {
            read(
                &format!("X-Amz-Client-Context: {text}"),
                TransferMode::Stream,
            )
        };
        let options = context("eyJhIjoxfQ==").unwrap();
        assert_eq!(options.client_context.as_deref(), Some(r#"{"a":1}"#));
        for bad in ["eyJhIjoxfQ", "YQ==", "{}"] {
            assert_eq!(context(bad).unwrap_err().status, 400, "{bad}");
        }
        assert!(context(&STANDARD.encode("1".repeat(3000))).is_err());
    }
}
