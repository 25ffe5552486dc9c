//! Compression of buffered responses (`minimumCompressionSize`), on API Gateway's conditions: the client lists the
//! coding, prefers it, the backend hasn't coded the body, and the body is large enough.

use std::{io::Write as _, sync::LazyLock, thread::available_parallelism};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use tokio::sync::Semaphore;

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

/// How many of those may be compressed at a time, over all workers: one for each CPU. More wouldn't be done sooner, but
/// each would take a thread, and room for what it makes.
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cpus()));

fn cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

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
        encode_elsewhere(coding, body.clone()).await
    };
    let Some(coded) = coded else { return body };
    let name: &[u8] = match coding {
        Coding::Gzip => b"gzip",
        Coding::Deflate => b"deflate",
    };
    fields.push_known(Known::ContentEncoding, b"Content-Encoding", name);
    coded
}

async fn encode_elsewhere(coding: Coding, body: Bytes) -> Option<Bytes> {
    let room = ROOM.acquire().await.ok()?;
    let encoding = tokio::task::spawn_blocking(move || {
        let coded = encode(coding, &body);
        // Held to the end of the work, even if nobody waits for it any more.
        drop(room);
        coded
    });
    encoding.await.ok().flatten()
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
    let mut coded = coded.ok()?;
    // What isn't needed would be kept for as long as the client reads.
    coded.shrink_to_fit();
    Some(Bytes::from(coded))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

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

    #[tokio::test]
    async fn large_bodies_wait_for_room_and_give_it_back() {
        let body = Bytes::from(vec![b'x'; ON_ANOTHER_THREAD]);
        let mut fields = Fields::default();
        let taken = ROOM.acquire_many(cpus() as u32).await.unwrap();
        let mut compressing = Box::pin(compress(Coding::Gzip, body, &mut fields));
        let a_moment = Duration::from_millis(150);
        assert!(timeout(a_moment, &mut compressing).await.is_err());
        drop(taken);
        let coded = compressing.await;
        assert!(coded.len() < 1000);
        assert!(fields.has(Known::ContentEncoding));
        assert_eq!(ROOM.available_permits(), cpus());
    }
}
