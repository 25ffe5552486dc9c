//! A fault becomes a gateway response: the table's, or what the document made of it.

use std::sync::Arc;

use http::StatusCode;

use super::{
    reply::{Answer, Reply},
    snapshot::{Api, Snapshot},
};
use crate::{
    config::model::{GatewayResponse, GatewayResponses},
    integration::values,
    stream::clocks::Clocks,
    telemetry::record::Record,
    types::{
        context::Context,
        fault::{Fault, FaultKind, ResponseType, Row},
        fields::Fields,
        known::Known,
        template::{Escape, Template},
        variable::write_quoted,
    },
};

/// Answers a fault.
pub(super) fn reply(
    snapshot: &Snapshot,
    mut record: Record,
    fault: Fault,
    clocks: Arc<Clocks>,
) -> Reply {
    let kind = fault.kind;
    let row = kind.row();
    record.context_mut().fault = Some(fault);
    let context = record.context();
    let api = context.site.as_ref().and_then(|site| {
        snapshot
            .apis
            .iter()
            .find(|api| Arc::ptr_eq(&api.site, site))
    });
    let custom = api.and_then(|api| customised(api, kind, &row));
    let status = status(custom, &row);
    let mut fields = Fields::with_capacity(512);
    let body = body(custom, context, &row, &mut fields);
    fields.push_known(
        Known::XAmznErrorType,
        b"x-amzn-ErrorType",
        row.error_type.as_bytes(),
    );
    add_custom_fields(custom, context, &mut fields);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.push(b"Retry-After", b"1");
    }
    let mut reply = Reply::refused(
        record,
        Answer::whole(status, fields, body.into()),
        clocks,
        row.outcome,
    );
    reply.closes = closes(kind);
    reply
}

/// After these, the rest of the connection can't be trusted, or isn't wanted.
pub(super) fn closes(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::BadHead
            | FaultKind::UnknownCoding
            | FaultKind::TargetTooLong
            | FaultKind::HeadTooLarge
            | FaultKind::BadVersion
            | FaultKind::HeadTimeout
            | FaultKind::BodyTimeout
            | FaultKind::BadBody
            | FaultKind::BodyTooLarge
            | FaultKind::ClientLeft
            | FaultKind::BadExpectation
            | FaultKind::Overloaded
            | FaultKind::Drained
            | FaultKind::Terminated
            | FaultKind::Panicked
    )
}

/// The document's response for a fault: its type's own, or else its class's.
fn customised<'a>(api: &'a Api, kind: FaultKind, row: &Row) -> Option<(&'a GatewayResponse, bool)> {
    // Not customisable, as AWS documents.
    if kind == FaultKind::BodyTooLarge {
        return None;
    }
    let responses: &GatewayResponses = &api.gateway_responses;
    if let Some(own) = responses.get(row.response_type) {
        return Some((own, true));
    }
    let class = if row.status >= 500 {
        ResponseType::Default5xx
    } else {
        ResponseType::Default4xx
    };
    responses.get(class).map(|response| (response, false))
}

fn status(custom: Option<(&GatewayResponse, bool)>, row: &Row) -> StatusCode {
    let said = custom.and_then(|(response, _)| response.status);
    // Recorded on AWS: a customised INTEGRATION_FAILURE without a status answers 500, not its default 504.
    let default = match custom {
        Some((_, true)) if row.response_type == ResponseType::IntegrationFailure => 500,
        _ => row.status,
    };
    said.or_else(|| StatusCode::from_u16(default).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn body(
    custom: Option<(&GatewayResponse, bool)>,
    context: &Context,
    row: &Row,
    fields: &mut Fields,
) -> Vec<u8> {
    let templates = custom
        .map(|(response, _)| response.templates.as_slice())
        .unwrap_or_default();
    let mut body = Vec::new();
    match accepted(templates, context) {
        Some((content_type, template)) => {
            let escape = if content_type.contains("json") {
                Escape::Json
            } else {
                Escape::None
            };
            template.render(context, escape, &mut body);
            fields.push_known(Known::ContentType, b"Content-Type", content_type.as_bytes());
        }
        None => {
            default_body(row, &mut body);
            fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
        }
    }
    body
}

/// The template for what the client accepts, else the one for JSON, else the first.
fn accepted<'a>(
    templates: &'a [(Box<str>, Template)],
    context: &Context,
) -> Option<(&'a str, &'a Template)> {
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
        templates
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(kind))
    };
    let found = wanted
        .into_iter()
        .find_map(find)
        .or_else(|| find("application/json"))
        .or_else(|| templates.first());
    found.map(|(kind, template)| (&**kind, template))
}

/// AWS's own bodies: recorded with a space behind the colon for the internal server error, without one for the others.
fn default_body(row: &Row, body: &mut Vec<u8>) {
    let (before, message) = match row.message {
        "Internal server error" => ("{\"message\": ", row.message),
        message => ("{\"message\":", message),
    };
    body.extend_from_slice(before.as_bytes());
    if message.is_empty() {
        body.extend_from_slice(b"null");
    } else {
        write_quoted(body, message);
    }
    body.push(b'}');
}

fn add_custom_fields(
    custom: Option<(&GatewayResponse, bool)>,
    context: &Context,
    fields: &mut Fields,
) {
    for (name, source) in custom
        .map(|(response, _)| response.headers.as_slice())
        .unwrap_or_default()
    {
        let known = Known::of(name.as_bytes());
        // Framing and the connection are the gateway's own business.
        if known.is_hop_by_hop() || known == Known::ContentLength {
            continue;
        }
        for value in values::read(source, context, None) {
            if let Ok(value) = value.for_header() {
                fields.set(name.as_bytes(), &value);
            }
        }
    }
}
