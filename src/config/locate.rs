//! Where each value of a document stands in its text, and the limits that keep a hostile text harmless.

use std::{collections::HashMap, ops::Range};

use saphyr_parser::{Event, Parser, Span};

use super::codes::Code;

/// Bytes of one file. API Gateway imports 6 MB.
pub const MOST_BYTES: u64 = 10 * 1024 * 1024;
/// How deep mappings and sequences may nest.
const MOST_DEPTH: usize = 128;
/// How many aliases one file may use.
const MOST_ALIASES: usize = 1000;

/// Where a value stands, and the key before it.
#[derive(Clone, Debug, Default)]
pub struct Spot {
    /// The key's bytes, if the value is in a mapping.
    pub key: Option<Range<usize>>,
    /// The value's bytes.
    pub value: Range<usize>,
}

/// Places by JSON pointer.
pub type Spots = HashMap<String, Spot>;

/// A finding of the locator.
#[derive(Debug)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Range<usize>,
}

/// Appends a segment to a JSON pointer (RFC 6901).
pub fn join(pointer: &str, segment: &str) -> String {
    format!(
        "{pointer}/{}",
        segment.replace('~', "~0").replace('/', "~1")
    )
}

/// Locates every value of a YAML text.
pub fn locate_yaml(text: &str) -> (Spots, Vec<Problem>) {
    let mut locator = Locator::new(text);
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        // A syntax error is told by the parser that builds the values; places up to it are kept.
        let Ok((event, span)) = event else { break };
        documents += usize::from(matches!(event, Event::DocumentStart(_)));
        // A second document is the value parser's to refuse.
        if documents > 1 || locator.event(&event, span).is_err() {
            break;
        }
    }
    (locator.spots, locator.problems)
}

enum Frame {
    Mapping {
        pointer: String,
        key: Option<(String, Range<usize>)>,
        from: usize,
    },
    Sequence {
        pointer: String,
        next: usize,
        from: usize,
    },
}

struct Locator<'a> {
    text: &'a str,
    /// Byte offsets by character index, unless the text is ASCII.
    offsets: Option<Vec<usize>>,
    stack: Vec<Frame>,
    spots: Spots,
    problems: Vec<Problem>,
    aliases: usize,
}

impl<'a> Locator<'a> {
    fn new(text: &'a str) -> Locator<'a> {
        let offsets = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Locator {
            text,
            offsets,
            stack: Vec::new(),
            spots: Spots::new(),
            problems: Vec::new(),
            aliases: 0,
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| match &self.offsets {
            None => index.min(self.text.len()),
            Some(offsets) => offsets.get(index).copied().unwrap_or(self.text.len()),
        };
        byte(span.start.index())..byte(span.end.index())
    }

    fn event(&mut self, event: &Event<'_>, span: Span) -> Result<(), ()> {
        let bytes = self.bytes(span);
        match event {
            Event::Scalar(text, ..) => {
                if self.takes_key() {
                    self.key(text, bytes);
                    return Ok(());
                }
                let (pointer, key) = self.enter();
                self.spots.insert(pointer, Spot { key, value: bytes });
            }
            Event::Alias(_) => {
                self.aliases += 1;
                if self.aliases > MOST_ALIASES {
                    return self.give_up(format!("more than {MOST_ALIASES} aliases"), bytes);
                }
                let (pointer, key) = self.enter();
                self.spots.insert(pointer, Spot { key, value: bytes });
            }
            Event::MappingStart(..) => {
                let pointer = self.open(&bytes)?;
                self.stack.push(Frame::Mapping {
                    pointer,
                    key: None,
                    from: bytes.start,
                });
            }
            Event::SequenceStart(..) => {
                let pointer = self.open(&bytes)?;
                self.stack.push(Frame::Sequence {
                    pointer,
                    next: 0,
                    from: bytes.start,
                });
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(bytes.end),
            _ => {}
        }
        Ok(())
    }

    fn takes_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Mapping { key: None, .. }))
    }

    fn key(&mut self, text: &str, bytes: Range<usize>) {
        if let Some(Frame::Mapping { pointer, key, .. }) = self.stack.last_mut() {
            let own = join(pointer, text);
            if text != "<<" && self.spots.contains_key(&own) {
                let message = format!("the key `{text}` stands twice in the same mapping");
                self.problems.push(Problem {
                    code: Code::E003,
                    message,
                    span: bytes.clone(),
                });
            }
            *key = Some((own, bytes));
        }
    }

    /// The pointer of the value that begins now, and its key's place.
    fn enter(&mut self) -> (String, Option<Range<usize>>) {
        match self.stack.last_mut() {
            None => (String::new(), None),
            Some(Frame::Mapping { key, .. }) => match key.take() {
                Some((pointer, bytes)) => (pointer, Some(bytes)),
                // A mapping or sequence as a key: the value parser refuses it.
                None => (String::from("/?"), None),
            },
            Some(Frame::Sequence { pointer, next, .. }) => {
                *next += 1;
                (format!("{pointer}/{}", *next - 1), None)
            }
        }
    }

    fn open(&mut self, bytes: &Range<usize>) -> Result<String, ()> {
        if self.stack.len() >= MOST_DEPTH {
            self.give_up(
                format!("mappings and sequences nest deeper than {MOST_DEPTH} levels"),
                bytes.clone(),
            )?;
        }
        let (pointer, key) = self.enter();
        self.spots.insert(
            pointer.clone(),
            Spot {
                key,
                value: bytes.clone(),
            },
        );
        Ok(pointer)
    }

    fn close(&mut self, end: usize) {
        let Some(Frame::Mapping { pointer, from, .. } | Frame::Sequence { pointer, from, .. }) =
            self.stack.pop()
        else {
            return;
        };
        if let Some(spot) = self.spots.get_mut(&pointer) {
            spot.value = from..end.max(from);
        }
    }

    fn give_up(&mut self, message: String, span: Range<usize>) -> Result<(), ()> {
        self.problems.push(Problem {
            code: Code::E004,
            message,
            span,
        });
        Err(())
    }
}

/// Locates every value of a text that is valid JSON.
pub fn locate_json(text: &str) -> (Spots, Vec<Problem>) {
    let mut scanner = JsonScanner {
        text,
        at: 0,
        spots: Spots::new(),
        problems: Vec::new(),
    };
    scanner.value(String::new(), None);
    (scanner.spots, scanner.problems)
}

/// Follows the structure of valid JSON; the parser has already bounded its depth.
struct JsonScanner<'a> {
    text: &'a str,
    at: usize,
    spots: Spots,
    problems: Vec<Problem>,
}

impl JsonScanner<'_> {
    fn skip_space(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn value(&mut self, pointer: String, key: Option<Range<usize>>) {
        let Some(first) = self.skip_space() else {
            return;
        };
        let from = self.at;
        match first {
            b'{' => self.members(&pointer, b'}'),
            b'[' => self.members(&pointer, b']'),
            b'"' => drop(self.string()),
            _ => {
                let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
                self.at += rest
                    .iter()
                    .take_while(|byte| !b",]} \t\r\n".contains(byte))
                    .count();
            }
        }
        self.spots.insert(
            pointer,
            Spot {
                key,
                value: from..self.at,
            },
        );
    }

    fn members(&mut self, pointer: &str, close: u8) {
        self.at += 1;
        let mut index = 0_usize;
        loop {
            match self.skip_space() {
                None => return,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return;
                }
                Some(b',' | b':') => self.at += 1,
                Some(_) if close == b']' => {
                    self.value(format!("{pointer}/{index}"), None);
                    index += 1;
                }
                Some(_) => self.member(pointer),
            }
        }
    }

    fn member(&mut self, pointer: &str) {
        let from = self.at;
        let name = self.string();
        let span = from..self.at;
        let own = join(pointer, &name);
        if self.spots.contains_key(&own) {
            let message = format!("the key `{name}` stands twice in the same object");
            self.problems.push(Problem {
                code: Code::E003,
                message,
                span: span.clone(),
            });
        }
        if self.skip_space() == Some(b':') {
            self.at += 1;
        }
        self.value(own, Some(span));
    }

    fn string(&mut self) -> String {
        let from = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                b'"' => break,
                _ => 1,
            };
        }
        self.at = (self.at + 1).min(bytes.len());
        let literal = self.text.get(from..self.at).unwrap_or_default();
        serde_json::from_str(literal).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_at<'a>(text: &'a str, spots: &Spots, pointer: &str) -> (&'a str, &'a str) {
        let spot = &spots[pointer];
        (
            spot.key.clone().map_or("", |key| &text[key]),
            text[spot.value.clone()].trim_end(),
        )
    }

    #[test]
    fn yaml_and_json_values_are_found_by_pointer() {
        let yaml = "a:\n  /x/y: [1, {b: grün}]\n  c: 'd'\n";
        let (spots, problems) = locate_yaml(yaml);
        assert!(problems.is_empty());
        assert_eq!(text_at(yaml, &spots, "/a/~1x~1y/1/b"), ("b", "grün"));
        assert_eq!(text_at(yaml, &spots, "/a/c"), ("c", "'d'"));
        let json = "{\"a\": {\"/x/y\": [1, {\"b\": \"gr\u{fc}n\"}], \"c\": true}}";
        let (spots, problems) = locate_json(json);
        assert!(problems.is_empty());
        assert_eq!(
            text_at(json, &spots, "/a/~1x~1y/1/b"),
            ("\"b\"", "\"gr\u{fc}n\"")
        );
        assert_eq!(text_at(json, &spots, "/a/c"), ("\"c\"", "true"));
    }

    #[test]
    fn duplicate_keys_are_found() {
        for (text, problems) in [
            ("a: 1\na: 2\n", locate_yaml("a: 1\na: 2\n").1),
            ("json", locate_json("{\"a\": 1, \"a\": 2}").1),
        ] {
            assert_eq!(problems.len(), 1, "{text}");
            assert_eq!(problems[0].code, Code::E003);
        }
    }

    #[test]
    fn depth_and_aliases_are_bounded() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(locate_yaml(&deep).1[0].code, Code::E004);
        let aliases = format!("a: &a 1\nb: [{}]\n", vec!["*a"; 2000].join(", "));
        assert_eq!(locate_yaml(&aliases).1[0].code, Code::E004);
    }
}
