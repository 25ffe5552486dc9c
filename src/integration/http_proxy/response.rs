//! The backend's header fields as the client gets them: some dropped, some renamed to `x-amzn-Remapped-…`, as AWS's
//! table for HTTP_PROXY and the recordings have it.

use crate::types::{fields::Fields, known::Known};

/// What becomes of a backend's header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Drop,
    /// It is renamed, and the gateway may say its own.
    Remap(&'static [u8]),
}

fn fate(known: Known) -> Fate {
    match known {
        Known::Authorization => Fate::Remap(b"x-amzn-Remapped-Authorization"),
        Known::Connection => Fate::Remap(b"x-amzn-Remapped-Connection"),
        Known::ContentLength => Fate::Remap(b"x-amzn-Remapped-Content-Length"),
        Known::ContentMd5 => Fate::Remap(b"x-amzn-Remapped-Content-MD5"),
        Known::Date => Fate::Remap(b"x-amzn-Remapped-Date"),
        Known::MaxForwards => Fate::Remap(b"x-amzn-Remapped-Max-Forwards"),
        Known::Server => Fate::Remap(b"x-amzn-Remapped-Server"),
        Known::UserAgent => Fate::Remap(b"x-amzn-Remapped-User-Agent"),
        Known::WwwAuthenticate => Fate::Remap(b"x-amzn-Remapped-WWW-Authenticate"),
        Known::XAmznRequestId => Fate::Remap(b"x-amzn-Remapped-x-amzn-RequestId"),
        Known::Expect
        | Known::Host
        | Known::ProxyAuthenticate
        | Known::Via
        | Known::XAmzApigwId => Fate::Drop,
        known if known.is_hop_by_hop() => Fate::Drop,
        _ => Fate::Pass,
    }
}

/// Appends a backend's fields to a reply. Fields that its `Connection` nominates are left behind.
pub fn pass_on(mut said: Fields, reply: &mut Fields) {
    said.drop_nominated();
    for field in said.iter() {
        match fate(field.known) {
            Fate::Pass => reply.push_field(field),
            Fate::Drop => {}
            Fate::Remap(name) => reply.push_known(Known::Other, name, field.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_fields_follow_the_table() {
        let block = b"Date: d\r\nServer: s\r\nContent-Length: 5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nVia: v\r\n\
            WWW-Authenticate: w\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: 5\r\nUpgrade: u\r\nX-Amzn-RequestId: r\r\n\r\n";
        let (said, _) = Fields::parse(block, 100).unwrap().unwrap();
        let mut reply = Fields::default();
        pass_on(said, &mut reply);
        let expected = b"x-amzn-Remapped-Date: d\r\nx-amzn-Remapped-Server: s\r\nx-amzn-Remapped-Content-Length: 5\r\n\
            x-amzn-Remapped-Connection: keep-alive, X-Hop\r\nx-amzn-Remapped-WWW-Authenticate: w\r\nSet-Cookie: a\r\n\
            Set-Cookie: b\r\nx-amzn-Remapped-x-amzn-RequestId: r\r\n";
        assert_eq!(
            String::from_utf8_lossy(reply.wire()),
            String::from_utf8_lossy(expected)
        );
    }
}
