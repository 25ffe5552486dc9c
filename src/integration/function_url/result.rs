//! What a function gives back whole to its URL. A response is inferred from whatever it is (page "Invoking Lambda
//! function URLs", "Response payload format").

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::{
    lambda::metadata::{Headers, MetadataFault, push_cookies, status},
    types::{fields::Fields, known::Known},
};

/// A response.
#[derive(Debug)]
pub struct Outcome {
    /// 200 to 599.
    pub status: StatusCode,
    /// The header.
    pub fields: Fields,
    /// The body, decoded if it was in base64.
    pub body: Bytes,
}

impl Outcome {
    /// All of `body`, with 200, as JSON.
    pub(super) fn plain(body: Bytes) -> Outcome {
        let mut fields = Fields::with_capacity(64);
        fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
        Outcome {
            status: StatusCode::OK,
            fields,
            body,
        }
    }
}

/// Reads a result: an object with a `statusCode` says what the response is, anything else is its body.
pub fn read(result: Bytes) -> Result<Outcome, MetadataFault> {
    match serde_json::from_slice(&result) {
        Ok(Value::Object(said)) if said.contains_key("statusCode") => structured(&said),
        // Recorded: a bare string loses its quotes.
        Ok(Value::String(text)) => Ok(Outcome::plain(text.into())),
        _ => Ok(Outcome::plain(result)),
    }
}

fn structured(said: &Map<String, Value>) -> Result<Outcome, MetadataFault> {
    let status = status(said.get("statusCode"), 100)?;
    if status.is_informational() {
        return Err(MetadataFault::new(format!(
            "its `statusCode` is {status}, an interim one"
        )));
    }
    let mut fields = Headers::merge(None, said.get("headers"), true)?.into_fields()?;
    push_cookies(&mut fields, said.get("cookies"))?;
    if !fields.has(Known::ContentType) {
        fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
    }
    let body = match said.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if said.get("isBase64Encoded") == Some(&Value::Bool(true)) => {
            decode(text)?
        }
        Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(other) => other.to_string().into(),
    };
    Ok(Outcome {
        status,
        fields,
        body,
    })
}

fn decode(text: &str) -> Result<Bytes, MetadataFault> {
    let decoded = STANDARD.decode(text).map_err(|error| {
        MetadataFault::new(format!(
            "its `body` isn't valid base64, though `isBase64Encoded` is true: {error}"
        ))
    })?;
    Ok(decoded.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &'static str) -> Result<(u16, String, String), String> {
        let outcome = read(Bytes::from_static(json.as_bytes())).map_err(|it| it.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            outcome.status.as_u16(),
            text(outcome.fields.wire()),
            text(&outcome.body),
        ))
    }

    const JSON: &str = "Content-Type: application/json\r\n";

    #[test]
    fn what_has_no_status_code_is_the_body() {
        for (json, body) in [
            (r#"{"message": "hi"}"#, r#"{"message": "hi"}"#),
            (r#"{"body": "hi"}"#, r#"{"body": "hi"}"#),
            (r#""h\u00fc""#, "h\u{fc}"),
            ("42", "42"),
            ("null", "null"),
            ("[1, 2]", "[1, 2]"),
            ("not json", "not json"),
        ] {
            let expected = (200, JSON.to_owned(), body.to_owned());
            assert_eq!(answer(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_has_one_is_read() {
        for (json, status, fields, body) in [
            (r#"{"statusCode": 201}"#, 201, JSON, ""),
            (r#"{"statusCode": "202", "unknown": 1}"#, 202, JSON, ""),
            (
                r#"{"statusCode": 200, "headers": {"content-type": "text/html", "a": 1}, "cookies": ["b=c", "d=e"], "body": "x"}"#,
                200,
                "content-type: text/html\r\na: 1\r\nSet-Cookie: b=c\r\nSet-Cookie: d=e\r\n",
                "x",
            ),
            (
                r#"{"statusCode": 200, "isBase64Encoded": true, "body": "aGk="}"#,
                200,
                JSON,
                "hi",
            ),
            (
                r#"{"statusCode": 200, "body": {"a": 1}}"#,
                200,
                JSON,
                r#"{"a":1}"#,
            ),
        ] {
            let expected = (status, fields.to_owned(), body.to_owned());
            assert_eq!(answer(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_cant_be_a_response_is_refused() {
        for json in [
            r#"{"statusCode": 99}"#,
            r#"{"statusCode": 100}"#,
            r#"{"statusCode": 600}"#,
            r#"{"statusCode": "ok"}"#,
            r#"{"statusCode": 200, "headers": ["a"]}"#,
            r#"{"statusCode": 200, "headers": {"a": "b\r\nc: d"}}"#,
            r#"{"statusCode": 200, "cookies": "a=b"}"#,
            r#"{"statusCode": 200, "isBase64Encoded": true, "body": "a"}"#,
        ] {
            assert!(answer(json).is_err(), "{json}");
        }
    }
}
