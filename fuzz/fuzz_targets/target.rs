//! Request targets and authorities: what passes is unambiguous, is kept byte for byte, and stays below the root.

#![no_main]

use http::{Method, uri::PathAndQuery};
use libfuzzer_sys::fuzz_target;
use sluicegate::types::target::{Target, check_authority, climbs, is_direct, split_port};

/// Where a server ends that decodes dots and resolves them; `None` if that is above the root.
fn resolve(path: &str) -> Option<Vec<String>> {
    let mut places = Vec::new();
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    for segment in segments {
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => drop(places.pop()?),
            other => places.push(other.to_owned()),
        }
    }
    Some(places)
}

fn assert_unambiguous(target: &Target) {
    let text = target.as_str();
    let is_plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'\\');
    assert!(text.bytes().all(is_plain), "{text:?}");
    let query = target
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    assert_eq!(text, format!("{}{query}", target.path()));
    assert!(!target.path().contains('?'));
    assert!(!text.contains("%00"));
    for (at, _) in text.match_indices('%') {
        let digits = text.get(at + 1..at + 3).expect("an escape is whole");
        assert!(u8::from_str_radix(digits, 16).is_ok(), "{text:?}");
    }
    if text == "*" {
        return;
    }
    assert!(text.starts_with('/'));
    assert!(resolve(target.path()).is_some(), "{text:?} climbs");
    if let Ok(other) = text.parse::<PathAndQuery>() {
        assert_eq!(
            (other.path(), other.query()),
            (target.path(), target.query())
        );
    }
}

fn assert_authority(authority: &str) {
    let (host, port) = split_port(authority);
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    assert_eq!(authority, format!("{host}{port}"));
    is_direct(authority);
    if check_authority(authority).is_ok() {
        assert!(!authority.contains(['@', '/', '?', '#', '\\', ' ', ',', ';', '%']));
        assert!(!host.is_empty());
        let other: http::uri::Authority = authority.parse().expect("it is an authority");
        assert_eq!(other.host(), host);
    }
}

fuzz_target!(|data: &[u8]| {
    for method in [Method::GET, Method::OPTIONS] {
        let Ok((target, authority)) = Target::parse(&method, data) else {
            continue;
        };
        assert_unambiguous(&target);
        if let Some(authority) = authority {
            assert_eq!(check_authority(authority), Ok(()));
        }
        let (again, none) = Target::parse(&method, target.as_str().as_bytes()).expect("as before");
        assert_eq!((&again, none), (&target, None));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(climbs(text), resolve(text).is_none(), "{text:?}");
        assert_authority(text);
    }
});
