//! What a function gives back whole: `{isBase64Encoded, statusCode, headers, multiValueHeaders, body}`, as API Gateway
//! takes and refuses it (page "Set up Lambda proxy integrations", and recordings).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::media;
use crate::{
    lambda::metadata::{Headers, MetadataFault, kind_of, status},
    types::{
        fault::{Fault, FaultKind},
        fields::Fields,
    },
};

const KEYS: [&str; 5] = [
    "isBase64Encoded",
    "statusCode",
    "headers",
    "multiValueHeaders",
    "body",
];

/// A function's result, understood.
#[derive(Debug)]
pub struct Outcome {
    /// 200 to 599.
    pub status: StatusCode,
    /// The header.
    pub fields: Fields,
    /// The body, decoded if it was in base64 and the client takes it so.
    pub body: Bytes,
}

/// Reads a result. `accept` is the request's `Accept`, whose first media type decides whether base64 is decoded.
pub fn read(json: &[u8], accept: Option<&[u8]>, binary: &[Box<str>]) -> Result<Outcome, Fault> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| malformed(&format!("it isn't valid JSON: {error}")))?;
    let Value::Object(map) = &value else {
        return Err(malformed(&format!(
            "it is {}; expected an object",
            kind_of(&value)
        )));
    };
    if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(malformed(&format!(
            "it has the key `{unknown}`; API Gateway takes only {}",
            KEYS.map(|key| format!("`{key}`")).join(", ")
        )));
    }
    let status = status(map.get("statusCode"), 100).map_err(|fault| bad(&fault))?;
    if status.is_informational() {
        return Err(malformed(&format!(
            "its `statusCode` is {status}, an interim one"
        )));
    }
    let headers = Headers::merge(map.get("multiValueHeaders"), map.get("headers"), false);
    let fields = headers
        .and_then(Headers::into_fields)
        .map_err(|fault| bad(&fault))?;
    let text = match map.get("body") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(other) => {
            return Err(malformed(&format!(
                "its `body` is {}; API Gateway takes a string there, such as JSON.stringify's",
                kind_of(other)
            )));
        }
    };
    let is_base64 = match map.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(is_base64)) => *is_base64,
        Some(other) => {
            return Err(malformed(&format!(
                "its `isBase64Encoded` is {}; expected true or false",
                kind_of(other)
            )));
        }
    };
    let body = if is_base64 && is_decoded(accept, binary) {
        decode(text)?
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    };
    Ok(Outcome {
        status,
        fields,
        body,
    })
}

/// Whether base64 is decoded: if everything is binary, or the first media type that the request accepts is.
fn is_decoded(accept: Option<&[u8]>, binary: &[Box<str>]) -> bool {
    binary.iter().any(|own| &**own == "*/*")
        || accept.is_some_and(|accept| media::is_binary(&String::from_utf8_lossy(accept), binary))
}

fn decode(text: &str) -> Result<Bytes, Fault> {
    let decoded = STANDARD.decode(text).map_err(|error| {
        Fault::because(
            FaultKind::Misconfigured,
            "bad_base64",
            format!("the function's `body` isn't valid base64, though `isBase64Encoded` is true: {error}"),
        )
    })?;
    Ok(decoded.into())
}

/// A result that can't be a response.
pub(super) fn malformed(why: &str) -> Fault {
    Fault::because(
        FaultKind::FunctionFailed,
        "malformed_result",
        format!("the function's result can't be a response: {why}"),
    )
}

fn bad(fault: &MetadataFault) -> Fault {
    malformed(&fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(json: &str) -> u16 {
        match read(json.as_bytes(), None, &[]) {
            Ok(outcome) => outcome.status.as_u16(),
            Err(fault) => fault.kind.row().status,
        }
    }

    #[test]
    fn what_was_recorded_on_aws_is_taken_and_refused() {
        for (json, expected) in [
            ("{}", 200),
            (r#"{"statusCode":"201"}"#, 201),
            (r#"{"statusCode":201,"headers":null}"#, 201),
            (r#"{"statusCode":201,"headers":{"a":true,"b":null}}"#, 201),
            (r#"{"statusCode":200,"unknown":1}"#, 502),
            (r#"{"statusCode":200,"headers":{"a":["b"]}}"#, 502),
            (r#"{"statusCode":200,"multiValueHeaders":{"a":"b"}}"#, 502),
            (r#"{"statusCode":200,"headers":"a"}"#, 502),
            (r#"{"statusCode":"ok"}"#, 502),
            (r#"{"statusCode":100}"#, 502),
            (r#"{"body":{"a":1}}"#, 502),
            (r#""text""#, 502),
            ("null", 502),
            ("not json", 502),
        ] {
            assert_eq!(status_of(json), expected, "{json}");
        }
    }

    #[test]
    fn the_first_accepted_media_type_decides_about_base64() {
        let json = br#"{"isBase64Encoded":true,"body":"aGk="}"#;
        let body = |accept: Option<&[u8]>, binary: &[Box<str>]| {
            read(json, accept, binary).map(|outcome| outcome.body.to_vec())
        };
        let png: [Box<str>; 1] = ["image/png".into()];
        assert_eq!(body(Some(b"image/png"), &[]).unwrap(), b"aGk=");
        assert_eq!(body(Some(b"image/png,*/*"), &png).unwrap(), b"hi");
        assert_eq!(body(Some(b"text/html,image/png"), &png).unwrap(), b"aGk=");
        assert_eq!(body(Some(b"*/*"), &png).unwrap(), b"aGk=");
        assert_eq!(body(None, &["*/*".into()]).unwrap(), b"hi");
        let bad = read(
            br#"{"isBase64Encoded":true,"body":"a"}"#,
            None,
            &["*/*".into()],
        );
        assert_eq!(bad.unwrap_err().kind.row().status, 500);
    }
}
