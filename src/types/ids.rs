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
        let bits = (u128::from(random()) << 64) | u128::from(random());
        let mut text = [0; 36];
        uuid::Builder::from_random_bytes(bits.to_ne_bytes())
            .into_uuid()
            .hyphenated()
            .encode_lower(&mut text);
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
    let (head, tail) = text.split_at_mut(16);
    if let Some(epoch) = head.get_mut(7..15) {
        hex(epoch, now.seconds());
    }
    let (high, low) = tail.split_at_mut(16);
    hex(high, random());
    hex(low, random());
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

fn hex(out: &mut [u8], mut value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for digit in out.iter_mut().rev() {
        *digit = DIGITS.get((value & 15) as usize).copied().unwrap_or(b'0');
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_forms_that_aws_uses() {
        let id = RequestId::random();
        assert!(RequestId::from_client(id.as_str().as_bytes()) == Some(id));
        assert!(RequestId::from_client(b"not-a-uuid").is_none());
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
