//! Lines out of a process's output, however they arrive, of bounded length.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A longer line is told in pieces.
const LONGEST: usize = 16 * 1024;

/// Cuts bytes into lines. A carriage return ends one, too: AWS's runtime for Python joins the lines of a trace by it.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// The last byte was a carriage return, so that a line feed behind it belongs to it.
    is_returned: bool,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], tell: &mut impl FnMut(&str)) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.is_returned) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let room = LONGEST - self.line.len();
            let window = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
            let end = window.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = bytes.split_at(end.unwrap_or(window.len()));
            self.line.extend_from_slice(line);
            bytes = rest;
            if end.is_some() {
                self.is_returned = bytes.first() == Some(&b'\r');
                bytes = bytes.get(1..).unwrap_or_default();
                self.tell(tell);
            } else if self.line.len() == LONGEST {
                self.tell(tell);
            }
        }
    }

    fn tell(&mut self, tell: &mut impl FnMut(&str)) {
        tell(&String::from_utf8_lossy(&self.line));
        self.line.clear();
    }
}

/// Reads to the end and tells each line.
pub(super) async fn tell_lines(mut pipe: impl AsyncRead + Unpin, mut tell: impl FnMut(&str)) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length) = pipe.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        lines.push(buffer.get(..length).unwrap_or_default(), &mut tell);
    }
    if !lines.line.is_empty() {
        lines.tell(&mut tell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(pieces: &[&[u8]]) -> Vec<String> {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        for piece in pieces {
            tokio::io::AsyncWriteExt::write_all(&mut near, piece)
                .await
                .unwrap();
        }
        drop(near);
        let mut told = Vec::new();
        tell_lines(far, |line| told.push(line.to_owned())).await;
        told
    }

    #[tokio::test]
    async fn lines_are_told_however_they_arrive() {
        assert_eq!(
            told(&[b"one\ntw", b"o\r", b"\n\nthree\rfour"]).await,
            ["one", "two", "", "three", "four"]
        );
    }

    #[tokio::test]
    async fn a_long_line_is_told_in_pieces() {
        let long = vec![b'x'; LONGEST + 10];
        let told = told(&[&long, b"\nshort\n"]).await;
        let lengths: Vec<usize> = told.iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST, 10, 5]);
    }
}
