//! The event that a function gets from a REST API: payload format 1.0 (page "Set up Lambda proxy integrations").
//!
//! Every key is always there, null where there is nothing to say. Names of headers keep the client's case, the path stays
//! as it was sent, and query parameters are decoded, as recorded.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::media;
use crate::types::{clock::Wall, context::Context, fields::Field, known::Known};

/// The event of a request, as JSON.
pub(super) fn build(context: &Context, body: &Bytes, binary: &[Box<str>]) -> Vec<u8> {
    let (single, multi) = headers(context);
    let (query, multi_query) = query(context.head.target.query());
    let (text, is_base64) = content(context, body, binary);
    let resource = context.resource.as_deref();
    let event = json!({
        "resource": resource.map(|resource| &*resource.path),
        "path": path(context),
        "httpMethod": context.method.as_str(),
        "headers": single,
        "multiValueHeaders": multi,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": multi_query,
        "pathParameters": path_parameters(context),
        "stageVariables": stage_variables(context),
        "requestContext": request_context(context),
        "body": text,
        "isBase64Encoded": is_base64,
    });
    event.to_string().into_bytes()
}

/// The path without the stage. On a custom domain the base path is part of it.
fn path(context: &Context) -> String {
    let path = context.head.target.path();
    let Some(site) = context.site.as_deref().filter(|site| !site.has_own_domain) else {
        return path.to_owned();
    };
    let rest = path.strip_prefix(&*site.base_path).unwrap_or(path);
    format!("/{}", rest.trim_start_matches('/'))
}

/// Whether a function is told of a header.
fn is_told(field: Field<'_>) -> bool {
    match field.known {
        Known::Authorization => !field.value.starts_with(b"AWS4-HMAC-SHA256"),
        Known::Connection
        | Known::ContentLength
        | Known::ContentMd5
        | Known::Expect
        | Known::MaxForwards
        | Known::ProxyAuthenticate
        | Known::Server
        | Known::WwwAuthenticate
        | Known::XHttpMethodOverride
        // Told anew below.
        | Known::Host
        | Known::XForwardedFor
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XAmznTraceId
        | Known::XAmznApigateway => false,
        known => !known.is_hop_by_hop(),
    }
}

fn headers(context: &Context) -> (Value, Value) {
    let said = &context.head.fields;
    let mut multi: Map<String, Value> = Map::new();
    let mut add = |name: &str, value: &[u8]| {
        let value = Value::String(String::from_utf8_lossy(value).into_owned());
        // One header in two spellings is still one header.
        let known = multi
            .keys()
            .find(|own| own.eq_ignore_ascii_case(name))
            .cloned();
        let values = multi
            .entry(known.unwrap_or_else(|| name.to_owned()))
            .or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(value);
        }
    };
    for field in said.iter().filter(|field| is_told(*field)) {
        let spelling = String::from_utf8_lossy(field.name);
        let name = match field.known {
            Known::Authorization if !spelling.starts_with('a') => "Authorization",
            Known::UserAgent if !spelling.starts_with('u') => "User-Agent",
            _ => &spelling,
        };
        add(name, field.value);
    }
    if !context.head.authority.is_empty() {
        add("Host", context.head.authority.as_bytes());
    }
    add("X-Amzn-Trace-Id", &context.trace);
    let mut chain = Vec::new();
    for value in said.all(Known::XForwardedFor) {
        chain.extend_from_slice(value);
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(context.peer.ip.as_bytes());
    add("X-Forwarded-For", &chain);
    add(
        "X-Forwarded-Port",
        context.peer.local.port().to_string().as_bytes(),
    );
    add("X-Forwarded-Proto", context.peer.scheme().as_bytes());
    (last_of_each(&multi), Value::Object(multi))
}

/// The single-value map of a multi-value one: the last value wins.
fn last_of_each(multi: &Map<String, Value>) -> Value {
    let last = |values: &Value| values.as_array().and_then(|values| values.last().cloned());
    let single = multi
        .iter()
        .filter_map(|(name, values)| Some((name.clone(), last(values)?)));
    Value::Object(single.collect())
}

fn query(query: Option<&str>) -> (Value, Value) {
    let mut multi: Map<String, Value> = Map::new();
    let pairs = query.unwrap_or_default().split(['&', ';']);
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let values = multi.entry(decode(name)).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(Value::String(decode(value)));
        }
    }
    if multi.is_empty() {
        return (Value::Null, Value::Null);
    }
    (last_of_each(&multi), Value::Object(multi))
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn path_parameters(context: &Context) -> Value {
    let names = context.resource.iter().flat_map(|it| &it.parameters);
    let pairs: Map<String, Value> = names
        .filter_map(|name| Some((name.to_string(), context.path_parameter(name)?.into())))
        .collect();
    or_null(pairs)
}

fn stage_variables(context: &Context) -> Value {
    let variables = context.site.iter().flat_map(|site| &site.stage_variables);
    or_null(
        variables
            .map(|(name, value)| (name.to_string(), (**value).into()))
            .collect(),
    )
}

fn or_null(map: Map<String, Value>) -> Value {
    if map.is_empty() {
        Value::Null
    } else {
        Value::Object(map)
    }
}

/// The body as text, or in base64 if its media type is one of the binary ones.
fn content(context: &Context, body: &Bytes, binary: &[Box<str>]) -> (Value, bool) {
    if body.is_empty() {
        return (Value::Null, false);
    }
    let said = context.head.fields.get(Known::ContentType);
    let content_type = said.map_or("application/json".into(), String::from_utf8_lossy);
    if media::is_binary(&content_type, binary) {
        return (STANDARD.encode(body).into(), true);
    }
    (String::from_utf8_lossy(body).into(), false)
}

fn request_context(context: &Context) -> Value {
    let site = context.site.as_deref();
    let resource = context.resource.as_deref();
    let mut map = json!({
        "resourceId": resource.map(|it| &*it.id),
        "resourcePath": resource.map(|it| &*it.path),
        "httpMethod": context.method.as_str(),
        "extendedRequestId": context.extended_id.as_str(),
        "requestTime": clf(context.opened_wall),
        "path": context.head.target.path(),
        "accountId": site.map(|site| &*site.account_id),
        "protocol": "HTTP/1.1",
        "stage": site.map(|site| &*site.stage),
        "domainPrefix": context.domain_name().split('.').next(),
        "requestTimeEpoch": context.opened_wall.0,
        "requestId": context.request_id.as_str(),
        "identity": identity(context),
        "domainName": context.domain_name(),
        "deploymentId": site.map(|site| &*site.deployment_id),
        "apiId": site.map(|site| &*site.api_id),
    });
    if let (Value::Object(map), Some(name)) = (
        &mut map,
        resource.and_then(|it| it.operation_name.as_deref()),
    ) {
        map.insert("operationName".to_owned(), name.into());
    }
    map
}

fn clf(time: Wall) -> String {
    let mut text = Vec::with_capacity(26);
    time.write_clf(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn identity(context: &Context) -> Value {
    let agent = context.head.fields.get(Known::UserAgent);
    let mut identity = json!({
        "cognitoIdentityPoolId": null,
        "accountId": null,
        "cognitoIdentityId": null,
        "caller": null,
        "sourceIp": context.source_ip(),
        "principalOrgId": null,
        "accessKey": null,
        "cognitoAuthenticationType": null,
        "cognitoAuthenticationProvider": null,
        "userArn": null,
        "userAgent": agent.map(String::from_utf8_lossy),
        "user": null,
    });
    let tls = context.peer.tls.as_ref();
    let certificate = tls.and_then(|tls| tls.client_certificate.as_deref());
    if let (Value::Object(map), Some(certificate)) = (&mut identity, certificate) {
        let told = json!({
            "clientCertPem": &*certificate.pem,
            "subjectDN": &*certificate.subject,
            "issuerDN": &*certificate.issuer,
            "serialNumber": &*certificate.serial,
            "validity": {
                "notBefore": &*certificate.not_before,
                "notAfter": &*certificate.not_after,
            },
        });
        map.insert("clientCert".to_owned(), told);
    }
    identity
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, Version};

    use super::*;
    use crate::types::{
        fields::Fields,
        head::RequestHead,
        peer::{Peer, Serves},
        site::{Resource, Site},
        target::Target,
    };

    /// The event of `GET target` with these header lines, for `/{proxy+}` of an API mounted at `/prod`.
    fn event(target: &str, lines: &str, body: &'static [u8], binary: &[Box<str>]) -> Value {
        let fields = Fields::parse(format!("{lines}\r\n").as_bytes(), 100);
        let head = RequestHead {
            method: Method::GET,
            target: Target::parse(&Method::GET, target.as_bytes()).unwrap().0,
            authority: "api.example.com:8080".into(),
            version: Version::HTTP_11,
            fields: fields.unwrap().unwrap().0,
        };
        let address = "192.0.2.1:4000".parse().unwrap();
        let peer = Peer::new(address, address, None, Serves::Apis);
        let mut context = Context::open(Arc::new(peer), head);
        context.site = Some(Arc::new(Site {
            base_path: "/prod".into(),
            stage: "prod".into(),
            ..Site::default()
        }));
        context.resource = Some(Arc::new(Resource {
            path: "/{proxy+}".into(),
            parameters: vec!["proxy".into()],
            ..Resource::default()
        }));
        let from = "/prod/".len() as u32;
        let length = context.head.target.path().trim_end_matches('/').len() as u32;
        context.parameters.push(from..length);
        let event = build(&context, &Bytes::from_static(body), binary);
        serde_json::from_slice(&event).unwrap()
    }

    #[test]
    fn all_keys_are_there_in_their_order_and_null_where_there_is_nothing() {
        let event = event("/prod/a/", "", b"", &[]);
        let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "resource",
                "path",
                "httpMethod",
                "headers",
                "multiValueHeaders",
                "queryStringParameters",
                "multiValueQueryStringParameters",
                "pathParameters",
                "stageVariables",
                "requestContext",
                "body",
                "isBase64Encoded"
            ]
        );
        for key in [
            "queryStringParameters",
            "multiValueQueryStringParameters",
            "stageVariables",
            "body",
        ] {
            assert!(event[key].is_null(), "{key}");
        }
        assert_eq!(event["resource"], "/{proxy+}");
        assert_eq!(event["requestContext"]["domainName"], "api.example.com");
        assert_eq!(event["requestContext"]["identity"]["sourceIp"], "192.0.2.1");
        assert!(event["requestContext"].get("authorizer").is_none());
    }

    #[test]
    fn the_path_stays_raw_and_loses_the_stage_only() {
        let event = event("/prod/a%2Fb//c/", "", b"", &[]);
        assert_eq!(event["path"], "/a%2Fb//c/");
        assert_eq!(event["requestContext"]["path"], "/prod/a%2Fb//c/");
        assert_eq!(event["pathParameters"]["proxy"], "a%2Fb//c");
    }

    #[test]
    fn headers_keep_their_case_and_all_their_values() {
        let lines = "tEsT-HEADeR: aValUE\r\nX-Two: 1\r\nx-two: 2\r\nConnection: keep-alive\r\nTE: trailers\r\n\
            Content-Encoding: gzip\r\nVia: 1.1 me\r\nHost: spoofed\r\nX-Forwarded-For: 198.51.100.7\r\nUSER-AGENT: me\r\n";
        let event = event("/prod/a", lines, b"", &[]);
        let headers = &event["headers"];
        assert_eq!(headers["tEsT-HEADeR"], "aValUE");
        assert_eq!(headers["X-Two"], "2");
        assert_eq!(event["multiValueHeaders"]["X-Two"], json!(["1", "2"]));
        assert_eq!(headers["Content-Encoding"], "gzip");
        assert_eq!(headers["Via"], "1.1 me");
        assert_eq!(headers["Host"], "api.example.com:8080");
        assert_eq!(headers["X-Forwarded-For"], "198.51.100.7, 192.0.2.1");
        assert_eq!(headers["User-Agent"], "me");
        for absent in ["Connection", "TE"] {
            assert!(headers.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn queries_are_decoded_and_the_last_value_wins_alone() {
        let event = event("/prod/a?a=1+2&a=%C3%BC&b&c=d;e=f&%61=4", "", b"", &[]);
        assert_eq!(
            event["queryStringParameters"],
            json!({ "a": "4", "b": "", "c": "d", "e": "f" })
        );
        assert_eq!(
            event["multiValueQueryStringParameters"]["a"],
            json!(["1 2", "\u{fc}", "4"])
        );
    }

    #[test]
    fn only_binary_media_types_cross_in_base64() {
        let png: [Box<str>; 1] = ["image/png".into()];
        let lines = "Content-Type: image/png; q=1\r\n";
        let binary = event("/prod/a", lines, b"\x89PNG", &png);
        assert_eq!(
            (&binary["body"], &binary["isBase64Encoded"]),
            (&json!("iVBORw=="), &json!(true))
        );
        let text = event(
            "/prod/a",
            "Content-Type: text/plain\r\n",
            b"h\xc3\xbc",
            &png,
        );
        assert_eq!(
            (&text["body"], &text["isBase64Encoded"]),
            (&json!("h\u{fc}"), &json!(false))
        );
    }
}
