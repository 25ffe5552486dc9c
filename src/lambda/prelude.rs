//! The prelude of a streamed response: metadata as a JSON object, then eight NUL bytes, then payload (page "Set up a
//! Lambda proxy integration with payload response streaming").
//!
//! The bytes may come split anywhere. JSON can't hold a raw NUL, so the first eight in a row are the delimiter.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use serde_json::Value;

use super::metadata::{Headers, MetadataFault, kind_of, push_cookies, status};
use crate::types::fields::Fields;

/// The delimiter must lie within the first so many bytes of the stream.
pub const MOST: usize = 16 * 1024;
const DELIMITER: usize = 8;
const KEYS: [&str; 4] = ["statusCode", "headers", "multiValueHeaders", "cookies"];

/// Who reads the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A REST API: an unknown key is a fault, and so is an array in `headers`, unless it is lenient.
    Api {
        /// Whether `headers` may have arrays as values.
        header_arrays: bool,
    },
    /// A function URL: unknown keys are ignored, and there is no `multiValueHeaders`.
    FunctionUrl,
}

/// What stands before the payload.
#[derive(Debug)]
pub struct Metadata {
    /// 200 to 599.
    pub status: StatusCode,
    /// Header fields, cookies included.
    pub fields: Fields,
}

/// Whether a whole payload begins with a prelude. JSON alone never has its delimiter in it.
pub fn begins(payload: &[u8]) -> bool {
    let head = payload.get(..MOST).unwrap_or(payload);
    let is_delimiter = |window: &[u8]| window.iter().all(|byte| *byte == 0);
    head.contains(&0) && head.windows(DELIMITER).any(is_delimiter)
}

/// Reads a prelude piece by piece.
#[derive(Debug, Default)]
pub struct Parser {
    seen: BytesMut,
    /// How many NULs in a row the bytes seen so far end with.
    nuls: usize,
}

impl Parser {
    /// Takes the next piece. Once the prelude is complete, its metadata and what came after it.
    pub fn feed(
        &mut self,
        piece: &Bytes,
        reader: Reader,
    ) -> Result<Option<(Metadata, Bytes)>, MetadataFault> {
        let room = MOST - self.seen.len();
        for (at, byte) in piece.iter().take(room).enumerate() {
            self.nuls = if *byte == 0 { self.nuls + 1 } else { 0 };
            if self.nuls == DELIMITER {
                self.seen.extend_from_slice(&piece.slice(..=at));
                let length = self.seen.len() - DELIMITER;
                let metadata = read(self.seen.get(..length).unwrap_or_default(), reader)?;
                return Ok(Some((metadata, piece.slice(at + 1..))));
            }
        }
        self.seen
            .extend_from_slice(&piece.slice(..piece.len().min(room)));
        self.check_start()?;
        if piece.len() >= room {
            return Err(MetadataFault::new(format!(
                "the first {MOST} bytes of the stream have no delimiter of eight NUL bytes after the metadata"
            )));
        }
        Ok(None)
    }

    /// A stream that doesn't begin with an object will never have metadata, however long one waits.
    fn check_start(&self) -> Result<(), MetadataFault> {
        match self.seen.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None | Some(b'{') => Ok(()),
            Some(_) => Err(MetadataFault::new(
                "the stream doesn't begin with metadata, a JSON object followed by eight NUL bytes; \
                 in Node.js, `awslambda.HttpResponseStream.from(responseStream, metadata)` writes it",
            )),
        }
    }

    /// What is wrong with a stream that has ended before its delimiter.
    pub fn ended(&self) -> MetadataFault {
        MetadataFault::new(if self.seen.is_empty() {
            "the stream is empty; API Gateway needs metadata, at least `{}`, and eight NUL bytes"
                .to_owned()
        } else {
            format!(
                "the stream ended after {} bytes without the delimiter of eight NUL bytes; it began with {:?}",
                self.seen.len(),
                self.beginning()
            )
        })
    }

    /// Everything seen so far, at most 16 KiB.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    fn beginning(&self) -> String {
        String::from_utf8_lossy(self.seen.get(..200).unwrap_or(&self.seen)).into_owned()
    }
}

fn read(json: &[u8], reader: Reader) -> Result<Metadata, MetadataFault> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| MetadataFault::new(format!("the metadata isn't valid JSON: {error}")))?;
    let Value::Object(map) = &value else {
        return Err(MetadataFault::new(format!(
            "the metadata is {}; expected an object",
            kind_of(&value)
        )));
    };
    let (arrays, multi) = match reader {
        Reader::Api { header_arrays } => {
            if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
                return Err(MetadataFault::new(format!(
                    "the metadata has the key `{unknown}`; API Gateway takes only {}",
                    KEYS.map(|key| format!("`{key}`")).join(", ")
                )));
            }
            (header_arrays, map.get("multiValueHeaders"))
        }
        Reader::FunctionUrl => (true, None),
    };
    let status = status(map.get("statusCode"), 200)?;
    let mut fields = Headers::merge(multi, map.get("headers"), arrays)?.into_fields()?;
    push_cookies(&mut fields, map.get("cookies"))?;
    Ok(Metadata { status, fields })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Reader = Reader::Api {
        header_arrays: false,
    };

    /// Status, header lines and the payload's beginning, fed in the given pieces.
    fn parse(
        stream: &[u8],
        cuts: &[usize],
        reader: Reader,
    ) -> Result<Option<(u16, String, Vec<u8>)>, String> {
        let mut parser = Parser::default();
        let stream = Bytes::copy_from_slice(stream);
        let mut from = 0;
        for cut in cuts.iter().copied().chain([stream.len()]) {
            let piece = stream.slice(from..cut);
            from = cut;
            let found = parser
                .feed(&piece, reader)
                .map_err(|fault| fault.to_string())?;
            if let Some((metadata, rest)) = found {
                let mut payload = rest.to_vec();
                payload.extend_from_slice(&stream[from..]);
                let fields = String::from_utf8_lossy(metadata.fields.wire()).into_owned();
                return Ok(Some((metadata.status.as_u16(), fields, payload)));
            }
        }
        Ok(None)
    }

    const STREAM: &[u8] = b"{\"statusCode\":201,\"headers\":{\"A\":\"b\"},\"multiValueHeaders\":{\"C\":[\"d\",\"e\"]},\
        \"cookies\":[\"f=g\"]}\0\0\0\0\0\0\0\0\0payload\0\0\0\0\0\0\0\0";

    fn expected() -> (u16, String, Vec<u8>) {
        let fields = "C: d\r\nC: e\r\nA: b\r\nSet-Cookie: f=g\r\n".to_owned();
        (201, fields, b"\0payload\0\0\0\0\0\0\0\0".to_vec())
    }

    #[test]
    fn every_split_in_two_gives_the_same() {
        for cut in 0..STREAM.len() {
            assert_eq!(
                parse(STREAM, &[cut], STRICT).unwrap(),
                Some(expected()),
                "cut at {cut}"
            );
        }
        let every_byte: Vec<usize> = (0..STREAM.len()).collect();
        assert_eq!(
            parse(STREAM, &every_byte, STRICT).unwrap(),
            Some(expected())
        );
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(mut cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            cuts.sort_unstable();
            prop_assert_eq!(parse(STREAM, &cuts, STRICT).unwrap(), Some(expected()));
        }

        #[test]
        fn noise_is_never_taken_for_a_prelude_nor_does_it_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..400)
        ) {
            let mut parser = Parser::default();
            let _ = parser.feed(&Bytes::from(noise), STRICT);
        }
    }

    #[test]
    fn an_empty_object_is_enough_and_nothing_less() {
        let (status, fields, payload) =
            parse(b"{}\0\0\0\0\0\0\0\0x", &[], STRICT).unwrap().unwrap();
        assert_eq!(
            (status, fields.as_str(), payload.as_slice()),
            (200, "", &b"x"[..])
        );
        assert!(parse(b"\0\0\0\0\0\0\0\0", &[], STRICT).is_err());
        assert!(Parser::default().ended().to_string().contains("empty"));
    }

    #[test]
    fn the_delimiter_lies_in_the_first_16_kib_or_nowhere() {
        let stream = |padding: usize| {
            let mut stream = b"{\"headers\":{\"a\":\"".to_vec();
            stream.resize(padding, b'x');
            stream.extend_from_slice(b"\"}}\0\0\0\0\0\0\0\0payload");
            stream
        };
        let last = MOST - 8 - 3;
        assert!(parse(&stream(last), &[], STRICT).unwrap().is_some());
        for cut in [0, 1, last, MOST - 1] {
            assert!(
                parse(&stream(last + 1), &[cut], STRICT).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn what_api_gateway_refuses_is_refused_in_words_that_help() {
        for (metadata, part) in [
            ("{\"statusCode\":200,\"body\":\"x\"}", "the key `body`"),
            (
                "{\"headers\":{\"Content-Type\":[\"a\"]}}",
                "`headers.Content-Type` is an array",
            ),
            ("{\"statusCode\":\"teapot\"}", "`statusCode` is \"teapot\""),
            ("{\"statusCode\":101}", "from 200 to 599"),
            ("{\"cookies\":\"a=b\"}", "`cookies` is a string"),
            ("[1]", "doesn't begin with metadata"),
            ("{\"a\"", "isn't valid JSON"),
        ] {
            let stream = [metadata.as_bytes(), &[0; 8]].concat();
            // A start that isn't an object is seen before the delimiter only if it comes alone.
            let fault = parse(&stream, &[], STRICT).unwrap_err();
            let split = parse(&stream, &[1], STRICT).unwrap_err();
            assert!(
                fault.contains(part) || split.contains(part),
                "{metadata}: {fault}; {split}"
            );
        }
        let unknown =
            b"{\"statusCode\":200,\"x\":1,\"headers\":{\"a\":[\"b\",\"c\"]}}\0\0\0\0\0\0\0\0";
        let (_, fields, _) = parse(unknown, &[], Reader::FunctionUrl).unwrap().unwrap();
        assert_eq!(fields, "a: b\r\na: c\r\n");
        let lenient = Reader::Api {
            header_arrays: true,
        };
        let arrays = b"{\"headers\":{\"a\":[\"b\",\"c\"]}}\0\0\0\0\0\0\0\0";
        assert_eq!(
            parse(arrays, &[], lenient).unwrap().unwrap().1,
            "a: b\r\na: c\r\n"
        );
    }
}
