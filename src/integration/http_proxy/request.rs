//! The request as the backend gets it.
//!
//! Which client headers pass follows AWS's table for HTTP_PROXY and what was recorded there. Three differences are
//! deliberate: `Via` is kept and extended, because loops are found by it; `Content-Encoding` is dropped only with a body
//! that isn't there, because bodies pass undecoded; `TE: trailers` passes, because trailers do.

use std::ops::Range;

use bytes::Bytes;
use http::Method;
use smallvec::SmallVec;

use super::Identity;
use crate::{
    config::{
        model::HttpProxy,
        uri::{Place, UriPart},
    },
    integration::values,
    stream::request_body::RequestBody,
    types::{
        context::Context,
        escape,
        fault::{Fault, FaultKind},
        fields::{Field, Fields},
        known::Known,
    },
    upstream::request::Outgoing,
};

/// The request to the backend. `whole` is the client's body, if a mapping needs it.
pub fn build(
    model: &HttpProxy,
    identity: &Identity,
    context: &Context,
    body: RequestBody,
    whole: Option<&Bytes>,
) -> Result<Outgoing, Fault> {
    let method = model
        .method
        .clone()
        .unwrap_or_else(|| context.method.clone());
    let target = target(model, context, whole)?;
    let fields = fields(model, identity, context, &body, whole)?;
    // A method that sends no content gets none, not even an empty one announced as chunks.
    let body = if body.is_empty() || method == Method::TRACE {
        RequestBody::empty()
    } else {
        body
    };
    Ok(Outgoing {
        method,
        target,
        fields,
        body,
    })
}

/// Path and query: the URI's own, the client's query as it came, and mapped parameters.
fn target(model: &HttpProxy, context: &Context, whole: Option<&Bytes>) -> Result<String, Fault> {
    let mut target = own_target(model, context, whole)?;
    if let Some(query) = context.head.target.query() {
        append_query(&mut target, query);
    }
    for (name, source) in &model.query {
        for value in values::read(source, context, whole) {
            append_query(
                &mut target,
                &format!("{name}={}", value.for_uri(Place::Query)?),
            );
        }
    }
    if target.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(target)
    } else {
        Err(Fault::new(
            FaultKind::Misconfigured,
            "the integration's URI has a character that can't be sent",
        ))
    }
}

/// The URI's own path and query.
fn own_target(
    model: &HttpProxy,
    context: &Context,
    whole: Option<&Bytes>,
) -> Result<String, Fault> {
    let mut target = String::with_capacity(128);
    let mut in_path = SmallVec::<[Range<usize>; 4]>::new();
    for part in &model.uri.parts {
        match part {
            UriPart::Literal(text) => target.push_str(text),
            UriPart::Value(source, place) => {
                if let Some(value) = values::read(source, context, whole).pop() {
                    let from = target.len();
                    target.push_str(&value.for_uri(*place)?);
                    if *place != Place::Query {
                        in_path.push(from..target.len());
                    }
                }
            }
        }
    }
    let path = target.split('?').next().unwrap_or_default();
    if in_path
        .into_iter()
        .any(|value| values::climbs_between(path, value))
    {
        return Err(values::climbing());
    }
    Ok(target)
}

fn append_query(target: &mut String, query: &str) {
    match target.find('?') {
        None => target.push('?'),
        Some(at) if at + 1 == target.len() || query.is_empty() => {}
        Some(_) => target.push('&'),
    }
    target.push_str(query);
}

fn fields(
    model: &HttpProxy,
    identity: &Identity,
    context: &Context,
    body: &RequestBody,
    whole: Option<&Bytes>,
) -> Result<Fields, Fault> {
    let said = &context.head.fields;
    let mut fields = Fields::with_capacity(said.wire().len() + 512);
    let mapped = |known: Known| {
        known != Known::Other && model.headers.iter().any(|mapping| mapping.known == known)
    };
    if !mapped(Known::Host) {
        fields.push_known(Known::Host, b"Host", model.uri.origin.authority.as_bytes());
    }
    for field in said.iter() {
        let is_mapped = model
            .headers
            .iter()
            .any(|mapping| field.name.eq_ignore_ascii_case(mapping.name.as_bytes()));
        if !is_mapped && passes(field, body, identity) {
            fields.push_field(field);
        }
    }
    for mapping in &model.headers {
        for value in values::read(&mapping.source, context, whole) {
            fields.push_known(mapping.known, mapping.name.as_bytes(), &value.for_header()?);
        }
    }
    add_own(&mut fields, identity, context, &mapped);
    Ok(fields)
}

/// Whether a client's header goes to the backend.
fn passes(field: Field<'_>, body: &RequestBody, identity: &Identity) -> bool {
    match field.known {
        Known::Other => {
            (identity.pass_underscores || !field.name.contains(&b'_'))
                && !field.resembles_framing()
        }
        // A signature is for API Gateway, not for the backend.
        Known::Authorization => !field.value.starts_with(b"AWS4-HMAC-SHA256"),
        Known::ContentEncoding => !body.is_empty(),
        Known::ContentLength
        | Known::ContentMd5
        | Known::Expect
        | Known::Host
        | Known::MaxForwards
        | Known::ProxyAuthenticate
        | Known::Server
        | Known::WwwAuthenticate
        | Known::XHttpMethodOverride
        // Set anew below.
        | Known::Via
        | Known::XForwardedFor
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XAmznTraceId
        | Known::XAmznApigateway => false,
        known => !known.is_hop_by_hop(),
    }
}

/// What the gateway says itself.
fn add_own(
    fields: &mut Fields,
    identity: &Identity,
    context: &Context,
    mapped: &impl Fn(Known) -> bool,
) {
    let said = &context.head.fields;
    let api_id = context.site.as_ref().map_or("", |site| &site.api_id);
    if !fields.has(Known::Accept) {
        fields.push_known(Known::Accept, b"Accept", b"application/json");
    }
    if !fields.has(Known::UserAgent) {
        fields.push_with(Known::UserAgent, b"User-Agent", |text| {
            text.extend_from_slice(b"AmazonAPIGateway_");
            text.extend_from_slice(api_id.as_bytes());
        });
    }
    if context.head.fields.lists(Known::Te, b"trailers") {
        fields.push_known(Known::Te, b"TE", b"trailers");
        fields.push_known(Known::Connection, b"Connection", b"TE");
    }
    if !mapped(Known::XForwardedFor) {
        fields.push_with(Known::XForwardedFor, b"X-Forwarded-For", |text| {
            join(said, Known::XForwardedFor, text);
            text.extend_from_slice(context.peer.ip.as_bytes());
        });
    }
    if !mapped(Known::XForwardedPort) {
        fields.push_with(Known::XForwardedPort, b"X-Forwarded-Port", |text| {
            escape::number(text, context.peer.local.port().into());
        });
    }
    if !mapped(Known::XForwardedProto) {
        fields.push_known(
            Known::XForwardedProto,
            b"X-Forwarded-Proto",
            context.peer.scheme().as_bytes(),
        );
    }
    fields.push_with(Known::Via, b"Via", |text| {
        join(said, Known::Via, text);
        let is_2 = context.head.version == http::Version::HTTP_2;
        text.extend_from_slice(if is_2 { b"2.0 " } else { b"1.1 " });
        text.extend_from_slice(identity.instance_id.as_bytes());
    });
    fields.push_known(Known::XAmznTraceId, b"X-Amzn-Trace-Id", &context.trace);
    fields.push_known(
        Known::XAmznApigateway,
        b"x-amzn-apigateway-api-id",
        api_id.as_bytes(),
    );
}

/// Appends the client's values of a list field, ready for one more.
fn join(said: &Fields, known: Known, text: &mut Vec<u8>) {
    for value in said.all(known) {
        text.extend_from_slice(value);
        text.extend_from_slice(b", ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_joined_without_losing_a_byte() {
        for (target, query, expected) in [
            ("/a", "x=1&y", "/a?x=1&y"),
            ("/a?own=1", "x=%7E;y", "/a?own=1&x=%7E;y"),
            ("/a?", "x", "/a?x"),
            ("/a", "", "/a?"),
            ("/a?own", "", "/a?own"),
        ] {
            let mut joined = target.to_owned();
            append_query(&mut joined, query);
            assert_eq!(joined, expected);
        }
    }
}
