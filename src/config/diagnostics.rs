//! Findings: what is wrong, where, and how to mend it. All at once, never just the first.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::codes::{Code, Severity};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bytes it covers.
    pub span: Range<usize>,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of `span` in `text`.
    pub fn of(text: &str, span: Range<usize>) -> Place {
        Lines::of(text).place(text, span)
    }
}

/// Where the lines of a text begin, so that thousands of places in it are found at once.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of `text`.
    pub fn of(text: &str) -> Lines {
        let behind_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines(std::iter::once(0).chain(behind_breaks).collect())
    }

    /// The place of `span` in their text.
    pub fn place(&self, text: &str, span: Range<usize>) -> Place {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        let line = self.0.partition_point(|begin| *begin <= start);
        let line_start = self.0.get(line - 1).copied().unwrap_or_default();
        let before = text.get(line_start..start).unwrap_or_default();
        Place {
            span: start..end,
            line,
            column: before.chars().count() + 1,
        }
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Which finding it is.
    pub code: Code,
    /// What is wrong, in one sentence: lower case, no final period, literals in backticks.
    pub message: String,
    /// The file it is in.
    pub file: Arc<str>,
    /// Where in the file, if it is about a place in it.
    pub place: Option<Place>,
    /// What is expected right there.
    pub label: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The resource and method it makes unusable, as `GET /pets`.
    pub method: Option<String>,
}

impl Diagnostic {
    /// A finding about a file as a whole.
    pub fn new(code: Code, file: &Arc<str>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            message: message.into(),
            file: file.clone(),
            place: None,
            label: String::new(),
            hint: None,
            method: None,
        }
    }

    /// With its place.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Diagnostic {
        self.place = place;
        self
    }

    /// With a label for the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// About the method of a resource.
    #[must_use]
    pub fn of_method(mut self, method: Option<&str>) -> Diagnostic {
        self.method = method.map(ToOwned::to_owned);
        self
    }
}

/// What two findings must have in common to be the same one.
type Identity = (Code, Arc<str>, Option<Range<usize>>, String);

/// All findings about a configuration, and the texts they point into.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    known: HashSet<Identity>,
    texts: HashMap<Arc<str>, Arc<str>>,
    files: BTreeSet<PathBuf>,
}

impl Diagnostics {
    /// Adds a finding. What is found twice, as in a document that serves two APIs, is told once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let is_new = self.known.insert((
            diagnostic.code,
            diagnostic.file.clone(),
            diagnostic.place.as_ref().map(|place| place.span.clone()),
            diagnostic.message.clone(),
        ));
        if is_new {
            self.list.push(diagnostic);
        }
    }

    /// Makes a file's text known, so that findings can quote it.
    pub fn add_text(&mut self, file: &Arc<str>, text: &Arc<str>) {
        self.texts.insert(file.clone(), text.clone());
    }

    /// Notes a file that the configuration is made of, whether or not it can be read.
    pub fn read_from(&mut self, path: &Path) {
        if path.as_os_str() != "-" {
            self.files.insert(path.to_path_buf());
        }
    }

    /// The files that the configuration is made of.
    pub fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// Adds findings.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    /// Takes over another's findings.
    pub fn absorb(&mut self, other: Diagnostics) {
        self.extend(other.list);
        self.texts.extend(other.texts);
        self.files.extend(other.files);
    }

    /// The findings in the order of their files and lines.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.list.iter().collect();
        sorted.sort_by_key(|diagnostic| {
            let at = diagnostic
                .place
                .as_ref()
                .map_or(0, |place| place.span.start);
            (diagnostic.file.clone(), at, diagnostic.code)
        });
        sorted
    }

    /// Whether the gateway can't start.
    pub fn is_fatal(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings of a severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|diagnostic| diagnostic.code.severity() == severity)
            .count()
    }

    /// How many errors there are that make a method unusable and that `others` don't have.
    pub fn new_method_errors(&self, others: &Diagnostics) -> usize {
        let of_methods = |it: &&Diagnostic| it.code.severity() == Severity::MethodError;
        // Their places may have moved.
        let what = |it: &Diagnostic| {
            let (file, method, message) = (&it.file, &it.method, &it.message);
            (it.code, file.clone(), method.clone(), message.clone())
        };
        let known: HashSet<_> = others.list.iter().filter(of_methods).map(what).collect();
        let errors = self.list.iter().filter(of_methods);
        errors.filter(|it| !known.contains(&what(it))).count()
    }

    /// How many findings are errors of either kind.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.count(Severity::MethodError)
    }

    /// The text of a file that was read.
    pub fn text(&self, file: &str) -> Option<&Arc<str>> {
        self.texts.get(file)
    }

    /// The findings for programs.
    pub fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Row<'a> {
            code: &'static str,
            severity: &'static str,
            message: &'a str,
            file: &'a str,
            line: Option<usize>,
            column: Option<usize>,
            #[serde(skip_serializing_if = "str::is_empty")]
            label: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            method: Option<&'a str>,
        }
        let rows = self.sorted().into_iter().map(|diagnostic| Row {
            code: diagnostic.code.as_str(),
            severity: if diagnostic.code.severity() == Severity::Warning {
                "warning"
            } else {
                "error"
            },
            message: &diagnostic.message,
            file: &diagnostic.file,
            line: diagnostic.place.as_ref().map(|place| place.line),
            column: diagnostic.place.as_ref().map(|place| place.column),
            label: &diagnostic.label,
            hint: diagnostic.hint.as_deref(),
            method: diagnostic.method.as_deref(),
        });
        serde_json::to_value(rows.collect::<Vec<_>>()).unwrap_or_default()
    }
}
