//! Values of mappings: read from the request, made safe for the place they go to.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use crate::{
    config::{mapping::Source, uri::Place},
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        fields::is_field_value,
        target::climbs,
        template::query_value,
    },
};

/// The longest mapped value.
const MOST_VALUE: usize = 10 * 1024;

/// What may not stand unescaped in a path segment.
const IN_SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b'\\')
    .add(b'%');
/// What may not stand unescaped in a query value.
const IN_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'&')
    .add(b'+')
    .add(b'=')
    .add(b'%')
    .add(b'\\');
/// As above, for text that is percent-encoded already.
const RAW_IN_SEGMENT: &AsciiSet = &RAW.add(b'#').add(b'?').add(b'/');
const RAW_IN_QUERY: &AsciiSet = &RAW.add(b'#').add(b'&');
const RAW: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');

/// A mapped value and whether it is percent-encoded already, as what comes from the target is.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    text: Cow<'a, str>,
    is_raw: bool,
}

/// The values of a source: none if it is absent, several for the multi-value sources.
pub fn read<'a>(
    source: &'a Source,
    context: &'a Context,
    body: Option<&'a Bytes>,
) -> SmallVec<[Mapped<'a>; 1]> {
    let raw = |text: &'a str| Mapped {
        text: text.into(),
        is_raw: true,
    };
    let decoded = |text: Cow<'a, str>| Mapped {
        text,
        is_raw: false,
    };
    let plain = |text: &'a [u8]| decoded(String::from_utf8_lossy(text));
    let query = context.head.target.query();
    match source {
        Source::Path(name) => context.path_parameter(name).map(raw).into_iter().collect(),
        Source::Query(name) => query_value(query, name).map(raw).into_iter().collect(),
        Source::MultiQuery(name) => {
            let pairs = query.unwrap_or_default().split(['&', ';']);
            let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs
                .filter(|(key, _)| *key == &**name)
                .map(|(_, value)| raw(value))
                .collect()
        }
        Source::Header(name) => context
            .head
            .fields
            .named(name.as_bytes())
            .last()
            .map(plain)
            .into_iter()
            .collect(),
        Source::MultiHeader(name) => context
            .head
            .fields
            .named(name.as_bytes())
            .map(plain)
            .collect(),
        Source::Body => body.map(|body| plain(body)).into_iter().collect(),
        Source::BodyPath(steps) => body
            .and_then(|body| in_body(body, steps))
            .map(|text| decoded(text.into()))
            .into_iter()
            .collect(),
        Source::Context(variable) => {
            let mut text = Vec::new();
            variable
                .write(context, &mut text)
                .then(|| decoded(String::from_utf8_lossy(&text).into_owned().into()))
                .into_iter()
                .collect()
        }
        // Static texts stand in the document encoded as they are to be sent.
        Source::Literal(text) => smallvec![raw(text)],
        Source::Absent => SmallVec::new(),
    }
}

fn in_body(body: &Bytes, steps: &[Box<str>]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let mut at = &document;
    for step in steps {
        at = match at {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => at.get(&**step)?,
        };
    }
    match at {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

impl<'a> Mapped<'a> {
    /// The value for a header: decoded, and without anything that could end the header.
    pub fn for_header(self) -> Result<Vec<u8>, Fault> {
        let value = if self.is_raw {
            percent_decode_str(&self.text).collect()
        } else {
            self.text.into_owned().into_bytes()
        };
        let value = value.trim_ascii().to_vec();
        if value.len() > MOST_VALUE {
            return Err(rejected("a mapped header would be longer than 10240 bytes"));
        }
        if is_field_value(&value) {
            Ok(value)
        } else {
            Err(rejected("a mapped header would have control characters"))
        }
    }

    /// The value for a place in a URI, encoded so that it stays in that place.
    pub fn for_uri(self, place: Place) -> Result<Cow<'a, str>, Fault> {
        if self.text.len() > MOST_VALUE {
            return Err(rejected("a mapped value would be longer than 10240 bytes"));
        }
        if self.text.contains('\0') {
            return Err(rejected("a mapped value has a NUL"));
        }
        if place != Place::Query && climbs(&self.text) {
            return Err(climbing());
        }
        if self.is_raw && !is_well_encoded(&self.text) {
            return Err(rejected(
                "a mapped value has a `%` that isn't followed by two hexadecimal digits",
            ));
        }
        let encoded = |set| utf8_percent_encode(&self.text, set).to_string();
        Ok(match (place, self.is_raw) {
            (Place::Path, true) => return Ok(self.text),
            (Place::Path, false) => {
                let segments = self
                    .text
                    .split('/')
                    .map(|segment| utf8_percent_encode(segment, IN_SEGMENT).to_string());
                segments.collect::<Vec<_>>().join("/")
            }
            (Place::Segment, true) => encoded(RAW_IN_SEGMENT),
            (Place::Segment, false) => encoded(IN_SEGMENT),
            (Place::Query, true) => encoded(RAW_IN_QUERY),
            (Place::Query, false) => encoded(IN_QUERY),
        }
        .into())
    }
}

fn is_well_encoded(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
}

/// Whether a value in a path, with what stands beside it, has dot segments that climb above its place. Only together
/// with its neighbours it may have become one.
pub fn climbs_between(path: &str, value: Range<usize>) -> bool {
    let before = path.get(..value.start).unwrap_or_default();
    let behind = path.get(value.end..).unwrap_or_default();
    let from = before.rfind('/').map_or(0, |slash| slash + 1);
    let to = value.end + behind.find('/').unwrap_or(behind.len());
    climbs(path.get(from..to).unwrap_or_default())
}

/// Refuses a value that climbs above its place.
pub fn climbing() -> Fault {
    rejected("a mapped value has dot segments that climb above its place in the URI")
}

fn rejected(detail: &'static str) -> Fault {
    Fault::new(FaultKind::BadParameter, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Mapped<'_> {
        Mapped {
            text: text.into(),
            is_raw: true,
        }
    }

    fn plain(text: &str) -> Mapped<'_> {
        Mapped {
            text: text.into(),
            is_raw: false,
        }
    }

    #[test]
    fn a_value_stays_in_its_place() {
        assert_eq!(raw("a%2Fb").for_uri(Place::Segment).unwrap(), "a%2Fb");
        assert_eq!(
            raw("a/b?c#d").for_uri(Place::Segment).unwrap(),
            "a%2Fb%3Fc%23d"
        );
        assert_eq!(raw("a//b/").for_uri(Place::Path).unwrap(), "a//b/");
        assert_eq!(raw("a&b=c").for_uri(Place::Query).unwrap(), "a%26b=c");
        assert_eq!(
            plain("50% of a/b").for_uri(Place::Segment).unwrap(),
            "50%25%20of%20a%2Fb"
        );
        assert_eq!(
            plain("a&b=c+d").for_uri(Place::Query).unwrap(),
            "a%26b%3Dc%2Bd"
        );
    }

    #[test]
    fn a_value_that_would_escape_is_refused() {
        for value in ["..", "%2e%2e", "a/../../b"] {
            assert_eq!(
                raw(value).for_uri(Place::Path).unwrap_err().kind,
                FaultKind::BadParameter,
                "{value}"
            );
        }
        assert!(raw("a/../b").for_uri(Place::Path).is_ok());
        assert_eq!(
            raw("x%0d%0aInjected: 1").for_header().unwrap_err().kind,
            FaultKind::BadParameter
        );
        assert_eq!(raw("J%20Doe").for_header().unwrap(), b"J Doe");
        assert!(plain(&"x".repeat(MOST_VALUE + 1)).for_header().is_err());
        assert!(raw("50%").for_uri(Place::Query).is_err());
        assert!(plain("a\0b").for_uri(Place::Query).is_err());
    }

    #[test]
    fn dots_dont_climb_together_with_their_neighbours() {
        for (path, value, climbs) in [
            ("/a/..", 3..4, true),
            ("/a/../b", 4..5, true),
            ("/a/.%2e/b", 3..4, true),
            ("/a/./b", 3..4, false),
            ("/../a/b", 6..7, false),
            ("/a/x/..", 3..6, false),
        ] {
            assert_eq!(climbs_between(path, value), climbs, "{path}");
        }
    }

    #[test]
    fn a_place_in_the_body_is_found() {
        let body = Bytes::from_static(b"{\"user\": {\"names\": [\"Ada\", 2]}}");
        let path = |steps: &[&str]| {
            steps
                .iter()
                .map(|step| Box::from(*step))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            in_body(&body, &path(&["user", "names", "0"])),
            Some("Ada".into())
        );
        assert_eq!(
            in_body(&body, &path(&["user", "names", "1"])),
            Some("2".into())
        );
        assert_eq!(in_body(&body, &path(&["user", "age"])), None);
        assert_eq!(
            in_body(&Bytes::from_static(b"not json"), &path(&["a"])),
            None
        );
    }
}
