//! A file's text, its value, and where in the text each part stands.

use std::{ops::Range, path::Path, sync::Arc};

use serde_json::Value;

use crate::config::{
    codes::Code,
    diagnostics::{Diagnostic, Diagnostics, Lines, Place},
    files::{self, Unread},
    locate::{self, Problem, Spots, join, locate_json, locate_yaml},
    yaml,
};

/// A file that was read and parsed.
#[derive(Debug)]
pub struct File {
    /// Its name as findings show it.
    pub name: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// What it says.
    pub root: Value,
    spots: Spots,
    lines: Lines,
}

impl File {
    /// Reads a file, or standard input for `-`.
    pub fn read(path: &Path, diagnostics: &mut Diagnostics) -> Option<File> {
        File::read_for(path, None, diagnostics)
    }

    /// Reads a file that is named at a place of another one.
    pub fn read_for(
        path: &Path,
        asked: Option<(Arc<str>, Option<Place>)>,
        diagnostics: &mut Diagnostics,
    ) -> Option<File> {
        let is_stdin = path.as_os_str() == "-";
        let name: Arc<str> = if is_stdin {
            "<stdin>".into()
        } else {
            path.to_string_lossy().into()
        };
        let bytes = if is_stdin {
            read_stdin()
        } else {
            files::read(path, locate::MOST_BYTES)
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                diagnostics.push(unread(&name, &error, asked));
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => File::parse(&name, &text, diagnostics),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let message = format!("the file isn't UTF-8: byte {at} is invalid");
                diagnostics.push(
                    Diagnostic::new(Code::E002, &name, message).hint("save the file as UTF-8"),
                );
                None
            }
        }
    }

    /// Parses a text that was read from `name`.
    pub fn parse(name: &Arc<str>, text: &str, diagnostics: &mut Diagnostics) -> Option<File> {
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
        diagnostics.add_text(name, &text);
        // The YAML locator's limits guard the parser against hostile aliases; JSON has none.
        let located = if yaml::is_json(&text) {
            None
        } else {
            Some(locate_yaml(&text))
        };
        if located
            .as_ref()
            .is_some_and(|(_, problems)| tell(problems, name, &text, diagnostics))
        {
            return None;
        }
        let root = match yaml::parse(&text) {
            Ok(root) => root,
            Err(error) => {
                let in_bytes = yaml::is_json(&text);
                let place = error
                    .at
                    .map(|(line, column)| Place::of(&text, span_of(&text, line, column, in_bytes)));
                let code = if error.is_limit {
                    Code::E004
                } else {
                    Code::E002
                };
                diagnostics.push(Diagnostic::new(code, name, error.message).at(place));
                return None;
            }
        };
        let (spots, problems) = located.unwrap_or_else(|| locate_json(&text));
        if tell(&problems, name, &text, diagnostics) {
            return None;
        }
        Some(File {
            name: name.clone(),
            lines: Lines::of(&text),
            text,
            root,
            spots,
        })
    }

    /// Where the value at `pointer` stands, or the nearest value around it.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        self.nearest(pointer)
            .map(|spot| self.place_of(spot.value.clone()))
    }

    /// Where the key of the value at `pointer` stands, or else the value.
    pub fn key_place(&self, pointer: &str) -> Option<Place> {
        self.nearest(pointer)
            .map(|spot| self.place_of(spot.key.clone().unwrap_or(spot.value.clone())))
    }

    fn place_of(&self, span: Range<usize>) -> Place {
        self.lines.place(&self.text, span)
    }

    fn nearest(&self, pointer: &str) -> Option<&locate::Spot> {
        let mut pointer = pointer;
        loop {
            if let Some(spot) = self.spots.get(pointer) {
                return Some(spot);
            }
            pointer = pointer.get(..pointer.rfind('/')?)?;
        }
    }
}

/// Reports the locator's problems. Whether there are any.
fn tell(problems: &[Problem], name: &Arc<str>, text: &str, diagnostics: &mut Diagnostics) -> bool {
    for problem in problems {
        let place = Place::of(text, problem.span.clone());
        diagnostics
            .push(Diagnostic::new(problem.code, name, problem.message.as_str()).at(Some(place)));
    }
    !problems.is_empty()
}

/// Why there is nothing to parse; `asked` is the place that names the file.
fn unread(name: &Arc<str>, error: &Unread, asked: Option<(Arc<str>, Option<Place>)>) -> Diagnostic {
    if let Unread::TooLarge(most) = error {
        let message = format!("the file has more than {most} bytes");
        return Diagnostic::new(Code::E004, name, message)
            .hint("API Gateway itself imports at most 6 MB");
    }
    let message = format!("can't read `{name}`: {error}");
    match (asked, error) {
        (Some((file, place)), _) => Diagnostic::new(Code::E001, &file, message)
            .at(place)
            .hint("paths in a configuration are relative to the configuration file"),
        (None, Unread::Irregular) => {
            Diagnostic::new(Code::E001, name, message).hint("`-` reads standard input")
        }
        (None, _) => Diagnostic::new(Code::E001, name, message),
    }
}

fn read_stdin() -> Result<Vec<u8>, Unread> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(locate::MOST_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > locate::MOST_BYTES {
        return Err(Unread::TooLarge(locate::MOST_BYTES));
    }
    Ok(bytes)
}

fn span_of(text: &str, line: usize, column: usize, in_bytes: bool) -> Range<usize> {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    let line_start: usize = lines.map(str::len).sum();
    let rest = text.get(line_start..).unwrap_or_default();
    let skipped = column.saturating_sub(1);
    let offset = if in_bytes {
        rest.floor_char_boundary(skipped.min(rest.len()))
    } else {
        rest.char_indices()
            .nth(skipped)
            .map_or(rest.len(), |(at, _)| at)
    };
    line_start + offset..line_start + offset + 1
}

/// A value in a file, on the way through its document.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    /// The file.
    pub file: &'a File,
    /// The value.
    pub value: &'a Value,
    /// Where it is, as a JSON pointer.
    pub pointer: String,
}

impl<'a> Cursor<'a> {
    /// The whole document.
    pub fn root(file: &'a File) -> Cursor<'a> {
        Cursor {
            file,
            value: &file.root,
            pointer: String::new(),
        }
    }

    /// The value of a key, unless it is absent or null.
    pub fn get(&self, key: &str) -> Option<Cursor<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Cursor {
            file: self.file,
            value,
            pointer: join(&self.pointer, key),
        })
    }

    /// The members of a mapping in their order; nothing for other values.
    pub fn members(&self) -> impl Iterator<Item = (&'a str, Cursor<'a>)> {
        let members = self.value.as_object().into_iter().flatten();
        let (file, pointer) = (self.file, self.pointer.clone());
        members.map(move |(key, value)| {
            (
                key.as_str(),
                Cursor {
                    file,
                    value,
                    pointer: join(&pointer, key),
                },
            )
        })
    }

    /// The items of a sequence; nothing for other values.
    pub fn items(&self) -> impl Iterator<Item = Cursor<'a>> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        let (file, pointer) = (self.file, self.pointer.clone());
        items.map(move |(at, value)| Cursor {
            file,
            value,
            pointer: format!("{pointer}/{at}"),
        })
    }

    /// The text, if it is one.
    pub fn str(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The value as text, numbers and booleans included.
    pub fn scalar(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// The value that a pointer inside this document names, such as a `$ref`'s.
    pub fn follow(&self, reference: &str) -> Option<Cursor<'a>> {
        let pointer = reference.strip_prefix('#')?;
        let pointer = percent_encoding::percent_decode_str(pointer)
            .decode_utf8()
            .ok()?
            .into_owned();
        let value = self.file.root.pointer(&pointer)?;
        Some(Cursor {
            file: self.file,
            value,
            pointer,
        })
    }

    /// Where the value stands.
    pub fn place(&self) -> Option<Place> {
        self.file.place(&self.pointer)
    }

    /// A finding about the value.
    pub fn report(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, &self.file.name, message).at(self.place())
    }

    /// A finding about a part of the value's text, or about all of it if the part doesn't stand there as it is.
    pub fn report_part(&self, code: Code, part: &str, message: impl Into<String>) -> Diagnostic {
        let place = self.place().map(|place| {
            let text = self.file.text.get(place.span.clone()).unwrap_or_default();
            match text.find(part) {
                Some(at) => {
                    let from = place.span.start + at;
                    self.file.place_of(from..from + part.len())
                }
                None => place,
            }
        });
        Diagnostic::new(code, &self.file.name, message).at(place)
    }

    /// A finding about the value's key.
    pub fn report_key(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, &self.file.name, message).at(self.file.key_place(&self.pointer))
    }
}
