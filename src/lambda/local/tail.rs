//! The end of a log: its last lines, in bounded memory.

use std::collections::VecDeque;

/// What Lambda returns of a log (API reference, "Invoke", `X-Amz-Log-Result`).
const MOST: usize = 4096;

/// The last 4 KB of a log.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &str) {
        self.bytes.extend(line.as_bytes());
        self.bytes.push_back(b'\n');
        let excess = self.bytes.len().saturating_sub(MOST);
        self.bytes.drain(..excess);
    }

    /// What is there of it, from the beginning of a character on.
    pub(super) fn text(&self) -> Box<str> {
        let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
        let bytes: Vec<u8> = self.bytes.iter().copied().skip_while(is_inside).collect();
        String::from_utf8_lossy(&bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let mut tail = Tail::default();
        assert_eq!(&*tail.text(), "");
        for number in 0..2000 {
            tail.push(&format!("line {number}"));
        }
        let text = tail.text();
        assert_eq!(text.len(), MOST);
        assert!(text.ends_with("line 1998\nline 1999\n"));
    }

    #[test]
    fn a_tail_begins_with_a_whole_character() {
        let mut tail = Tail::default();
        tail.push(&"€".repeat(3000));
        let text = tail.text();
        assert!(
            text.len() >= MOST - 3 && text.starts_with('€'),
            "{} bytes",
            text.len()
        );
    }
}
