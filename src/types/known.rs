//! The header field names that the gateway treats specially, recognised once when a field is parsed.

/// A field name the gateway has a rule for; everything else is [`Known::Other`] and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the field name it stands for")]
pub enum Known {
    Other,
    Accept,
    AcceptEncoding,
    Authorization,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentMd5,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    MaxForwards,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Server,
    SetCookie,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    WwwAuthenticate,
    XAmzApigwId,
    XAmznErrorType,
    XAmznRequestId,
    XAmznTraceId,
    XApiKey,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XHttpMethodOverride,
    /// Any name that begins with `x-amzn-apigateway-`: only the gateway sets these.
    XAmznApigateway,
}

const GATEWAY_PREFIX: &[u8] = b"x-amzn-apigateway-";

impl Known {
    /// Which known name this is, whatever its case.
    pub fn of(name: &[u8]) -> Known {
        Self::with_length(name.len())
            .iter()
            .find(|(text, _)| is_same(name, text.as_bytes()))
            .map_or_else(|| Self::by_prefix(name), |(_, known)| *known)
    }

    fn by_prefix(name: &[u8]) -> Known {
        match name.get(..GATEWAY_PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(GATEWAY_PREFIX) => Known::XAmznApigateway,
            _ => Known::Other,
        }
    }

    #[rustfmt::skip]
    fn with_length(length: usize) -> &'static [(&'static str, Known)] {
        match length {
            2 => &[("te", Known::Te)],
            3 => &[("via", Known::Via)],
            4 => &[("host", Known::Host), ("date", Known::Date)],
            6 => &[("accept", Known::Accept), ("cookie", Known::Cookie), ("expect", Known::Expect),
                   ("server", Known::Server)],
            7 => &[("trailer", Known::Trailer), ("upgrade", Known::Upgrade)],
            9 => &[("forwarded", Known::Forwarded), ("x-api-key", Known::XApiKey)],
            10 => &[("connection", Known::Connection), ("keep-alive", Known::KeepAlive),
                    ("set-cookie", Known::SetCookie), ("user-agent", Known::UserAgent),
                    ("tracestate", Known::Tracestate)],
            11 => &[("content-md5", Known::ContentMd5), ("traceparent", Known::Traceparent)],
            12 => &[("content-type", Known::ContentType), ("max-forwards", Known::MaxForwards)],
            13 => &[("authorization", Known::Authorization)],
            14 => &[("content-length", Known::ContentLength), ("http2-settings", Known::Http2Settings),
                    ("x-amz-apigw-id", Known::XAmzApigwId)],
            15 => &[("accept-encoding", Known::AcceptEncoding), ("x-amzn-trace-id", Known::XAmznTraceId),
                    ("x-forwarded-for", Known::XForwardedFor)],
            16 => &[("content-encoding", Known::ContentEncoding), ("proxy-connection", Known::ProxyConnection),
                    ("www-authenticate", Known::WwwAuthenticate), ("x-amzn-requestid", Known::XAmznRequestId),
                    ("x-amzn-errortype", Known::XAmznErrorType), ("x-forwarded-host", Known::XForwardedHost),
                    ("x-forwarded-port", Known::XForwardedPort)],
            17 => &[("transfer-encoding", Known::TransferEncoding), ("x-forwarded-proto", Known::XForwardedProto)],
            18 => &[("proxy-authenticate", Known::ProxyAuthenticate)],
            19 => &[("proxy-authorization", Known::ProxyAuthorization)],
            22 => &[("x-http-method-override", Known::XHttpMethodOverride)],
            _ => &[],
        }
    }

    /// Fields that belong to one connection only (RFC 9110, section 7.6.1, and the ones real peers still send).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::ProxyAuthorization
                | Known::Te
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Upgrade
                | Known::Http2Settings
        )
    }

    /// Fields that a `Connection` option can't remove, whatever the sender lists there.
    ///
    /// `TE` must be listed by everyone who sends it (RFC 9110, section 10.1.4). It is read here and never passed on.
    pub fn is_protected_from_nomination(self) -> bool {
        matches!(
            self,
            Known::Host
                | Known::ContentLength
                | Known::ContentType
                | Known::Authorization
                | Known::Cookie
                | Known::SetCookie
                | Known::Te
                | Known::Via
                | Known::XApiKey
                | Known::XForwardedFor
                | Known::XForwardedPort
                | Known::XForwardedProto
                | Known::XAmznTraceId
                | Known::XAmznRequestId
                | Known::XAmzApigwId
                | Known::XAmznApigateway
        )
    }

    /// Fields that no trailer section may carry (RFC 9110, section 6.5.1).
    pub fn is_forbidden_trailer(self) -> bool {
        self.is_hop_by_hop()
            || matches!(
                self,
                Known::Host
                    | Known::ContentLength
                    | Known::ContentType
                    | Known::ContentEncoding
                    | Known::Authorization
                    | Known::Cookie
                    | Known::SetCookie
                    | Known::Expect
                    | Known::MaxForwards
                    | Known::WwwAuthenticate
                    | Known::ProxyAuthenticate
                    | Known::Date
                    | Known::Via
                    | Known::XForwardedFor
                    | Known::XForwardedPort
                    | Known::XForwardedProto
                    | Known::XForwardedHost
                    | Known::Forwarded
                    | Known::XApiKey
                    | Known::XHttpMethodOverride
                    | Known::XAmznRequestId
                    | Known::XAmznTraceId
                    | Known::XAmznApigateway
            )
    }
}

/// Whether `name` is `text`, which is as long and in lower case, but for its own case. Eight bytes are compared at a time:
/// every field of every head is asked.
fn is_same(name: &[u8], text: &[u8]) -> bool {
    const LOWER: u64 = u64::MAX / 255 * 0x20;
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    // The bit that makes letters lower-case is set in all other characters of `text`, too. No character of a name is one of
    // theirs without it, as all of those are controls.
    let is_same = |name: &[u8; 8], text: &[u8; 8]| word(name) | LOWER == word(text);
    match (name.last_chunk(), text.last_chunk()) {
        // The last eight first: most names of one length differ there.
        (Some(name_end), Some(text_end)) => {
            let words = name.as_chunks().0.iter().zip(text.as_chunks().0);
            is_same(name_end, text_end) && words.into_iter().all(|(name, text)| is_same(name, text))
        }
        _ => name.eq_ignore_ascii_case(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_stands_in_the_row_of_its_length() {
        for length in 0..40 {
            for (name, known) in Known::with_length(length) {
                assert_eq!(name.len(), length, "{name}");
                assert_eq!(Known::of(name.to_uppercase().as_bytes()), *known, "{name}");
            }
        }
    }

    #[test]
    fn a_prefix_is_known_and_a_stranger_is_not() {
        assert_eq!(
            Known::of(b"X-Amzn-ApiGateway-Api-Id"),
            Known::XAmznApigateway
        );
        assert_eq!(Known::of(b"x-custom"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }
}
