//! What functions give back whole, to a REST API and to a function URL: a response that can be sent, or a refusal.

#![no_main]

use bytes::Bytes;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sluicegate::{
    integration::{aws_proxy, function_url},
    types::{fields::Fields, known::Known},
};
use sluicegate_fuzz::assert_sound;

fn assert_sendable(status: StatusCode, fields: &Fields) {
    assert!((200..600).contains(&status.as_u16()));
    assert_sound(fields);
}

fn assert_of_api(json: &[u8], said: Option<&Value>) {
    let binary: [Box<str>; 1] = ["*/*".into()];
    let text = aws_proxy::result::read(json, None, &[]);
    let decoded = aws_proxy::result::read(json, None, &binary);
    let Ok(outcome) = text else {
        assert!(decoded.is_err());
        return;
    };
    let said = said
        .and_then(Value::as_object)
        .expect("only objects are taken");
    assert_sendable(outcome.status, &outcome.fields);
    let body = said.get("body").and_then(Value::as_str).unwrap_or_default();
    assert_eq!(outcome.body, body.as_bytes());
    let is_base64 = said.get("isBase64Encoded") == Some(&Value::Bool(true));
    match decoded {
        Ok(decoded) if is_base64 => assert!(decoded.body.len() <= body.len() / 4 * 3),
        Ok(decoded) => assert_eq!(decoded.body, outcome.body),
        Err(_) => assert!(is_base64),
    }
    for (name, value) in said
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let value = value
            .as_str()
            .map(|text| text.trim_matches([' ', '\t']).as_bytes());
        let mut sent = outcome
            .fields
            .named(name.as_bytes())
            .map(<[u8]>::trim_ascii);
        assert!(
            value.is_none_or(|value| sent.any(|own| own == value)),
            "{name}"
        );
    }
}

fn assert_of_url(result: &[u8], said: Option<&Value>) {
    let read = function_url::result::read(Bytes::copy_from_slice(result));
    let is_structured = said.is_some_and(|said| said.get("statusCode").is_some());
    match read {
        Err(_) => assert!(is_structured),
        Ok(outcome) => {
            assert_sendable(outcome.status, &outcome.fields);
            assert!(outcome.fields.has(Known::ContentType));
            match said {
                _ if is_structured => {}
                Some(Value::String(text)) => assert_eq!(outcome.body, text.as_bytes()),
                _ => assert_eq!(outcome.body, result),
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let said: Option<Value> = serde_json::from_slice(data).ok();
    assert_of_api(data, said.as_ref());
    assert_of_url(data, said.as_ref());
});
