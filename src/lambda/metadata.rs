//! Status and headers as functions write them in JSON, of whole results and before streamed payloads.
//!
//! What API Gateway takes and refuses is told in "Set up Lambda proxy integrations" and "Set up a Lambda proxy
//! integration with payload response streaming"; where recordings differ from the pages, they win.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::types::{
    fields::{Fields, is_field_value, is_token},
    known::Known,
};

/// Bytes of a header's name. [`Fields`] can't hold a longer one, and no client takes one.
const MOST_NAME: usize = 8 * 1024;

/// Why a function's status or headers can't be used, in words its author can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MetadataFault(pub Box<str>);

impl MetadataFault {
    /// A fault with its sentence.
    pub fn new(sentence: impl Into<Box<str>>) -> MetadataFault {
        MetadataFault(sentence.into())
    }
}

/// What `value` is, for sentences.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The status: a whole number from `least` to 599, also as a string, as recorded; 200 if there is none.
pub fn status(value: Option<&Value>, least: u16) -> Result<StatusCode, MetadataFault> {
    let number = match value {
        None | Some(Value::Null) => Some(200),
        Some(Value::Number(number)) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let status = number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| (least..600).contains(number))
        .and_then(|number| StatusCode::from_u16(number).ok());
    status.ok_or_else(|| {
        let said = value.unwrap_or(&Value::Null);
        MetadataFault::new(format!(
            "`statusCode` is {said}; API Gateway takes a whole number from {least} to 599 there"
        ))
    })
}

fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0 && number < 1000.0).then_some(number as u64)
}

/// Headers by name, each with its values, in the order of the function's JSON.
#[derive(Debug, Default)]
pub struct Headers {
    named: Vec<(String, Vec<String>)>,
}

impl Headers {
    /// Takes `multiValueHeaders` and `headers` together: the former's spelling and values come first, and a pair that
    /// stands in both is kept once. `arrays` lets `headers` have arrays as values.
    pub fn merge(
        multi: Option<&Value>,
        single: Option<&Value>,
        arrays: bool,
    ) -> Result<Headers, MetadataFault> {
        let mut headers = Headers::default();
        for (name, values) in members("multiValueHeaders", multi)? {
            let Value::Array(items) = values else {
                if values.is_null() {
                    continue;
                }
                return Err(MetadataFault::new(format!(
                    "`multiValueHeaders.{name}` is {}; API Gateway takes an array there, or a string in `headers`",
                    kind_of(values)
                )));
            };
            let values = headers.values(name);
            for item in items.iter().filter(|item| !item.is_null()) {
                values.push(scalar("multiValueHeaders", name, item)?);
            }
        }
        for (name, value) in members("headers", single)? {
            match value {
                Value::Null => {}
                Value::Array(items) if arrays => {
                    for item in items {
                        let text = scalar("headers", name, item)?;
                        headers.values(name).push(text);
                    }
                }
                value => {
                    let text = scalar("headers", name, value)?;
                    let values = headers.values(name);
                    if !values.contains(&text) {
                        values.push(text);
                    }
                }
            }
        }
        Ok(headers)
    }

    fn values(&mut self, name: &str) -> &mut Vec<String> {
        let known = self
            .named
            .iter()
            .position(|(own, _)| own.eq_ignore_ascii_case(name));
        let at = known.unwrap_or_else(|| {
            self.named.push((name.to_owned(), Vec::new()));
            self.named.len() - 1
        });
        #[expect(
            clippy::indexing_slicing,
            reason = "the entry was found or has just been added"
        )]
        &mut self.named[at].1
    }

    /// The headers as fields.
    pub fn into_fields(self) -> Result<Fields, MetadataFault> {
        let mut fields = Fields::with_capacity(256);
        for (name, values) in self.named {
            for value in values {
                push(&mut fields, &name, &value)?;
            }
        }
        Ok(fields)
    }
}

fn push(fields: &mut Fields, name: &str, value: &str) -> Result<(), MetadataFault> {
    if name.len() > MOST_NAME {
        return Err(MetadataFault::new(format!(
            "a header's name has {} bytes; at most {MOST_NAME} can be sent",
            name.len()
        )));
    }
    if !is_token(name.as_bytes()) {
        return Err(MetadataFault::new(format!(
            "{name:?} can't be the name of a header"
        )));
    }
    if !is_field_value(value.as_bytes()) {
        return Err(MetadataFault::new(format!(
            "the header `{name}` has a line break or another control character in its value"
        )));
    }
    fields.push(name.as_bytes(), value.as_bytes());
    Ok(())
}

/// Appends a `Set-Cookie` for each of `cookies`.
pub fn push_cookies(fields: &mut Fields, cookies: Option<&Value>) -> Result<(), MetadataFault> {
    let items = match cookies {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(items)) => items,
        Some(other) => {
            return Err(MetadataFault::new(format!(
                "`cookies` is {}; expected an array of strings",
                kind_of(other)
            )));
        }
    };
    for cookie in items {
        let Value::String(cookie) = cookie else {
            return Err(MetadataFault::new(format!(
                "`cookies` has {} in it; expected strings",
                kind_of(cookie)
            )));
        };
        if !is_field_value(cookie.as_bytes()) {
            return Err(MetadataFault::new(
                "`cookies` has a line break or another control character in it",
            ));
        }
        fields.push_known(Known::SetCookie, b"Set-Cookie", cookie.as_bytes());
    }
    Ok(())
}

fn members<'a>(
    key: &str,
    value: Option<&'a Value>,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, MetadataFault> {
    let map: Option<&Map<String, Value>> = match value {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(map),
        Some(other) => {
            return Err(MetadataFault::new(format!(
                "`{key}` is {}; API Gateway takes an object there",
                kind_of(other)
            )));
        }
    };
    Ok(map.into_iter().flatten())
}

fn scalar(key: &str, name: &str, value: &Value) -> Result<String, MetadataFault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => {
            let hint = if other.is_array() {
                "; use `multiValueHeaders`"
            } else {
                ""
            };
            Err(MetadataFault::new(format!(
                "`{key}.{name}` is {}; API Gateway takes a string there{hint}",
                kind_of(other)
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(multi: &Value, single: &Value) -> Result<String, String> {
        let headers = Headers::merge(Some(multi), Some(single), false);
        let fields = headers.and_then(Headers::into_fields);
        fields
            .map(|fields| String::from_utf8_lossy(fields.wire()).into_owned())
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn multi_values_come_first_with_their_spelling_and_a_pair_in_both_is_kept_once() {
        let multi = json!({ "Test-Header": ["value-multi"], "x-same": ["a", "b"] });
        let single =
            json!({ "test-header": "value-solo", "X-Same": "b", "n": 5, "b": true, "z": null });
        assert_eq!(
            merged(&multi, &single).unwrap(),
            "Test-Header: value-multi\r\nTest-Header: value-solo\r\nx-same: a\r\nx-same: b\r\nn: 5\r\nb: true\r\n"
        );
    }

    #[test]
    fn what_isnt_a_header_is_refused_with_its_name() {
        for (multi, single, sentence) in [
            (
                json!({}),
                json!({ "Content-Type": ["a"] }),
                "`headers.Content-Type` is an array; API Gateway takes a string there; use `multiValueHeaders`",
            ),
            (
                json!({ "a": "b" }),
                json!({}),
                "`multiValueHeaders.a` is a string; API Gateway takes an array there, or a string in `headers`",
            ),
            (
                json!([]),
                json!({}),
                "`multiValueHeaders` is an array; API Gateway takes an object there",
            ),
            (
                json!({}),
                json!({ "a": {} }),
                "`headers.a` is an object; API Gateway takes a string there",
            ),
            (
                json!({}),
                json!({ "a b": "c" }),
                "\"a b\" can't be the name of a header",
            ),
            (
                json!({}),
                json!({ "a": "b\r\nc: d" }),
                "the header `a` has a line break or another control character in its value",
            ),
        ] {
            assert_eq!(merged(&multi, &single).unwrap_err(), sentence);
        }
        let lenient = Headers::merge(None, Some(&json!({ "a": ["b", "c"] })), true).unwrap();
        assert_eq!(lenient.into_fields().unwrap().wire(), b"a: b\r\na: c\r\n");
    }

    #[test]
    fn a_name_that_no_field_can_hold_is_refused() {
        let with_name = |length: usize| merged(&json!({}), &json!({ "a".repeat(length): "b" }));
        assert!(with_name(8192).is_ok());
        for length in [8193, 65_536, 65_537] {
            let sentence = format!("a header's name has {length} bytes; at most 8192 can be sent");
            assert_eq!(with_name(length).unwrap_err(), sentence);
        }
    }

    #[test]
    fn a_status_is_a_whole_number_also_as_a_string() {
        for (value, expected) in [
            (json!(201), Some(201)),
            (json!("201"), Some(201)),
            (json!(201.0), Some(201)),
            (json!(null), Some(200)),
            (json!("abc"), None),
            (json!(600), None),
            (json!(199), None),
            (json!(-200), None),
            (json!([200]), None),
            (json!(200.5), None),
        ] {
            let status = status(Some(&value), 200).ok().map(|it| it.as_u16());
            assert_eq!(status, expected, "{value}");
        }
    }
}
