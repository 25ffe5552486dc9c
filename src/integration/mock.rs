//! MOCK: the document itself is the answer, as people write it for CORS.
//!
//! The status is chosen by the `statusCode` that the request template (or the body, where no template applies and it is
//! passed through) names; the response whose pattern matches it answers, or `default`.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::values;
use crate::{
    config::model::{Mock, MockResponse, Passthrough},
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
        template::{Escape, Template},
    },
};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, `Content-Type` among them.
    pub fields: Fields,
    /// The body.
    pub body: Bytes,
}

/// Whether the request's body decides, because no template does.
pub fn needs_body(mock: &Mock, context: &Context) -> bool {
    matches!(template(mock, context), Ok(None))
}

/// Answers a request. `body` is the request's, if it was needed.
pub fn answer(mock: &Mock, context: &Context, body: &Bytes) -> Result<Answer, Fault> {
    let chosen = match template(mock, context)? {
        Some(template) => {
            let mut text = Vec::new();
            template.render(context, Escape::Json, &mut text);
            status_code(&text)
        }
        None => status_code(body),
    };
    let chosen = chosen.ok_or_else(|| {
        let detail = "the MOCK integration's request template doesn't give a JSON object with a `statusCode`";
        Fault::new(FaultKind::Misconfigured, detail)
    })?;
    let response = response(mock, &chosen).ok_or_else(|| {
        let detail = format!(
            "the MOCK integration has no response for the status {chosen}, and no `default`"
        );
        Fault::new(FaultKind::Misconfigured, detail)
    })?;
    build(response, context)
}

fn build(response: &MockResponse, context: &Context) -> Result<Answer, Fault> {
    let mut fields = Fields::default();
    let (content_type, template) = body_template(response, context);
    for (name, source) in &response.headers {
        for value in values::read(source, context, None) {
            fields.push(name.as_bytes(), &value.for_header()?);
        }
    }
    if !fields.has(Known::ContentType) {
        fields.push_known(Known::ContentType, b"Content-Type", content_type.as_bytes());
    }
    let mut body = Vec::new();
    let escape = if content_type.contains("json") {
        Escape::Json
    } else {
        Escape::None
    };
    template.inspect(|template| template.render(context, escape, &mut body));
    Ok(Answer {
        status: response.status,
        fields,
        body: body.into(),
    })
}

/// The request template for the request's content type; `Ok(None)` if the body is passed through.
fn template<'a>(mock: &'a Mock, context: &Context) -> Result<Option<&'a Template>, Fault> {
    let said = context
        .head
        .fields
        .get(Known::ContentType)
        .unwrap_or(b"application/json");
    let said = String::from_utf8_lossy(said);
    let content_type = said
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let templates = &mock.request_templates;
    if let Some((_, template)) = templates.iter().find(|(kind, _)| **kind == *content_type) {
        return Ok(Some(template));
    }
    let passes = match mock.passthrough {
        Passthrough::WhenNoMatch => true,
        Passthrough::WhenNoTemplates => templates.is_empty(),
        Passthrough::Never => false,
    };
    if passes {
        return Ok(None);
    }
    let detail = format!(
        "the MOCK integration has no request template for `{content_type}` and passes nothing through"
    );
    Err(Fault::new(FaultKind::UnsupportedMediaType, detail))
}

fn status_code(text: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(text).ok()?;
    match document.get("statusCode")? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn response<'a>(mock: &'a Mock, chosen: &str) -> Option<&'a MockResponse> {
    let matching = mock.responses.iter().find(|response| {
        response
            .pattern
            .as_ref()
            .is_some_and(|it| it.is_match(chosen))
    });
    matching.or_else(|| {
        mock.responses
            .iter()
            .find(|response| response.pattern.is_none())
    })
}

/// The body template for what the client accepts; `application/json` where it doesn't matter.
fn body_template<'a>(
    response: &'a MockResponse,
    context: &Context,
) -> (&'a str, Option<&'a Template>) {
    let accepts = context
        .head
        .fields
        .get(Known::Accept)
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let wanted = accepts
        .split(',')
        .filter_map(|range| range.split(';').next())
        .map(str::trim);
    let find = |kind: &str| {
        response
            .templates
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(kind))
    };
    let found = wanted
        .into_iter()
        .find_map(find)
        .or_else(|| find("application/json"))
        .or_else(|| response.templates.first());
    found.map_or(("application/json", None), |(kind, template)| {
        (&**kind, Some(template))
    })
}
