//! Answers of the operator's address.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

/// What can be asked here.
pub(super) const CALLS: &str = "\
GET    /healthz                 whether the process lives
GET    /readyz                  whether it takes requests; details as JSON with `Accept: application/json`
GET    /metrics                 metrics for Prometheus
GET    /config                  the configuration that is being served, without secrets
GET    /routes                  all routes
GET    /routes?method=&path=    which route answers a request, and why (&host= if that matters)
GET    /streams                 what is under way
DELETE /streams/ID              end it
GET    /log-level               what the log tells
PUT    /log-level               change that
POST   /reload                  load the configuration anew
POST   /drain                   shut down in good order
";

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    allow: Option<&'static str>,
    body: Cow<'static, str>,
}

impl Answer {
    pub(super) fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Cow<'static, str>>,
    ) -> Answer {
        Answer {
            status,
            content_type,
            allow: None,
            body: body.into(),
        }
    }

    pub(super) fn text(status: StatusCode, body: impl Into<Cow<'static, str>>) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", body)
    }

    /// JSON, laid out for people.
    pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
        let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
        text.push('\n');
        Answer::new(status, "application/json", text)
    }

    pub(super) fn not_allowed(allow: &'static str) -> Answer {
        let body = format!("only {allow}\n");
        Answer {
            allow: Some(allow),
            ..Answer::text(StatusCode::METHOD_NOT_ALLOWED, body)
        }
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let body = match answer.body {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
        say(header::CONTENT_TYPE, answer.content_type);
        say(header::CACHE_CONTROL, "no-store");
        say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if let Some(allow) = answer.allow {
            say(header::ALLOW, allow);
        }
        response
    }
}
