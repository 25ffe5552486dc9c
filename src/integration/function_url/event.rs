//! The event that a function gets from its URL: payload format 2.0 (page "Invoking Lambda function URLs").
//!
//! Names of headers are in lower case, repeated values are joined with commas, cookies stand apart, the path stays as it
//! was sent, and what there isn't isn't there, but for the request context's fixed keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::Reached;
use crate::types::{context::Context, fields::Field, known::Known};

/// The event of a request, as JSON.
pub(super) fn build(context: &Context, reached: &Reached, body: &Bytes) -> Vec<u8> {
    let path = reached.path(context);
    let query = context.head.target.query().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
    });
    let Value::Object(map) = &mut event else {
        return Vec::new();
    };
    let mut add = |key: &str, value: Option<Value>| {
        map.extend(value.map(|value| (key.to_owned(), value)));
    };
    add("cookies", cookies(context));
    add("headers", Some(headers(context)));
    add("queryStringParameters", parameters(query));
    add(
        "requestContext",
        Some(request_context(context, reached, path)),
    );
    let (text, is_base64) = content(context, body);
    add("body", text);
    add("isBase64Encoded", Some(is_base64.into()));
    event.to_string().into_bytes()
}

fn cookies(context: &Context) -> Option<Value> {
    let pairs: Vec<Value> = context
        .head
        .fields
        .all(Known::Cookie)
        .flat_map(|value| value.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .map(|pair| String::from_utf8_lossy(pair).into())
        .collect();
    (!pairs.is_empty()).then_some(Value::Array(pairs))
}

/// Whether a function is told of a header under its own name.
fn is_told(field: Field<'_>) -> bool {
    match field.known {
        Known::Authorization => !field.value.starts_with(b"AWS4-HMAC-SHA256"),
        Known::Cookie
        | Known::Expect
        // Told anew below.
        | Known::Host
        | Known::XForwardedFor
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XAmznTraceId => false,
        known => !known.is_hop_by_hop(),
    }
}

fn headers(context: &Context) -> Value {
    let said = &context.head.fields;
    let mut headers: Map<String, Value> = Map::new();
    let mut add = |name: &str, value: &[u8]| {
        let value = String::from_utf8_lossy(value);
        match headers.get_mut(name) {
            Some(Value::String(before)) => {
                before.push(',');
                before.push_str(&value);
            }
            _ => {
                headers.insert(name.to_owned(), value.into());
            }
        }
    };
    for field in said.iter().filter(|field| is_told(*field)) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        add(&name, field.value);
    }
    if !context.head.authority.is_empty() {
        add("host", context.head.authority.as_bytes());
    }
    let mut chain = Vec::new();
    for value in said.all(Known::XForwardedFor) {
        chain.extend_from_slice(value);
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(context.peer.ip.as_bytes());
    add("x-forwarded-for", &chain);
    let port = context.peer.local.port().to_string();
    add("x-forwarded-port", port.as_bytes());
    add("x-forwarded-proto", context.peer.scheme().as_bytes());
    add("x-amzn-trace-id", &context.trace);
    if let Some(tls) = &context.peer.tls {
        add("x-amzn-tls-version", tls.version.as_bytes());
        add("x-amzn-tls-cipher-suite", tls.cipher.as_bytes());
    }
    Value::Object(headers)
}

/// The query's parameters, decoded; the values of one name are joined.
fn parameters(query: &str) -> Option<Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        match parameters.get_mut(&name) {
            Some(Value::String(before)) => {
                before.push(',');
                before.push_str(&value);
            }
            _ => {
                parameters.insert(name, value.into());
            }
        }
    }
    (!parameters.is_empty()).then_some(Value::Object(parameters))
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn request_context(context: &Context, reached: &Reached, path: &str) -> Value {
    let agent = context.head.fields.get(Known::UserAgent);
    let mut time = Vec::with_capacity(26);
    context.opened_wall.write_clf(&mut time);
    json!({
        // Nobody is known to have called: `AWS_IAM` isn't enforced.
        "accountId": "anonymous",
        "apiId": &*reached.id,
        "domainName": reached.domain(context),
        "domainPrefix": &*reached.id,
        "http": {
            "method": context.head.method.as_str(),
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": context.source_ip(),
            "userAgent": agent.map(String::from_utf8_lossy),
        },
        "requestId": context.request_id.as_str(),
        "routeKey": "$default",
        "stage": "$default",
        "time": String::from_utf8_lossy(&time),
        "timeEpoch": context.opened_wall.0,
    })
}

/// The body as text if its media type is one of text and its bytes are, else in base64.
fn content(context: &Context, body: &Bytes) -> (Option<Value>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    let said = context.head.fields.get(Known::ContentType);
    let is_text = said.is_none_or(|said| is_text(&String::from_utf8_lossy(said)));
    match std::str::from_utf8(body) {
        Ok(text) if is_text => (Some(text.into()), false),
        _ => (Some(STANDARD.encode(body).into()), true),
    }
}

fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            &*essence,
            "" | "application/json"
                | "application/xml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integration::function_url::testing::{by_path, context};

    fn event(target: &str, lines: &str, body: &'static [u8]) -> Value {
        let context = context("POST", target, lines);
        let event = build(&context, &by_path(&context), &Bytes::from_static(body));
        serde_json::from_slice(&event).unwrap()
    }

    #[test]
    fn keys_stand_in_their_order_and_only_those_with_something_to_say() {
        let keys = |event: &Value| {
            let keys: Vec<String> = event.as_object().unwrap().keys().cloned().collect();
            keys.join(" ")
        };
        let bare = event("/lambda-url/echo", "", b"");
        assert_eq!(
            keys(&bare),
            "version routeKey rawPath rawQueryString headers requestContext isBase64Encoded"
        );
        assert_eq!(
            (&bare["rawPath"], &bare["rawQueryString"]),
            (&"/".into(), &"".into())
        );
        let full = event("/lambda-url/echo/a?b=c", "Cookie: d=e\r\n", b"x");
        assert_eq!(
            keys(&full),
            "version routeKey rawPath rawQueryString cookies headers queryStringParameters requestContext body isBase64Encoded"
        );
        let context = &full["requestContext"];
        assert_eq!(
            keys(context),
            "accountId apiId domainName domainPrefix http requestId routeKey stage time timeEpoch"
        );
        assert_eq!(
            (&context["accountId"], &context["domainName"]),
            (
                &"anonymous".into(),
                &"echo.lambda-url.us-east-1.on.aws".into()
            )
        );
        assert_eq!(
            keys(&context["http"]),
            "method path protocol sourceIp userAgent"
        );
    }

    #[test]
    fn the_path_stays_raw_and_the_query_is_decoded_and_joined() {
        let event = event(
            "/lambda-url/echo/pa%2Fth//1/?q=a+b&multi=foo&multi=2%2F&e&%C3%BC=%C3%A4;x",
            "",
            b"",
        );
        assert_eq!(event["rawPath"], "/pa%2Fth//1/");
        assert_eq!(event["requestContext"]["http"]["path"], "/pa%2Fth//1/");
        assert_eq!(
            event["rawQueryString"],
            "q=a+b&multi=foo&multi=2%2F&e&%C3%BC=%C3%A4;x"
        );
        assert_eq!(
            event["queryStringParameters"],
            json!({ "q": "a b", "multi": "foo,2/", "e": "", "\u{fc}": "\u{e4};x" })
        );
    }

    #[test]
    fn headers_are_in_lower_case_joined_and_without_cookies_and_the_connections_own() {
        let lines = "X-Two: 1\r\nx-TWO: 2\r\nCookie: a=b; c=\"d e\";f\r\nCookie: g=h\r\nConnection: keep-alive\r\n\
            Content-Length: 1\r\nTE: trailers\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a\r\nX-Forwarded-For: 198.51.100.7\r\n";
        let event = event("/lambda-url/echo", lines, b"");
        assert_eq!(event["cookies"], json!(["a=b", "c=\"d e\"", "f", "g=h"]));
        let mut headers = event["headers"].as_object().unwrap().clone();
        let trace = headers.remove("x-amzn-trace-id").unwrap();
        assert!(trace.as_str().unwrap().starts_with("Root=1-"));
        assert_eq!(
            Value::Object(headers),
            json!({
                "x-two": "1,2",
                "content-length": "1",
                "host": "api.example.com:8080",
                "x-forwarded-for": "198.51.100.7, 192.0.2.1",
                "x-forwarded-port": "4000",
                "x-forwarded-proto": "http",
            })
        );
    }

    #[test]
    fn bodies_that_arent_text_cross_in_base64() {
        for (media_type, body, expected, is_base64) in [
            ("text/html", "a", "a", false),
            ("application/json; charset=utf-8", "{}", "{}", false),
            ("application/x-www-form-urlencoded", "a=b", "a=b", false),
            ("application/vnd.api+json", "{}", "{}", false),
            ("multipart/form-data; boundary=x", "--x", "LS14", true),
            ("application/octet-stream", "a", "YQ==", true),
            ("image/svg", "a", "YQ==", true),
        ] {
            let lines = format!("Content-Type: {media_type}\r\n");
            let event = event("/lambda-url/echo", &lines, body.as_bytes());
            assert_eq!(
                (&event["body"], &event["isBase64Encoded"]),
                (&expected.into(), &is_base64.into()),
                "{media_type}"
            );
        }
        let latin1 = event("/lambda-url/echo", "Content-Type: text/plain\r\n", b"\xfc");
        assert_eq!(latin1["body"], "/A==");
        let unsaid = event("/lambda-url/echo", "", b"a");
        assert_eq!(unsaid["isBase64Encoded"], false);
    }
}
