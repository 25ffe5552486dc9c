//! Names of a request: its id, API Gateway's extended id, and the trace id that backends see.
//!
//! Ids must be unique, not secret; they come from a generator per thread, seeded from the system's randomness.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::clock::Wall;

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
}

/// 64 random bits (splitmix64).
pub fn random() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A UUID in its usual text form: `$context.requestId`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// A new random id.
    pub fn random() -> RequestId {
        // Version 4 and variant 1 (RFC 9562, section 5.4).
        let high = random() & !0xf000 | 0x4000;
        let low = random() & (u64::MAX >> 2) | 1 << 63;
        let (high, low) = (hex(high), hex(low));
        let mut text = [b'-'; 36];
        text[..8].copy_from_slice(&high[..8]);
        text[9..13].copy_from_slice(&high[8..12]);
        text[14..18].copy_from_slice(&high[12..]);
        text[19..23].copy_from_slice(&low[..4]);
        text[24..].copy_from_slice(&low[4..]);
        RequestId(text)
    }

    /// The id a client asks for in `x-amzn-RequestId`, if it has the form of a UUID; AWS takes such ids over.
    pub fn from_client(text: &[u8]) -> Option<RequestId> {
        let id: [u8; 36] = text.try_into().ok()?;
        uuid::Uuid::try_parse_ascii(&id).ok()?;
        Some(RequestId(id))
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `$context.extendedRequestId`, sent as `x-amz-apigw-id`: short base64 that ends in `=`.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedId([u8; 16]);

impl ExtendedId {
    /// A new random id.
    pub fn random() -> ExtendedId {
        let (a, b) = (random().to_ne_bytes(), random().to_ne_bytes());
        let [a0, a1, a2, a3, a4, a5, a6, a7] = a;
        let [b0, b1, b2, ..] = b;
        let mut text = [b'='; 16];
        // Eleven bytes give fifteen characters and one `=`, as AWS's ids have.
        let _ = STANDARD.encode_slice([a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2], &mut text);
        ExtendedId(text)
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A new root for `X-Amzn-Trace-Id`: `Root=1-{8 hex digits of the epoch}-{24 hex digits}`.
pub fn new_trace_root(now: Wall) -> [u8; 40] {
    let mut text = *b"Root=1-00000000-000000000000000000000000";
    text[7..15].copy_from_slice(&hex(now.seconds())[8..]);
    text[16..32].copy_from_slice(&hex(random()));
    text[32..].copy_from_slice(&hex(random())[..8]);
    text
}

/// Whether a client's `X-Amzn-Trace-Id` can be carried on: `Root=1-8hex-24hex`, then further `Key=Value` pairs.
pub fn is_trace_header(value: &[u8]) -> bool {
    let well_formed = |root: &[u8]| {
        root.len() == 35
            && root.starts_with(b"1-")
            && root.get(10) == Some(&b'-')
            && root
                .iter()
                .skip(2)
                .enumerate()
                .all(|(at, byte)| at == 8 || byte.is_ascii_hexdigit())
    };
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    value.len() <= 256
        && value.iter().all(printable)
        && value
            .split(|byte| *byte == b';')
            .find_map(|part| part.trim_ascii().strip_prefix(b"Root="))
            .is_some_and(well_formed)
}

/// The hexadecimal digits of a word, eight at a time: each request's ids have more than sixty.
fn hex(word: u64) -> [u8; 16] {
    const ONES: u64 = u64::MAX / 255;
    let eight = |half: u64| {
        // Halves are moved apart until each byte has four bits of the word.
        let spread = (half | half << 16) & 0x0000_ffff_0000_ffff;
        let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
        let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (spread + 6 * ONES) >> 4 & ONES;
        spread + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'9' - 1)
    };
    let (high, low) = (eight(word >> 32), eight(word & 0xffff_ffff));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_forms_that_aws_uses() {
        let id = RequestId::random();
        assert!(RequestId::from_client(id.as_str().as_bytes()) == Some(id));
        assert!(RequestId::from_client(b"not-a-uuid").is_none());
        let uuid = uuid::Uuid::try_parse(id.as_str()).unwrap();
        assert_eq!(
            (uuid.get_version_num(), uuid.get_variant()),
            (4, uuid::Variant::RFC4122)
        );
        assert_ne!(id, RequestId::random());
        let extended = ExtendedId::random();
        assert!(extended.as_str().ends_with('=') && !extended.as_str().ends_with("=="));
        let root = new_trace_root(Wall(1_795_342_507_000));
        assert!(
            root.starts_with(b"Root=1-6b02c0ab-"),
            "{}",
            String::from_utf8_lossy(&root)
        );
        assert!(is_trace_header(&root));
    }

    #[test]
    fn words_are_written_as_formatting_would_write_them() {
        for word in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX, random(), random()] {
            assert_eq!(hex(word).as_slice(), format!("{word:016x}").as_bytes());
        }
    }

    #[test]
    fn trace_headers_that_are_malformed_or_long_are_not_carried_on() {
        let good = "Root=1-5759e988-bd862e3fe1be46a994272793";
        assert!(is_trace_header(
            format!("{good};Parent=53995c3f42cd8ad8;Sampled=1").as_bytes()
        ));
        assert!(is_trace_header(format!("Self=1-x;{good}").as_bytes()));
        for bad in [
            "",
            "Root=",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
        ] {
            assert!(!is_trace_header(bad.as_bytes()), "{bad}");
        }
        assert!(!is_trace_header(
            format!("{good};{}", "x".repeat(256)).as_bytes()
        ));
        assert!(!is_trace_header(format!("{good}\r\nx: y").as_bytes()));
    }
}
