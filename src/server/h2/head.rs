//! The head of an HTTP/2 request, judged as an HTTP/1.1 head is: what may not pass there may not pass here.

use http::{HeaderMap, HeaderValue, Method, Version, header, request::Parts};

use crate::{
    server::gate::{MOST_FIELDS, Sizes, expects_continue, target_fault, too_large, too_long},
    stream::request_body::fields_of,
    types::{
        fault::{Fault, FaultKind},
        fields::Fields,
        head::RequestHead,
        target::{Target, TargetFault, check_authority},
    },
};

/// The head as the pipeline wants it, and the body's length. HTTP/2 has its own ways to be ambiguous; all end here.
pub(super) fn read(
    parts: &Parts,
    sizes: Sizes,
) -> Result<(RequestHead, Option<u64>), (Fault, Box<RequestHead>)> {
    let target = parts
        .uri
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str);
    let mut head = RequestHead::unreadable();
    head.method = parts.method.clone();
    head.version = Version::HTTP_2;
    let fail = |fault: Fault, head: &RequestHead| (fault, Box::new(head.clone()));
    match Target::parse(&parts.method, target.as_bytes()) {
        Ok((target, None)) => head.target = target,
        Ok(_) => return Err(fail(target_fault(&TargetFault::Form), &head)),
        Err(fault) => return Err(fail(target_fault(&fault), &head)),
    }
    if parts.method == Method::CONNECT {
        let fault = Fault::because(FaultKind::BadHead, "bad_method", "CONNECT isn't served");
        return Err(fail(fault, &head));
    }
    check_sizes(parts, target, sizes).map_err(|fault| fail(fault, &head))?;
    head.authority = authority(parts).map_err(|fault| fail(target_fault(&fault), &head))?;
    head.fields = fields(&parts.headers);
    expects_continue(&head.fields).map_err(|fault| fail(fault, &head))?;
    let length = length(&parts.headers).map_err(|fault| fail(fault, &head))?;
    Ok((head, length))
}

/// The limits of an HTTP/1.1 head, as if this one had been written as one.
fn check_sizes(parts: &Parts, target: &str, sizes: Sizes) -> Result<(), Fault> {
    let line = parts.method.as_str().len() + target.len() + " HTTP/1.1 ".len();
    let fields: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if line > sizes.line {
        Err(too_long(sizes))
    } else if fields > sizes.fields || parts.headers.len() > MOST_FIELDS {
        Err(too_large(sizes))
    } else {
        Ok(())
    }
}

/// The one `content-length`, if there is one. h2 has held it against the body already, but takes repeated ones.
fn length(map: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut said = map.get_all(header::CONTENT_LENGTH).iter();
    let length = said
        .next()
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if said.next().is_none() {
        return Ok(length);
    }
    Err(Fault::because(
        FaultKind::BadHead,
        "duplicate_length",
        "there is more than one Content-Length",
    ))
}

/// `:authority`, with which a `Host` must agree.
fn authority(parts: &Parts) -> Result<Box<str>, TargetFault> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts
        .next()
        .map(|host| host.to_str().map_err(|_| TargetFault::Host))
        .transpose()?;
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let agree = authority
        .zip(host)
        .is_none_or(|(authority, host)| authority.eq_ignore_ascii_case(host));
    let said = authority
        .or(host)
        .filter(|_| agree && hosts.next().is_none())
        .ok_or(TargetFault::Host)?;
    check_authority(said)?;
    Ok(said.into())
}

/// Fields, with the cookie crumbs that HTTP/2 clients make put together again (RFC 9113, section 8.2.3).
fn fields(map: &HeaderMap) -> Fields {
    let mut fields = fields_of(map);
    if map.get_all(header::COOKIE).iter().count() > 1 {
        let crumbs: Vec<&[u8]> = map
            .get_all(header::COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        fields.set(b"cookie", &crumbs.join(&b"; "[..]));
    }
    fields
}
