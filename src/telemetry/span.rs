//! The span of a request that has ended, as OTLP writes it in JSON.
//!
//! Names are those of OpenTelemetry's semantic conventions for HTTP servers; what they have no name for is under
//! `sluicegate.`. The query isn't told: it may hold secrets.

use std::{borrow::Cow, time::Duration};

use http::{Method, Version};
use serde_json::{Value, json};

use crate::types::{
    clock::Tick, context::Context, known::Known, outcome::Outcome, target::split_port,
    trace::SpanId,
};

/// `SPAN_KIND_SERVER`.
const SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// The span is sampled, and it is known whether its parent is elsewhere.
const FLAGS: u32 = 0x101;
/// Its parent is elsewhere.
const REMOTE_PARENT: u32 = 0x200;
/// Bytes of a text that comes from the client.
const LONGEST: usize = 1024;

/// The span of a request; `None` if it isn't traced or hasn't ended.
pub fn write(context: &Context) -> Option<Vec<u8>> {
    let span = context.span.as_ref()?;
    let (outcome, end) = context.end?;
    let remote = if span.parent.is_some() {
        REMOTE_PARENT
    } else {
        0
    };
    let error = error(context, outcome);
    let status = match &error {
        Some(_) => json!({"code": ERROR, "message": why(context, outcome)}),
        None => json!({}),
    };
    let state = context.head.fields.get(Known::Tracestate);
    let told = json!({
        "traceId": String::from_utf8_lossy(&span.trace),
        "spanId": String::from_utf8_lossy(&span.id),
        "parentSpanId": span.parent.as_ref().map_or("".into(), |id: &SpanId| String::from_utf8_lossy(id)),
        "traceState": text(state.unwrap_or_default()),
        "flags": FLAGS | remote,
        "name": name(context),
        "kind": SERVER,
        "startTimeUnixNano": nanos(context, context.opened),
        "endTimeUnixNano": nanos(context, end),
        "attributes": attributes(context, outcome, error),
        "events": events(context, outcome, end),
        "status": status,
    });
    serde_json::to_vec(&told).ok()
}

/// Nanoseconds since the epoch, as a text: JSON's numbers don't hold them.
fn nanos(context: &Context, at: Tick) -> String {
    let opened = Duration::from_millis(context.opened_wall.0);
    (opened + at.since(context.opened)).as_nanos().to_string()
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes))
}

/// The method, if it is one that everybody knows: others would make as many names of spans as clients like.
fn known(method: &Method) -> Option<&str> {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ]
    .contains(method)
    .then(|| method.as_str())
}

fn name(context: &Context) -> String {
    let method = known(&context.method).unwrap_or("HTTP");
    match &context.resource {
        Some(resource) => format!("{method} {}", resource.path),
        None => method.to_owned(),
    }
}

/// What went wrong, in a word, for requests that failed by their own fault or the backend's. A client that asks for what
/// isn't there, or leaves, has made no error of the gateway's.
fn error(context: &Context, outcome: Outcome) -> Option<Cow<'static, str>> {
    let is_cut = !matches!(
        outcome,
        Outcome::Complete | Outcome::Refused | Outcome::ClientLeft
    );
    let status = context.status.filter(|status| *status >= 500);
    match (&context.fault, status) {
        (_, None) if !is_cut => None,
        (Some(fault), _) => Some(fault.reason.into()),
        (None, _) if is_cut => Some(outcome.as_str().into()),
        (None, status) => status.map(|status| status.to_string().into()),
    }
}

fn why(context: &Context, outcome: Outcome) -> String {
    let of_fault = context.fault.as_ref().map(|fault| &fault.detail);
    let said = of_fault.or(context.integration.error.as_ref());
    let said = said.map_or(outcome.as_str(), |said| said);
    text(said.as_bytes()).into_owned()
}

/// Attributes by their names; what isn't known is left out.
#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(&mut self, key: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        self.0
            .push(json!({"key": key, "value": {"stringValue": value}}));
    }

    fn number(&mut self, key: &str, value: u64) {
        let value = value.to_string();
        self.0
            .push(json!({"key": key, "value": {"intValue": value}}));
    }
}

fn attributes(context: &Context, outcome: Outcome, error: Option<Cow<'static, str>>) -> Value {
    let mut all = Attributes::default();
    of_request(&mut all, context);
    if let Some(status) = context.status {
        all.number("http.response.status_code", status.into());
    }
    if let Some(error) = error {
        all.text("error.type", error);
    }
    all.text("sluicegate.request_id", context.request_id.as_str());
    all.text("sluicegate.outcome", outcome.as_str());
    if let Some(side) = context.side() {
        all.text("sluicegate.side", side.as_str());
    }
    if let Some(fault) = &context.fault {
        all.text("sluicegate.reason", fault.reason);
    }
    if let Some(site) = &context.site {
        let title = Some(&site.api_name).filter(|title| !title.is_empty());
        all.text("sluicegate.api", title.unwrap_or(&site.api_id));
        all.text("sluicegate.stage", &site.stage);
    }
    if let Some(mode) = context.integration.transfer_mode {
        all.text("sluicegate.transfer_mode", mode);
    }
    all.number("sluicegate.bytes", context.transfer.bytes);
    all.number("sluicegate.chunks", context.transfer.chunks);
    all.0.into()
}

fn of_request(all: &mut Attributes, context: &Context) {
    let method = &context.head.method;
    all.text("http.request.method", known(method).unwrap_or("_OTHER"));
    if known(method).is_none() {
        let said = text(method.as_str().as_bytes());
        all.text("http.request.method_original", said);
    }
    if let Some(resource) = &context.resource {
        all.text("http.route", &resource.path);
    }
    all.text("url.scheme", context.peer.scheme());
    all.text("url.path", text(context.head.target.path().as_bytes()));
    let (host, port) = split_port(&context.head.authority);
    if !host.is_empty() {
        all.text("server.address", host);
    }
    if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
        all.number("server.port", port.into());
    }
    all.text("client.address", context.source_ip());
    all.text("network.peer.address", &context.peer.ip);
    let version = match context.head.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    all.text("network.protocol.version", version);
}

/// The milestones on the way.
fn events(context: &Context, outcome: Outcome, end: Tick) -> Value {
    let mut events = Vec::new();
    let mut event = |name: &str, at: Tick, attributes: Attributes| {
        let at = nanos(context, at);
        events.push(json!({"timeUnixNano": at, "name": name, "attributes": attributes.0}));
    };
    if let Some(at) = context.integration.all_headers {
        let mut status = Attributes::default();
        if let Some(said) = context.integration.status {
            status.number("sluicegate.integration.status", said.into());
        }
        event("all_headers", at, status);
    }
    if let Some(at) = context.transfer.first_content {
        event("first_content", at, Attributes::default());
    }
    let mut how = Attributes::default();
    how.text("sluicegate.outcome", outcome.as_str());
    event("end", end, how);
    events.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        telemetry::testing::context,
        types::{
            fault::{Fault, FaultKind},
            trace::{Asked, Span},
        },
    };

    fn ended(outcome: Outcome, status: Option<u16>) -> Context {
        let mut context = context("tracestate: a=1\r\n");
        let asked = Asked::of(&context.head.fields, &context.trace);
        context.span = Some(Box::new(Span::below(&asked)));
        context.status = status;
        let end = context.opened.after(Duration::from_micros(1500));
        context.end = Some((outcome, end));
        context
    }

    fn told(context: &Context) -> Value {
        serde_json::from_slice(&write(context).unwrap()).unwrap()
    }

    fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
        let all = span["attributes"].as_array().unwrap();
        let found = all.iter().find(|it| it["key"] == key)?;
        found["value"].as_object()?.values().next()
    }

    #[test]
    fn a_span_has_the_conventions_names_and_no_query() {
        let mut context = ended(Outcome::Complete, Some(200));
        context.opened_wall.0 = 1_795_342_507_123;
        let span = told(&context);
        assert_eq!((&span["name"], &span["kind"]), (&"GET".into(), &2.into()));
        assert_eq!(span["startTimeUnixNano"], "1795342507123000000");
        assert_eq!(span["endTimeUnixNano"], "1795342507124500000");
        assert_eq!(
            (&span["traceState"], &span["flags"]),
            (&"a=1".into(), &0x101.into())
        );
        for (key, value) in [
            ("http.request.method", "GET"),
            ("url.path", "/orders/7"),
            ("url.scheme", "http"),
            ("server.address", "api.example.com"),
            ("server.port", "8080"),
            ("client.address", "192.0.2.1"),
            ("network.protocol.version", "1.1"),
            ("http.response.status_code", "200"),
            ("sluicegate.outcome", "complete"),
        ] {
            assert_eq!(attribute(&span, key), Some(&value.into()), "{key}");
        }
        assert!(!span.to_string().contains("secret"));
    }

    #[test]
    fn only_what_the_gateway_or_its_backend_did_wrong_is_an_error() {
        let missing = || Fault::new(FaultKind::NoRoute, "no resource matches");
        let unreachable = || Fault::because(FaultKind::Unreachable, "refused", "nobody listens");
        for (outcome, status, fault, expected) in [
            (Outcome::Complete, Some(200), None, None),
            (Outcome::Complete, Some(404), None, None),
            (Outcome::Complete, Some(503), None, Some("503")),
            (Outcome::Refused, Some(403), Some(missing()), None),
            (Outcome::ClientLeft, Some(200), None, None),
            (Outcome::ClientLeft, None, None, None),
            (Outcome::Deadline, Some(200), None, Some("deadline")),
            (
                Outcome::IntegrationTruncated,
                Some(200),
                None,
                Some("integration_truncated"),
            ),
            (
                Outcome::IntegrationFailed,
                Some(504),
                Some(unreachable()),
                Some("refused"),
            ),
        ] {
            let mut context = ended(outcome, status);
            context.fault = fault;
            let span = told(&context);
            let kind = attribute(&span, "error.type").and_then(Value::as_str);
            assert_eq!(kind, expected, "{outcome:?} {status:?}");
            let code = span["status"]["code"].as_u64();
            assert_eq!(code, expected.map(|_| 2), "{outcome:?} {status:?}");
        }
    }

    #[test]
    fn a_method_of_the_clients_own_names_no_span() {
        let mut context = ended(Outcome::Refused, Some(403));
        let own = Method::from_bytes(b"BREW").unwrap();
        (context.method, context.head.method) = (own.clone(), own);
        let span = told(&context);
        assert_eq!(span["name"], "HTTP");
        assert_eq!(
            attribute(&span, "http.request.method").unwrap(),
            &Value::from("_OTHER")
        );
        assert_eq!(
            attribute(&span, "http.request.method_original").unwrap(),
            &Value::from("BREW")
        );
    }
}
