//! Writing values into text that others parse.

/// Appends `value` so that it can stand between the quotes of a JSON string. Bytes that aren't UTF-8 become `\u00XX`.
pub fn json(out: &mut Vec<u8>, value: &[u8]) {
    if is_plain(value) {
        out.extend_from_slice(value);
        return;
    }
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            json_char(out, character);
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        }
    }
}

/// Whether `value` can stand in a JSON string as it is.
pub fn is_plain(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| PLAIN.get(usize::from(*byte)).copied();
    value.iter().all(|byte| is_plain(byte).unwrap_or_default())
}

/// A look is faster than the comparisons: every record's texts are asked, byte by byte.
#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always below the table's length"
)]
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte < 0x7f {
        plain[byte as usize] = !matches!(byte, b'"' | b'\\');
        byte += 1;
    }
    plain
};

fn json_char(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // Also the separators that end a line for some readers of logs.
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
            out.extend_from_slice(format!("\\u{:04x}", character as u32).as_bytes());
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, value: u64) {
    // Most numbers of a log line are this small.
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escaped_value_is_one_line_of_valid_json() {
        let samples: [&[u8]; 5] = [
            b"plain",
            b"a\"b\\c",
            b"line\r\nbreak\0\x1b[31m",
            "gr\u{fc}n\u{2028}".as_bytes(),
            b"\xff\xfe mixed \xc3",
        ];
        for sample in samples {
            let mut out = b"\"".to_vec();
            json(&mut out, sample);
            out.push(b'"');
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().count(), 1);
            let read: String = serde_json::from_str(&text).unwrap();
            if let Ok(utf8) = std::str::from_utf8(sample) {
                assert_eq!(read, utf8);
            }
        }
    }
}
