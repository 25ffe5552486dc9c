//! Integration URIs: a fixed place to go, and a path and query with values of the request in them.

use super::{mapping::Source, model::Origin};
use crate::types::target::{check_authority, split_port};

/// A compiled URI.
#[derive(Clone, Debug)]
pub struct UriTemplate {
    /// Where requests go. Never chosen by the client.
    pub origin: Origin,
    /// Path and query.
    pub parts: Vec<UriPart>,
    /// The URI as written, with stage variables filled in.
    pub text: Box<str>,
}

/// A piece of a path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriPart {
    /// As it is.
    Literal(Box<str>),
    /// A value, encoded for its place.
    Value(Source, Place),
}

/// Where in a URI a value stands, and so what it may not contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In one path segment.
    Segment,
    /// In the path, over any number of segments.
    Path,
    /// In the query.
    Query,
}

/// Why a URI can't be used.
#[derive(Debug, PartialEq, Eq)]
pub enum UriFault {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// The authority isn't a host with an optional port.
    Authority(String),
    /// The client would choose the host.
    ClientHost(String),
    /// A placeholder that no mapping fills.
    Unmapped(String),
    /// A character that must be percent-encoded, or an unclosed brace.
    Character(char),
}

impl UriTemplate {
    /// Compiles `text`. `source` gives the mapping of a placeholder, `is_greedy` says whether a path parameter spans
    /// segments.
    pub fn compile(
        text: &str,
        source: impl Fn(&str) -> Option<Source>,
        is_greedy: impl Fn(&str) -> bool,
    ) -> Result<UriTemplate, UriFault> {
        let (scheme, rest) = text.split_once("://").ok_or(UriFault::Scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(UriFault::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let origin = origin(is_tls, &fill_authority(authority, &source)?)?;
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(UriTemplate {
            origin,
            parts: parts(&path, &source, &is_greedy)?,
            text: text.into(),
        })
    }

    /// Whether a URL names a place and nothing in it.
    pub fn is_bare(url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.find(['/', '?', '#'])
            .is_none_or(|at| rest.get(at..) == Some("/"))
    }

    /// Whether a value comes from the request body.
    pub fn needs_body(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, UriPart::Value(source, _) if source.is_body()))
    }

    /// Whether the URI has a query of its own.
    pub fn has_query(&self) -> bool {
        self.parts.iter().any(|part| match part {
            UriPart::Literal(text) => text.contains('?'),
            UriPart::Value(_, place) => *place == Place::Query,
        })
    }
}

/// Reads scheme, host and port of a URL without placeholders, such as a target's.
pub fn parse_origin(url: &str) -> Result<Origin, UriFault> {
    let template = UriTemplate::compile(url, |_| None, |_| false)?;
    Ok(template.origin)
}

fn origin(is_tls: bool, authority: &str) -> Result<Origin, UriFault> {
    let bad = || UriFault::Authority(authority.to_owned());
    check_authority(authority).map_err(|_| bad())?;
    let (host, port) = split_port(authority);
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => port.parse().map_err(|_| bad())?,
        None if is_tls => 443,
        None => 80,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Origin {
        is_tls,
        host: host.into(),
        port,
        authority: authority.into(),
    })
}

fn fill_authority(
    authority: &str,
    source: &impl Fn(&str) -> Option<Source>,
) -> Result<String, UriFault> {
    let mut filled = String::new();
    let mut rest = authority;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(UriFault::Character('{'))?;
        filled.push_str(before);
        match source(name) {
            Some(Source::Literal(text)) => filled.push_str(&text),
            Some(Source::Absent) => {}
            Some(_) => return Err(UriFault::ClientHost(name.to_owned())),
            None => return Err(UriFault::Unmapped(name.to_owned())),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn parts(
    text: &str,
    source: &impl Fn(&str) -> Option<Source>,
    is_greedy: &impl Fn(&str) -> bool,
) -> Result<Vec<UriPart>, UriFault> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut in_query = false;
    loop {
        let (literal, after) = rest
            .split_once('{')
            .map_or((rest, None), |(literal, after)| (literal, Some(after)));
        let bad = literal
            .chars()
            .find(|c| !c.is_ascii_graphic() || matches!(c, '}' | '\\' | '"' | '<' | '>'));
        if let Some(character) = bad {
            return Err(UriFault::Character(character));
        }
        if !literal.is_empty() {
            in_query |= literal.contains('?');
            parts.push(UriPart::Literal(literal.into()));
        }
        let Some(after) = after else { return Ok(parts) };
        let (name, after) = after.split_once('}').ok_or(UriFault::Character('{'))?;
        let source = source(name).ok_or_else(|| UriFault::Unmapped(name.to_owned()))?;
        let place = match &source {
            _ if in_query => Place::Query,
            Source::Path(parameter) if is_greedy(parameter) => Place::Path,
            _ => Place::Segment,
        };
        parts.push(UriPart::Value(source, place));
        rest = after;
    }
}

/// The name and the qualifier in a function's name, partial ARN or ARN: `name`, `name:alias`,
/// `123456789012:function:name`, `arn:aws:lambda:us-east-1:123456789012:function:name:alias`.
pub fn function_name(text: &str) -> (&str, Option<&str>) {
    let rest = match text.split_once(":function:") {
        Some((_, rest)) => rest,
        None => text.strip_prefix("function:").unwrap_or(text),
    };
    match rest.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier).filter(|text| !text.is_empty())),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<UriTemplate, UriFault> {
        let source = |name: &str| match name {
            "id" | "proxy" => Some(Source::Path(name.into())),
            "tenant" => Some(Source::Literal("acme".into())),
            _ => None,
        };
        UriTemplate::compile(text, source, |name| name == "proxy")
    }

    #[test]
    fn places_decide_how_values_are_encoded() {
        let uri = compile("https://example.com:8443/a/{id}/b/{proxy}?x={id}").unwrap();
        assert_eq!(
            (&*uri.origin.host, uri.origin.port, uri.origin.is_tls),
            ("example.com", 8443, true)
        );
        let id = Source::Path("id".into());
        let expected = [
            UriPart::Literal("/a/".into()),
            UriPart::Value(id.clone(), Place::Segment),
            UriPart::Literal("/b/".into()),
            UriPart::Value(Source::Path("proxy".into()), Place::Path),
            UriPart::Literal("?x=".into()),
            UriPart::Value(id, Place::Query),
        ];
        assert_eq!(uri.parts, expected);
    }

    #[test]
    fn defaults_and_addresses() {
        let uri = compile("http://[::1]").unwrap();
        assert_eq!(
            (&*uri.origin.host, uri.origin.port, &*uri.origin.authority),
            ("::1", 80, "[::1]")
        );
        assert_eq!(uri.parts, [UriPart::Literal("/".into())]);
        assert_eq!(
            compile("https://{tenant}.example.com/")
                .unwrap()
                .origin
                .host
                .as_ref(),
            "acme.example.com"
        );
        assert_eq!(
            compile("http://a?x=1").unwrap().parts,
            [UriPart::Literal("/?x=1".into())]
        );
    }

    #[test]
    fn unusable_uris_say_why() {
        assert_eq!(compile("ftp://a/").err(), Some(UriFault::Scheme));
        assert_eq!(compile("example.com/a").err(), Some(UriFault::Scheme));
        assert_eq!(
            compile("http:///a").err(),
            Some(UriFault::Authority(String::new()))
        );
        assert_eq!(
            compile("http://u@a/").err(),
            Some(UriFault::Authority("u@a".into()))
        );
        assert_eq!(
            compile("http://{id}.example.com/").err(),
            Some(UriFault::ClientHost("id".into()))
        );
        assert_eq!(
            compile("http://a/{other}").err(),
            Some(UriFault::Unmapped("other".into()))
        );
        assert_eq!(
            compile("http://a/b c").err(),
            Some(UriFault::Character(' '))
        );
        assert_eq!(
            compile("http://a/{id").err(),
            Some(UriFault::Character('{'))
        );
    }

    #[test]
    fn all_forms_of_a_name_lead_to_the_same_function() {
        for (text, expected) in [
            ("chat", ("chat", None)),
            ("chat:live", ("chat", Some("live"))),
            ("123456789012:function:chat", ("chat", None)),
            ("function:chat:1", ("chat", Some("1"))),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:chat",
                ("chat", None),
            ),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:chat:$LATEST",
                ("chat", Some("$LATEST")),
            ),
            ("chat:", ("chat", None)),
        ] {
            assert_eq!(function_name(text), expected, "{text}");
        }
    }
}
