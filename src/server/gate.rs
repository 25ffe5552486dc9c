//! The head gate: one request head, whole and strictly valid, or the reason why not (RFC 9112, sections 2 to 6).
//!
//! What two parsers could read in two ways is refused, never repaired: that is how requests are smuggled. The gate keeps
//! names as they were written, since Lambda's event shows them so.

use http::{Method, Version};

use crate::{
    stream::framing::Framing,
    types::{
        fault::{Fault, FaultKind},
        fields::{FieldFault, Fields, is_token, line_end},
        head::RequestHead,
        known::Known,
        target::{Target, TargetFault, check_authority},
    },
};

/// Sizes that a head may have.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of the request line.
    pub line: usize,
    /// Bytes of all field lines.
    pub fields: usize,
}

/// Field lines of a head.
pub const MOST_FIELDS: usize = 100;
/// Empty lines before a request line that are passed over.
const MOST_EMPTY_LINES: usize = 8;

/// A head that may pass.
#[derive(Debug)]
pub struct Judged {
    /// What it says.
    pub head: RequestHead,
    /// How its body ends; `None` if it has none.
    pub framing: Option<Framing>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client keeps the connection.
    pub keeps_alive: bool,
    /// How many bytes the head took.
    pub length: usize,
}

/// A head that may not.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub fault: Fault,
    /// What could be read of it.
    pub head: Box<RequestHead>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused {
            fault,
            head: Box::new(RequestHead::unreadable()),
        }
    }
}

fn bad(reason: &'static str, detail: impl Into<Box<str>>) -> Fault {
    Fault::because(FaultKind::BadHead, reason, detail)
}

/// Judges the head at the start of `bytes`; `None` while it is incomplete.
pub fn judge(bytes: &[u8], sizes: Sizes) -> Result<Option<Judged>, Refused> {
    let start = skip_empty_lines(bytes);
    let rest = bytes.get(start..).unwrap_or_default();
    let Some(end) = line_end(rest, 0).map_err(|_| control())? else {
        // The line's CR may have come already.
        return if rest.len() > sizes.line + 1 {
            Err(too_long(sizes).into())
        } else if begins_with_method(rest) {
            Ok(None)
        } else {
            Err(bad("bad_method", "the method isn't a token").into())
        };
    };
    if end > sizes.line {
        return Err(too_long(sizes).into());
    }
    let line = request_line(rest.get(..end).unwrap_or_default())?;
    let refused = |fault: Fault| Refused {
        fault,
        head: Box::new(line.head()),
    };
    let block = rest.get(end + 2..).unwrap_or_default();
    let parsed = Fields::parse(block, MOST_FIELDS).map_err(|fault| refused(field_fault(fault)))?;
    let size = parsed.as_ref().map_or(block.len(), |(_, length)| *length);
    if size > sizes.fields {
        return Err(refused(too_large(sizes)));
    }
    let Some((fields, length)) = parsed else {
        return Ok(None);
    };
    let facts = Facts::of(&line, &fields).map_err(refused)?;
    Ok(Some(Judged {
        head: RequestHead {
            method: line.method,
            target: line.target,
            authority: facts.authority,
            version: line.version,
            fields,
        },
        framing: facts.framing,
        expects_continue: facts.expects_continue,
        keeps_alive: facts.keeps_alive,
        length: start + end + 2 + length,
    }))
}

/// Whether the beginning of a line can still become a request line: noise isn't waited for.
fn begins_with_method(line: &[u8]) -> bool {
    let method = line.split(|byte| matches!(byte, b' ' | b'\r')).next();
    method.is_none_or(|method| is_token(method) || line.is_empty() || line == b"\r")
}

fn skip_empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < MOST_EMPTY_LINES * 2 && bytes.get(at..at + 2) == Some(b"\r\n") {
        at += 2;
    }
    at
}

fn control() -> Fault {
    bad(
        "control",
        "the request line has a control character or a bare line end",
    )
}

/// The fault of a header over its limits.
pub fn too_large(sizes: Sizes) -> Fault {
    let detail = format!(
        "the header is larger than {} bytes or {MOST_FIELDS} fields",
        sizes.fields
    );
    Fault::new(FaultKind::HeadTooLarge, detail)
}

/// The fault of a request line over its limit.
pub fn too_long(sizes: Sizes) -> Fault {
    Fault::new(
        FaultKind::TargetTooLong,
        format!("the request line is longer than {} bytes", sizes.line),
    )
}

fn field_fault(fault: FieldFault) -> Fault {
    let detail = format!("the header has {fault}");
    match fault {
        FieldFault::TooMany => Fault::new(FaultKind::HeadTooLarge, detail),
        FieldFault::Control => bad("control", detail),
        FieldFault::Folded => bad("folded", detail),
        FieldFault::Name => bad("bad_field", detail),
    }
}

/// A valid request line.
struct Line {
    method: Method,
    target: Target,
    /// The authority of a target in absolute form.
    authority: Option<Box<str>>,
    version: Version,
}

impl Line {
    fn head(&self) -> RequestHead {
        RequestHead {
            method: self.method.clone(),
            target: self.target.clone(),
            authority: self.authority.clone().unwrap_or_default(),
            version: self.version,
            fields: Fields::default(),
        }
    }
}

fn request_line(line: &[u8]) -> Result<Line, Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad(
            "bad_line",
            "the request line isn't `METHOD TARGET VERSION` with single spaces",
        ));
    };
    if !is_token(method) {
        return Err(bad("bad_method", "the method isn't a token"));
    }
    let version = version_of(version)?;
    let method =
        Method::from_bytes(method).map_err(|_| bad("bad_method", "the method isn't a token"))?;
    if method == Method::CONNECT {
        return Err(bad("bad_method", "CONNECT isn't served"));
    }
    let (target, authority) =
        Target::parse(&method, target).map_err(|fault| target_fault(&fault))?;
    Ok(Line {
        method,
        target,
        authority: authority.map(Into::into),
        version,
    })
}

fn version_of(text: &[u8]) -> Result<Version, Fault> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Fault::new(
                FaultKind::BadVersion,
                if text == b"HTTP/2.0" {
                    "this listener takes HTTP/2 only over TLS (without TLS it needs `h2c: true`)"
                } else {
                    "the protocol version is neither HTTP/1.1 nor HTTP/1.0"
                },
            ))
        }
        _ => Err(bad(
            "bad_line",
            "the request line doesn't end with a protocol version",
        )),
    }
}

/// The fault of a target or an authority.
pub fn target_fault(fault: &TargetFault) -> Fault {
    let reason = match fault {
        TargetFault::Host | TargetFault::UserInfo => "bad_host",
        TargetFault::Climbs => "climbs",
        _ => "bad_target",
    };
    bad(reason, fault.to_string())
}

/// What a head's fields say to the gateway itself.
struct Facts {
    authority: Box<str>,
    framing: Option<Framing>,
    expects_continue: bool,
    keeps_alive: bool,
}

impl Facts {
    fn of(line: &Line, fields: &Fields) -> Result<Facts, Fault> {
        let is_11 = line.version == Version::HTTP_11;
        let framing = framing(fields, is_11)?;
        let host = host(fields, is_11)?;
        let authority = line.authority.clone().unwrap_or_else(|| host.into());
        let expects_continue = expects_continue(fields)? && is_11 && framing.is_some();
        // Peers disagree about bodies of GET and HEAD, and about names that only look like the framing's: nothing may
        // follow.
        let is_doubtful = matches!(line.method, Method::GET | Method::HEAD) && framing.is_some()
            || fields.iter().any(|field| field.resembles_framing());
        let keeps_alive = !is_doubtful
            && if is_11 {
                !fields.lists(Known::Connection, b"close")
            } else {
                fields.lists(Known::Connection, b"keep-alive")
                    && !fields.lists(Known::Connection, b"close")
            };
        Ok(Facts {
            authority,
            framing,
            expects_continue,
            keeps_alive,
        })
    }
}

fn host(fields: &Fields, is_required: bool) -> Result<&str, Fault> {
    let mut hosts = fields.all(Known::Host);
    let host = hosts.next();
    if hosts.next().is_some() || (is_required && host.is_none()) {
        return Err(target_fault(&TargetFault::Host));
    }
    let Some(host) = host else { return Ok("") };
    let host = std::str::from_utf8(host).map_err(|_| target_fault(&TargetFault::Host))?;
    check_authority(host).map_err(|fault| target_fault(&fault))?;
    Ok(host)
}

fn framing(fields: &Fields, is_11: bool) -> Result<Option<Framing>, Fault> {
    let mut codings = fields.all(Known::TransferEncoding);
    let coding = codings.next();
    let mut lengths = fields.all(Known::ContentLength);
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(bad(
            "duplicate_length",
            "there is more than one Content-Length",
        ));
    }
    if let Some(coding) = coding {
        if length.is_some() {
            return Err(bad(
                "te_cl",
                "there are both Transfer-Encoding and Content-Length",
            ));
        }
        if codings.next().is_some() {
            return Err(bad(
                "bad_coding",
                "there is more than one Transfer-Encoding",
            ));
        }
        if !is_11 {
            return Err(bad("te_http10", "HTTP/1.0 has no Transfer-Encoding"));
        }
        return check_coding(coding).map(Some);
    }
    match length.map(content_length).transpose()? {
        None | Some(0) => Ok(None),
        Some(length) => Ok(Some(Framing::Length(length))),
    }
}

fn check_coding(coding: &[u8]) -> Result<Framing, Fault> {
    // What is a coding at all. None but `chunked` is understood, but only alone they are refused as such: in a list, it is the
    // framing that is in doubt.
    const KNOWN: [&[u8]; 7] = [
        b"chunked",
        b"gzip",
        b"x-gzip",
        b"deflate",
        b"compress",
        b"x-compress",
        b"identity",
    ];
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::chunked());
    }
    let mut members = coding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_unknown = |member: &[u8]| {
        is_token(member) && !KNOWN.iter().any(|known| member.eq_ignore_ascii_case(known))
    };
    let is_one = is_token(coding) && !coding.eq_ignore_ascii_case(b"identity");
    if is_one || members.any(is_unknown) {
        return Err(Fault::new(
            FaultKind::UnknownCoding,
            "the Transfer-Encoding isn't understood",
        ));
    }
    Err(bad(
        "bad_coding",
        "the Transfer-Encoding is not exactly `chunked`",
    ))
}

fn content_length(text: &[u8]) -> Result<u64, Fault> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse::<i64>().ok());
    let number =
        number.ok_or_else(|| bad("bad_length", "the Content-Length isn't a number below 2^63"))?;
    Ok(number.unsigned_abs())
}

/// Whether `100 Continue` is awaited; any other expectation can't be met.
pub fn expects_continue(fields: &Fields) -> Result<bool, Fault> {
    let mut expectations = fields.all(Known::Expect).peekable();
    let expects = expectations.peek().is_some();
    if expectations.all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(expects);
    }
    Err(Fault::new(
        FaultKind::BadExpectation,
        "the only expectation that can be met is `100-continue`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        line: 8192,
        fields: 10_240,
    };

    fn judge_text(text: &str) -> Result<Option<Judged>, Refused> {
        judge(text.as_bytes(), SIZES)
    }

    fn refusal(text: &str) -> (u16, &'static str) {
        let fault = judge_text(text).expect_err(text).fault;
        (fault.kind.row().status, fault.reason)
    }

    #[test]
    fn a_head_is_incomplete_at_every_cut() {
        let text = "\r\nPOST /a?b HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello";
        let end = text.len() - 5;
        for cut in 0..end {
            assert!(judge_text(&text[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        let judged = judge_text(text).unwrap().unwrap();
        assert_eq!(judged.length, end);
        assert!(matches!(judged.framing, Some(Framing::Length(5))));
        assert_eq!(
            (&*judged.head.authority, judged.keeps_alive),
            ("example.com", true)
        );
    }

    /// Items 1 to 9 of the acceptance list: framing.
    #[test]
    fn ambiguous_framing_is_refused() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        for (fields, expected) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked",
                (400, "te_cl"),
            ),
            (
                "Content-Length: 5\r\nContent-Length: 6",
                (400, "duplicate_length"),
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5",
                (400, "duplicate_length"),
            ),
            ("Content-Length: 5, 5", (400, "bad_length")),
            ("Content-Length: +5", (400, "bad_length")),
            ("Content-Length: 0x5", (400, "bad_length")),
            ("Content-Length: 5_0", (400, "bad_length")),
            ("Content-Length:", (400, "bad_length")),
            ("Content-Length: 9223372036854775808", (400, "bad_length")),
            ("Content-Length: \u{a0}5", (400, "bad_length")),
            ("Content-Length: 5\x0b", (400, "control")),
            ("Transfer-Encoding: xchunked", (501, "unknown_coding")),
            ("Transfer-Encoding: gzip", (501, "unknown_coding")),
            ("Transfer-Encoding: gzip, chunked", (400, "bad_coding")),
            ("Transfer-Encoding: chunked, chunked", (400, "bad_coding")),
            ("Transfer-Encoding: identity", (400, "bad_coding")),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                (400, "bad_coding"),
            ),
        ] {
            assert_eq!(refusal(&post(fields)), expected, "{fields:?}");
        }
        let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refusal(old), (400, "te_http10"));
        assert!(judge_text(&post("Transfer-Encoding: CHUNKED")).is_ok());
    }

    /// Items 10 to 27: syntax of the head.
    #[test]
    fn malformed_heads_are_refused() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", (400, "bad_field")),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
                (400, "folded"),
            ),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", (400, "control")),
            ("GET / HTTP/1.1\nHost: a\n\n", (400, "control")),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", (400, "control")),
            ("GET / HTTP/1.1\r\n\r\n", (400, "bad_host")),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                (400, "bad_host"),
            ),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", (400, "bad_host")),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", (505, "bad_version")),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", (505, "bad_version")),
            ("PRI * HTTP/2.0\r\n\r\n", (505, "bad_version")),
            ("GET /\r\n\r\n", (400, "bad_line")),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", (400, "bad_line")),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_line")),
            ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_line")),
            ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_method")),
            (
                "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
                (400, "bad_method"),
            ),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", (400, "bad_target")),
            ("GET /../a HTTP/1.1\r\nHost: a\r\n\r\n", (400, "climbs")),
            (
                "GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
                (400, "bad_host"),
            ),
            ("\x16\x03\x01\x02", (400, "control")),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
                (417, "bad_expectation"),
            ),
        ] {
            assert_eq!(refusal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_bounded_before_the_head_is_complete() {
        let long_line = format!("GET /{}", "a".repeat(8200));
        assert_eq!(refusal(&long_line).0, 414);
        let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(10_240));
        assert_eq!(refusal(&long_field).0, 431);
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "a: b\r\n".repeat(100)
        );
        assert_eq!(refusal(&many).0, 431);
        let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(99));
        assert!(judge_text(&most).unwrap().is_some());
    }

    #[test]
    fn a_line_of_the_greatest_length_passes_however_it_arrives() {
        let target = "x".repeat(SIZES.line - "GET / HTTP/1.1".len());
        let text = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n");
        for cut in SIZES.line..text.len() {
            assert!(judge_text(&text[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        assert!(judge_text(&text).unwrap().is_some());
        let longer = format!("GET /x{target} HTTP/1.1\r\n");
        assert_eq!(refusal(&longer).0, 414);
    }

    #[test]
    fn absolute_form_replaces_the_host_and_old_clients_need_none() {
        let judged = judge_text("GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(
            (&*judged.head.authority, judged.head.target.as_str()),
            ("b:81", "/x")
        );
        let judged = judge_text("GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!((&*judged.head.authority, judged.keeps_alive), ("", false));
        assert!(
            judge_text("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                .unwrap()
                .unwrap()
                .keeps_alive
        );
    }

    #[test]
    fn a_refused_head_still_says_what_was_asked() {
        let refused = judge_text("GET /secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap_err();
        assert_eq!(refused.head.target.as_str(), "/secret");
    }
}
