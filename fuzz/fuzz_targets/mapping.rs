//! Mappings: what an expression reads from a request can't leave the place that it is put into.

#![no_main]

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use sluicegate::{
    config::{
        mapping::{Source, Target, parse_source, parse_target},
        uri::Place,
    },
    integration::values,
    types::{
        context::Context,
        fields::is_field_value,
        peer::{Peer, Serves},
        site::Resource,
        target::climbs,
    },
};
use sluicegate_fuzz::{fields_of, percent_decoded, request};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    expression: &'a str,
    target: &'a [u8],
    lines: &'a [u8],
    body: &'a [u8],
}

/// The expression that is read as `source`; `None` if there are several.
fn written(source: &Source) -> Option<String> {
    let (place, name) = match source {
        Source::Path(name) => ("path", name),
        Source::Query(name) => ("querystring", name),
        Source::MultiQuery(name) => ("multivaluequerystring", name),
        Source::Header(name) => ("header", name),
        Source::MultiHeader(name) => ("multivalueheader", name),
        Source::Body => return Some("method.request.body".to_owned()),
        Source::Literal(text) => return Some(format!("'{text}'")),
        _ => return None,
    };
    Some(format!("method.request.{place}.{name}"))
}

/// A request to `/{p}`, whose parameter is the path's first segment.
fn context(input: &Input<'_>) -> Box<Context> {
    let address = SocketAddr::from(([192, 0, 2, 1], 4000));
    let peer = Peer::new(address, address, None, Serves::Apis);
    let mut context = Context::open(
        Arc::new(peer),
        request(input.target, fields_of(input.lines)),
    );
    let path = context.head.target.path();
    let segment = path.split('/').nth(1).unwrap_or_default();
    let end = 1 + segment.len() as u32;
    if path.starts_with('/') {
        context.parameters.push(1..end);
    }
    context.resource = Some(Arc::new(Resource {
        parameters: vec!["p".into()],
        ..Resource::default()
    }));
    context
}

fn assert_placed(source: &Source, place: Place, context: &Context, body: &Bytes) {
    for value in values::read(source, context, Some(body)) {
        let Ok(text) = value.for_uri(place) else {
            continue;
        };
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
        let divides: &[char] = match place {
            Place::Segment => &['/', '?', '#', '\\', '"', '<', '>'],
            Place::Path => &['?', '#', '\\'],
            Place::Query => &['&', '#', '\\', '"', '<', '>'],
        };
        assert!(!text.contains(divides), "{text:?} in {place:?}");
        assert!(place == Place::Query || !climbs(&text), "{text:?}");
        for (at, _) in text.match_indices('%') {
            let digits = text.get(at + 1..at + 3).expect("an escape is whole");
            assert!(
                digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{text:?}"
            );
        }
        assert_kept(source, &text, context);
    }
}

/// A header's value is still what it was, however it was encoded.
fn assert_kept(source: &Source, text: &str, context: &Context) {
    if let Source::Header(name) = source {
        let value = context.head.fields.named(name.as_bytes()).last();
        let value = String::from_utf8_lossy(value.unwrap_or_default());
        assert_eq!(percent_decoded(text), value.as_bytes());
    }
}

fuzz_target!(|input: Input<'_>| {
    if let Some(target) = parse_target(input.expression) {
        let (place, name) = match &target {
            Target::Header(name) => ("header", name),
            Target::Query(name) => ("querystring", name),
            Target::Path(name) => ("path", name),
        };
        assert_eq!(
            input.expression,
            format!("integration.request.{place}.{name}")
        );
    }
    let Ok(source) = parse_source(input.expression, |name| Some(name.to_owned())) else {
        return;
    };
    let is_stage_variable = input.expression.starts_with("stageVariables.");
    if let Some(written) = written(&source).filter(|_| !is_stage_variable) {
        assert_eq!(written, input.expression);
    }
    let context = context(&input);
    let body = Bytes::copy_from_slice(input.body);
    for value in values::read(&source, &context, Some(&body)) {
        if let Ok(value) = value.for_header() {
            assert!(is_field_value(&value) && value.len() <= 10_240);
            assert_eq!(value.trim_ascii(), value);
        }
    }
    assert_placed(&source, Place::Segment, &context, &body);
    assert_placed(&source, Place::Query, &context, &body);
    // Only path parameters span segments.
    if matches!(source, Source::Path(_)) {
        assert_placed(&source, Place::Path, &context, &body);
    }
});
