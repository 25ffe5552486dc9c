//! Compression of buffered responses (`minimumCompressionSize`), on API Gateway's conditions: the client lists the
//! coding, prefers it, the backend hasn't coded the body, and the body is large enough.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::types::{
    fields::{Fields, list_members},
    known::Known,
};

/// A content coding the gateway can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

/// From this size on compressing takes long enough to be done elsewhere than on a worker.
const ON_ANOTHER_THREAD: usize = 32 * 1024;

/// The coding to apply, if any.
pub(super) fn wanted(
    minimum: Option<u64>,
    request: &Fields,
    response: &Fields,
    length: u64,
) -> Option<Coding> {
    if length == 0 || length < minimum? || response.has(Known::ContentEncoding) {
        return None;
    }
    preferred(request)
}

/// The client's first choice, if the gateway can make it. `*` isn't a choice.
fn preferred(request: &Fields) -> Option<Coding> {
    let offers = request
        .all(Known::AcceptEncoding)
        .flat_map(list_members)
        .filter_map(|member| {
            let text = std::str::from_utf8(member).ok()?;
            let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
            let weight = parameters
                .trim()
                .strip_prefix("q=")
                .map_or(Some(1.0), |q| q.trim().parse::<f32>().ok())?;
            Some((name.trim().to_ascii_lowercase(), weight))
        });
    let mut best: Option<(String, f32)> = None;
    for (name, weight) in
        offers.filter(|(name, weight)| *weight > 0.0 && name != "*" && name != "identity")
    {
        if best.as_ref().is_none_or(|(_, most)| weight > *most) {
            best = Some((name, weight));
        }
    }
    match best?.0.as_str() {
        "gzip" | "x-gzip" => Some(Coding::Gzip),
        "deflate" => Some(Coding::Deflate),
        _ => None,
    }
}

/// Codes a body and says so in its fields.
pub(super) async fn compress(coding: Coding, body: Bytes, fields: &mut Fields) -> Bytes {
    let coded = if body.len() < ON_ANOTHER_THREAD {
        encode(coding, &body)
    } else {
        let copy = body.clone();
        tokio::task::spawn_blocking(move || encode(coding, &copy))
            .await
            .ok()
            .flatten()
    };
    let Some(coded) = coded else { return body };
    let name: &[u8] = match coding {
        Coding::Gzip => b"gzip",
        Coding::Deflate => b"deflate",
    };
    fields.push_known(Known::ContentEncoding, b"Content-Encoding", name);
    coded
}

fn encode(coding: Coding, body: &[u8]) -> Option<Bytes> {
    let out = Vec::with_capacity(body.len() / 2);
    let coded = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::default());
            encoder.write_all(body).ok()?;
            encoder.finish()
        }
        // HTTP's "deflate" is the zlib format (RFC 9110, section 8.4.1.2).
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(out, Compression::default());
            encoder.write_all(body).ok()?;
            encoder.finish()
        }
    };
    coded.ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &str) -> Fields {
        let mut fields = Fields::default();
        fields.push(b"Accept-Encoding", value.as_bytes());
        fields
    }

    #[test]
    fn the_clients_first_choice_decides() {
        for (accept, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip;q=0.5", Some(Coding::Deflate)),
            ("gzip;q=0.5, br", None),
            ("gzip;q=0", None),
            ("*", None),
            ("identity, gzip", Some(Coding::Gzip)),
        ] {
            assert_eq!(preferred(&accepting(accept)), coding, "{accept}");
        }
    }

    #[test]
    fn small_coded_and_unasked_bodies_stay_as_they_are() {
        let none = Fields::default();
        assert_eq!(
            wanted(Some(10), &accepting("gzip"), &none, 10),
            Some(Coding::Gzip)
        );
        assert_eq!(wanted(Some(10), &accepting("gzip"), &none, 9), None);
        assert_eq!(wanted(None, &accepting("gzip"), &none, 10), None);
        assert_eq!(wanted(Some(0), &none, &none, 10), None);
        let mut coded = Fields::default();
        coded.push(b"Content-Encoding", b"br");
        assert_eq!(wanted(Some(0), &accepting("gzip"), &coded, 10), None);
    }
}
