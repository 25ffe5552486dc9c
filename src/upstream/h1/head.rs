//! The head of a backend's answer (RFC 9112, sections 4 and 6.3), read strictly: what could be understood in two ways
//! is refused, because the client's parser might choose the other one.

use http::{Method, StatusCode};

use crate::{
    stream::framing::Framing,
    types::{
        fields::{FieldFault, Fields, line_end},
        known::Known,
    },
};

/// Bytes of a response head.
pub(super) const MOST_HEAD: usize = 64 * 1024;
/// Field lines of a response head.
const MOST_FIELDS: usize = 100;

/// Why a head can't be accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// Not `HTTP/1.x NNN reason`.
    #[error("its status line is malformed")]
    StatusLine,
    /// Not a status between 100 and 599.
    #[error("its status is outside 100 to 599")]
    Status,
    /// A malformed field block.
    #[error("its header has {0}")]
    Fields(#[from] FieldFault),
    /// Over the limit.
    #[error("its head is larger than {MOST_HEAD} bytes")]
    TooLarge,
    /// Both framings at once.
    #[error("it has both Content-Length and Transfer-Encoding")]
    TwoFramings,
    /// Several lengths, or not a number.
    #[error("its Content-Length is repeated or not a number")]
    Length,
    /// A coding other than a single `chunked`.
    #[error("its Transfer-Encoding is not exactly `chunked`")]
    Coding,
    /// 101 without having been asked to switch.
    #[error("it switches protocols without being asked")]
    Unasked,
}

/// A head and what it says about the body and the connection.
#[derive(Debug)]
pub struct Head {
    /// The status, 100 to 599.
    pub status: StatusCode,
    /// The fields.
    pub fields: Fields,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the backend keeps the connection.
    pub keeps_alive: bool,
}

/// Reads a head from the start of `input`, and how long it is; `None` while it is incomplete.
pub fn parse(input: &[u8], method: &Method) -> Result<Option<(Head, usize)>, HeadFault> {
    let Some(end) = line_end(input, 0)? else {
        return incomplete(input);
    };
    let (is_11, status) = status_line(input.get(..end).unwrap_or_default())?;
    let rest = input.get(end + 2..).unwrap_or_default();
    let Some((fields, length)) = Fields::parse(rest, MOST_FIELDS)? else {
        return incomplete(input);
    };
    if end + 2 + length > MOST_HEAD {
        return Err(HeadFault::TooLarge);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadFault::Unasked);
    }
    let framing = framing(&fields, is_11, status, method)?;
    let keeps_alive = !matches!(framing, Framing::UntilClose)
        && if is_11 {
            !fields.lists(Known::Connection, b"close")
        } else {
            fields.lists(Known::Connection, b"keep-alive")
        };
    Ok(Some((
        Head {
            status,
            fields,
            framing,
            keeps_alive,
        },
        end + 2 + length,
    )))
}

/// More may come, unless it is too much already or can't become HTTP any more.
fn incomplete<T>(input: &[u8]) -> Result<Option<T>, HeadFault> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    if !BEGINNING
        .iter()
        .zip(input)
        .all(|(expected, byte)| expected == byte)
    {
        return Err(HeadFault::StatusLine);
    }
    if input.len() > MOST_HEAD {
        Err(HeadFault::TooLarge)
    } else {
        Ok(None)
    }
}

fn status_line(line: &[u8]) -> Result<(bool, StatusCode), HeadFault> {
    let (version, rest) = line.split_at_checked(9).ok_or(HeadFault::StatusLine)?;
    let is_11 = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return Err(HeadFault::StatusLine),
    };
    let (code, reason) = rest.split_at_checked(3).ok_or(HeadFault::StatusLine)?;
    if !code.iter().all(u8::is_ascii_digit) || !(reason.is_empty() || reason.starts_with(b" ")) {
        return Err(HeadFault::StatusLine);
    }
    let status = StatusCode::from_bytes(code).map_err(|_| HeadFault::Status)?;
    if status.as_u16() < 600 {
        Ok((is_11, status))
    } else {
        Err(HeadFault::Status)
    }
}

fn framing(
    fields: &Fields,
    is_11: bool,
    status: StatusCode,
    method: &Method,
) -> Result<Framing, HeadFault> {
    let mut lengths = fields.all(Known::ContentLength);
    let length = lengths.next().map(content_length).transpose()?;
    if lengths.next().is_some() {
        return Err(HeadFault::Length);
    }
    let mut codings = fields.all(Known::TransferEncoding);
    let coding = codings.next();
    if let Some(coding) = coding {
        if length.is_some() {
            return Err(HeadFault::TwoFramings);
        }
        if !is_11 || codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadFault::Coding);
        }
    }
    let is_bodyless = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match (length, coding) {
        _ if is_bodyless => Framing::Length(0),
        (Some(length), _) => Framing::Length(length),
        (None, Some(_)) => Framing::chunked_response(),
        (None, None) => Framing::UntilClose,
    })
}

fn content_length(text: &[u8]) -> Result<u64, HeadFault> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(HeadFault::Length);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(HeadFault::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_get(head: &str) -> Result<Option<(Head, usize)>, HeadFault> {
        parse(head.as_bytes(), &Method::GET)
    }

    fn framing_of(head: &str) -> Framing {
        parse_get(head).unwrap().unwrap().0.framing
    }

    #[test]
    fn a_head_is_incomplete_at_every_cut() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n";
        for cut in 0..head.len() {
            assert!(parse_get(&head[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        assert_eq!(parse_get(head).unwrap().unwrap().1, head.len());
    }

    #[test]
    fn framing_follows_rfc_9112() {
        assert!(matches!(
            framing_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            Framing::Length(5)
        ));
        assert!(matches!(
            framing_of("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Framing::Chunked(_)
        ));
        assert!(matches!(
            framing_of("HTTP/1.0 200 OK\r\n\r\n"),
            Framing::UntilClose
        ));
        assert!(matches!(
            framing_of("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n"),
            Framing::Length(0)
        ));
        let head = parse(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            &Method::HEAD,
        )
        .unwrap()
        .unwrap()
        .0;
        assert!(matches!(head.framing, Framing::Length(0)) && head.keeps_alive);
    }

    #[test]
    fn contradictions_and_malformed_heads_are_refused() {
        for (head, fault) in [
            ("HTTP/2 200 OK\r\n\r\n", HeadFault::StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", HeadFault::StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", HeadFault::StatusLine),
            ("HTTP/1.1 20x OK\r\n\r\n", HeadFault::StatusLine),
            ("HTTP/1.1 999 OK\r\n\r\n", HeadFault::Status),
            ("HTTP/1.1 099 OK\r\n\r\n", HeadFault::Status),
            (
                "HTTP/1.1 200 OK\nA: b\n\n",
                HeadFault::Fields(FieldFault::Control),
            ),
            (
                "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
                HeadFault::Fields(FieldFault::Name),
            ),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
                HeadFault::Fields(FieldFault::Folded),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                HeadFault::TwoFramings,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                HeadFault::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
                HeadFault::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
                HeadFault::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                HeadFault::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                HeadFault::Coding,
            ),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                HeadFault::Coding,
            ),
            (
                "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
                HeadFault::Unasked,
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n", HeadFault::StatusLine),
            ("<html>no head at all", HeadFault::StatusLine),
        ] {
            assert_eq!(parse_get(head).err(), Some(fault), "{head:?}");
        }
    }

    #[test]
    fn an_endless_head_is_refused_by_size() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MOST_HEAD));
        assert_eq!(parse_get(&endless).err(), Some(HeadFault::TooLarge));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert_eq!(
            parse_get(&many).err(),
            Some(HeadFault::Fields(FieldFault::TooMany))
        );
    }
}
