//! Request and response heads: what was said before the body.

use http::{Method, StatusCode, Version};

use super::{fields::Fields, known::Known, target::Target};

/// A request head that passed every check, names and order as the client wrote them.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method of the request line.
    pub method: Method,
    /// Path and query, raw.
    pub target: Target,
    /// The host the client asked for: the target's if absolute, else `Host`, else empty (HTTP/1.0).
    pub authority: Box<str>,
    /// The protocol the client spoke.
    pub version: Version,
    /// Header fields.
    pub fields: Fields,
}

impl RequestHead {
    /// What stands in for a head that couldn't be read.
    pub fn unreadable() -> RequestHead {
        RequestHead {
            method: Method::GET,
            target: Target::unreadable(),
            authority: "".into(),
            version: Version::HTTP_11,
            fields: Fields::default(),
        }
    }

    /// Whether the client said it takes trailer fields (`TE: trailers`), or speaks HTTP/2, which always can.
    pub fn takes_trailers(&self) -> bool {
        self.version == Version::HTTP_2 || self.fields.lists(Known::Te, b"trailers")
    }
}

/// An integration's response head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The final status, 200 to 599.
    pub status: StatusCode,
    /// Header fields as the integration wrote them.
    pub fields: Fields,
}
