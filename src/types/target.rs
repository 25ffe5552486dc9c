//! The request target and the authority: strict to read, raw to keep.
//!
//! The path is matched and forwarded un-decoded, as API Gateway does, so everything that could mean something else to
//! a backend than it meant to the router is refused here, once, for HTTP/1 and HTTP/2 alike.

use std::net::IpAddr;

use http::Method;

/// Why a target or a `Host` can't be accepted. All are answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Not `/path`, `http://host/path` or, with OPTIONS, `*`.
    #[error("the target is neither a path that begins with `/` nor an absolute URL")]
    Form,
    /// A control character, white space or a byte outside ASCII.
    #[error("the target has a character that must be percent-encoded")]
    Character,
    /// `#` and what follows belongs to the client.
    #[error("the target has a fragment")]
    Fragment,
    /// Some servers take `\` for `/`.
    #[error("the target has a backslash")]
    Backslash,
    /// `%` without two hexadecimal digits.
    #[error("the target has a `%` that isn't followed by two hexadecimal digits")]
    Escape,
    /// `%00` ends a string for some backends.
    #[error("the target has an encoded NUL")]
    Nul,
    /// `..` segments that leave the API's base path.
    #[error("the target's dot segments climb above the base path")]
    Climbs,
    /// A user name in the authority.
    #[error("the authority has user information")]
    UserInfo,
    /// Not a host name or an address with an optional port.
    #[error("`Host` is missing, repeated or invalid")]
    Host,
}

/// A path and an optional query, byte for byte as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: Box<str>,
    path: u32,
}

impl Target {
    /// A target for a request whose own couldn't be read.
    pub fn unreadable() -> Target {
        Target {
            text: "".into(),
            path: 0,
        }
    }

    /// Reads a request target, and the authority if it is in absolute form.
    pub fn parse<'a>(
        method: &Method,
        target: &'a [u8],
    ) -> Result<(Target, Option<&'a str>), TargetFault> {
        let text = checked_text(target)?;
        if text == "*" && *method == Method::OPTIONS {
            return Ok((Target::of(text), None));
        }
        if text.starts_with('/') {
            return Ok((Target::origin(text)?, None));
        }
        let after_scheme = strip_scheme(text).ok_or(TargetFault::Form)?;
        let path_at = after_scheme.find(['/', '?']).unwrap_or(after_scheme.len());
        let (authority, rest) = after_scheme
            .split_at_checked(path_at)
            .ok_or(TargetFault::Form)?;
        check_authority(authority)?;
        let target = if rest.starts_with('/') {
            Target::origin(rest)?
        } else {
            Target::origin(&format!("/{rest}"))?
        };
        Ok((target, Some(authority)))
    }

    fn origin(text: &str) -> Result<Target, TargetFault> {
        let target = Target::of(text);
        if climbs(target.path()) {
            Err(TargetFault::Climbs)
        } else {
            Ok(target)
        }
    }

    fn of(text: &str) -> Target {
        let end = text.bytes().position(|byte| byte == b'?');
        let path = end.unwrap_or(text.len());
        Target {
            text: text.into(),
            path: path as u32,
        }
    }

    /// Path and query as they were sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The raw path, without the query.
    pub fn path(&self) -> &str {
        self.text.get(..self.path as usize).unwrap_or_default()
    }

    /// The raw query without its `?`; `None` if there is no `?`.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path as usize + 1..)
    }
}

fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

fn checked_text(target: &[u8]) -> Result<&str, TargetFault> {
    let mut bytes = target.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match (bytes.next(), bytes.next()) {
                (Some(b'0'), Some(b'0')) => return Err(TargetFault::Nul),
                (Some(high), Some(low)) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
                _ => return Err(TargetFault::Escape),
            },
            b'\\' => return Err(TargetFault::Backslash),
            b'#' => return Err(TargetFault::Fragment),
            0x21..=0x7e => {}
            _ => return Err(TargetFault::Character),
        }
    }
    std::str::from_utf8(target).map_err(|_| TargetFault::Character)
}

/// Whether the dot segments of `path`, raw or encoded in any case, leave the place where it begins.
pub fn climbs(path: &str) -> bool {
    let mut depth = 0_i32;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match dots(segment) {
            Some(1) => {}
            Some(2) => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// How many dots a segment consists of, if of nothing else.
fn dots(segment: &str) -> Option<usize> {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = rest
            .strip_prefix('.')
            .or_else(|| rest.strip_prefix("%2e"))
            .or_else(|| rest.strip_prefix("%2E"))?;
        count += 1;
    }
    Some(count)
}

/// Checks a `Host` or `:authority`: a name or an address, and a port if any (RFC 3986, section 3.2). Of a name's
/// characters only those are taken that names have in practice: a `,` or `;` would divide it for some peers.
pub fn check_authority(authority: &str) -> Result<(), TargetFault> {
    if authority.bytes().any(|byte| byte == b'@') {
        return Err(TargetFault::UserInfo);
    }
    let (host, port) = split_port(authority);
    let port_ok = port
        .is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok_and(|_| is_digits(port)));
    let host_ok = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 255 && host.bytes().all(is_name_byte),
    };
    if port_ok && host_ok {
        Ok(())
    } else {
        Err(TargetFault::Host)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether an authority is an address or `localhost`: no name that somebody else could have pointed here.
pub fn is_direct(authority: &str) -> bool {
    let host = split_port(authority).0;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// An authority's host, brackets kept, and the text of its port.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    // Only an address in brackets has colons of its own. Bytes are searched: for so few this is faster than `rfind`.
    let last = authority
        .bytes()
        .rposition(|byte| matches!(byte, b':' | b']'));
    match last.filter(|at| authority.as_bytes().get(*at) == Some(&b':')) {
        Some(at) => (
            authority.get(..at).unwrap_or_default(),
            authority.get(at + 1..),
        ),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str) -> Result<(Target, Option<&str>), TargetFault> {
        Target::parse(&Method::GET, target.as_bytes())
    }

    #[test]
    fn path_and_query_are_kept_byte_for_byte() {
        let (target, authority) = parse("/a%2Fb//c;d=1?x=%7E&y=a+b?").unwrap();
        assert_eq!(
            (target.path(), target.query()),
            ("/a%2Fb//c;d=1", Some("x=%7E&y=a+b?"))
        );
        assert_eq!(authority, None);
        assert_eq!(parse("/").unwrap().0.query(), None);
        assert_eq!(parse("/?").unwrap().0.query(), Some(""));
    }

    #[test]
    fn absolute_form_gives_its_authority() {
        let (target, authority) = parse("HTTP://example.com:8080?x").unwrap();
        assert_eq!(
            (target.as_str(), authority),
            ("/?x", Some("example.com:8080"))
        );
        assert_eq!(
            parse("http://u:p@example.com/").err(),
            Some(TargetFault::UserInfo)
        );
        assert_eq!(parse("ftp://example.com/").err(), Some(TargetFault::Form));
    }

    #[test]
    fn ambiguous_targets_are_refused() {
        for (target, fault) in [
            ("x", TargetFault::Form),
            ("example.com:443", TargetFault::Form),
            ("*", TargetFault::Form),
            ("/a b", TargetFault::Character),
            ("/\u{7f}", TargetFault::Character),
            ("/\u{e9}", TargetFault::Character),
            ("/a#b", TargetFault::Fragment),
            ("/a\\b", TargetFault::Backslash),
            ("/%0", TargetFault::Escape),
            ("/%zz", TargetFault::Escape),
            ("/a%00", TargetFault::Nul),
            ("/..", TargetFault::Climbs),
            ("/a/%2e%2E/..", TargetFault::Climbs),
            ("/.%2e/a", TargetFault::Climbs),
        ] {
            assert_eq!(parse(target).err(), Some(fault), "{target:?}");
        }
        assert!(Target::parse(&Method::OPTIONS, b"*").is_ok());
    }

    #[test]
    fn dot_segments_that_stay_inside_pass_unchanged() {
        for target in [
            "/a/../b",
            "/a/./b",
            "/...",
            "/a..;/b",
            "/a/%2e%2e",
            "/a//..",
        ] {
            assert_eq!(parse(target).unwrap().0.as_str(), target);
        }
    }

    #[test]
    fn authorities_are_names_or_addresses_with_an_optional_port() {
        for good in [
            "a",
            "example.com:80",
            "[::1]:8080",
            "[::1]",
            "127.0.0.1",
            "a_b",
            "a:",
        ] {
            assert_eq!(check_authority(good), Ok(()), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a:+1", "a:99999", "a b", "[::1", "a/b", "[x]", "a\u{e9}",
        ] {
            assert_eq!(check_authority(bad), Err(TargetFault::Host), "{bad}");
        }
        assert_eq!(check_authority("u@a"), Err(TargetFault::UserInfo));
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some("80")));
    }
}
