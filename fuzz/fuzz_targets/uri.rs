//! The URI of an integration: its host is the document's alone, and every value has a place of its own.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::{
    config::{
        mapping::Source,
        uri::{Place, UriPart, UriTemplate, function_name, parse_origin},
    },
    types::{target::check_authority, variable::Variable},
};

/// Placeholders are told apart by how they begin.
fn source(name: &str) -> Option<Source> {
    match name.bytes().next()? {
        b'p' | b'g' => Some(Source::Path(name.into())),
        b'q' => Some(Source::Query(name.into())),
        b'c' => Some(Source::Context(Variable::RequestId)),
        b'l' => Some(Source::Literal(name.into())),
        b'a' => Some(Source::Absent),
        _ => None,
    }
}

fn is_greedy(name: &str) -> bool {
    name.starts_with('g')
}

fn assert_origin(template: &UriTemplate) {
    let origin = &template.origin;
    assert_eq!(check_authority(&origin.authority), Ok(()));
    assert!(!origin.host.is_empty());
    let scheme = if origin.is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", origin.authority);
    assert!(UriTemplate::is_bare(&url));
    assert_eq!(parse_origin(&url).as_ref(), Ok(origin));
}

fn assert_parts(parts: &[UriPart]) {
    let Some(UriPart::Literal(first)) = parts.first() else {
        panic!("it begins with a slash");
    };
    assert!(first.starts_with('/'));
    let mut in_query = false;
    for part in parts {
        match part {
            UriPart::Literal(text) => {
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                assert!(!text.contains(['{', '}', '#', '\\', '"', '<', '>']));
                in_query |= text.contains('?');
            }
            UriPart::Value(_, Place::Query) => assert!(in_query),
            UriPart::Value(Source::Path(name), Place::Path) => {
                assert!(!in_query && is_greedy(name));
            }
            UriPart::Value(_, place) => assert!(!in_query && *place == Place::Segment),
        }
    }
}

fuzz_target!(|text: &str| {
    if let Ok(template) = UriTemplate::compile(text, source, is_greedy) {
        assert_origin(&template);
        assert_parts(&template.parts);
        assert_eq!(&*template.text, text);
        let is_query = |part: &UriPart| match part {
            UriPart::Literal(text) => text.contains('?'),
            UriPart::Value(_, place) => *place == Place::Query,
        };
        assert_eq!(template.has_query(), template.parts.iter().any(is_query));
    }
    let (name, qualifier) = function_name(text);
    let written = qualifier.map_or(name.to_owned(), |qualifier| format!("{name}:{qualifier}"));
    let mut ends = [Some(text), text.strip_suffix(':')].into_iter().flatten();
    assert!(ends.any(|text| text.ends_with(&written)));
    assert!(!name.contains(':'));
});
