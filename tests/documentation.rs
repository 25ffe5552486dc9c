//! What the documentation says against what the program knows.
//!
//! The reference in `docs/configuration.md` is made from the schema; `UPDATE_DOCS=1 cargo test --test documentation`
//! writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong about its world should stop at once"
)]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Command};

use serde_json::Value;
use sluicegate::{
    config::schema::settings_schema,
    telemetry::metrics::handshakes::Reason,
    types::{outcome::Outcome, variable::Variable},
};

const BEGIN: &str = "<!-- made from the schema: begin -->\n";
const END: &str = "<!-- made from the schema: end -->\n";

/// Writes sections of the reference, each type once.
struct Reference<'a> {
    definitions: &'a Value,
    text: String,
    written: BTreeMap<&'a str, String>,
}

impl<'a> Reference<'a> {
    fn resolve(&self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        let schema = match schema.get("anyOf").and_then(Value::as_array) {
            // `Option`s, and not "a number or a word".
            Some(choices) if choices.iter().any(|it| it["type"] == "null") => &choices[0],
            _ => schema,
        };
        let name = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix("#/$defs/"));
        (name, name.map_or(schema, |name| &self.definitions[name]))
    }

    /// The section of the object at `path`, and those of the objects in it.
    fn section(&mut self, path: &str, schema: &'a Value) {
        let (name, schema) = self.resolve(schema);
        if let Some(name) = name {
            let first = self
                .written
                .entry(name)
                .or_insert_with(|| path.to_owned())
                .clone();
            if first != path {
                let link = anchor(&first);
                let _ = writeln!(
                    self.text,
                    "### `{path}`\n\nThe same as [`{first}`](#{link}).\n"
                );
                return;
            }
        }
        let about = schema["description"]
            .as_str()
            .unwrap_or_default()
            .replace('\n', " ");
        let _ = writeln!(
            self.text,
            "### `{path}`\n\n{about}\n\n| key | value | meaning |\n|---|---|---|"
        );
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut inner = Vec::new();
        for (key, member) in schema["properties"].as_object().unwrap() {
            let (kind, nested) = self.kind(member);
            let about = member["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " ")
                .replace('|', "\\|");
            let must = if required.contains(&key.as_str()) {
                " Required."
            } else {
                ""
            };
            let _ = writeln!(self.text, "| `{key}` | {kind} | {about}{must} |");
            inner.extend(nested.map(|(suffix, schema)| (format!("{path}.{key}{suffix}"), schema)));
        }
        self.text.push('\n');
        for (path, schema) in inner {
            self.section(path.trim_start_matches("sluicegate.yaml."), schema);
        }
    }

    /// What a value looks like, and the object in it that has a section of its own.
    fn kind(&self, schema: &'a Value) -> (String, Option<(&'static str, &'a Value)>) {
        let (_, resolved) = self.resolve(schema);
        if let Some(words) = words(resolved) {
            return (words, None);
        }
        let kind = match &resolved["type"] {
            Value::Array(kinds) => kinds[0].as_str().unwrap(),
            kind => kind
                .as_str()
                .unwrap_or_else(|| panic!("no type: {resolved}")),
        };
        match kind {
            "string" => ("text".to_owned(), None),
            "boolean" => ("`true` or `false`".to_owned(), None),
            "integer" | "number" => (range(resolved), None),
            "array" => match self.kind(&resolved["items"]) {
                (_, Some(_)) => ("list".to_owned(), Some(("[]", &resolved["items"]))),
                (kind, None) => (format!("list of {kind}"), None),
            },
            "object" if resolved.get("properties").is_some() => {
                ("mapping".to_owned(), Some(("", schema)))
            }
            "object" => match self.kind(&resolved["additionalProperties"]) {
                (_, Some(_)) => (
                    "mapping by name".to_owned(),
                    Some((".NAME", &resolved["additionalProperties"])),
                ),
                (kind, None) => (format!("mapping of names to {kind}"), None),
            },
            other => panic!("unknown type {other}"),
        }
    }
}

/// The words a value may be, if it is one of a few.
fn words(schema: &Value) -> Option<String> {
    let plain = schema
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|word| {
            word.as_str()
                .map_or_else(|| word.to_string(), str::to_owned)
        });
    let choices = schema
        .get("oneOf")
        .or(schema.get("anyOf"))
        .and_then(Value::as_array);
    let told = choices
        .into_iter()
        .flatten()
        .map(|choice| match &choice["const"] {
            Value::String(word) => word.clone(),
            _ => range(choice),
        });
    let all: Vec<String> = plain
        .chain(told)
        .map(|word| {
            if word.contains(' ') {
                word
            } else {
                format!("`{word}`")
            }
        })
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn range(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64().map(|bound| bound as u64);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) if least > 0 => format!("number, at least {least}"),
        _ => "a number".to_owned(),
    }
}

/// The anchor of a heading, as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
        .collect()
}

#[test]
fn the_reference_is_the_schema() {
    let schema = settings_schema();
    let mut reference = Reference {
        definitions: &schema["$defs"],
        text: String::new(),
        written: BTreeMap::new(),
    };
    // What stands at the top level is explained there.
    for (key, member) in schema["properties"].as_object().unwrap() {
        if let (Some(name), _) = reference.resolve(member) {
            reference.written.insert(name, key.clone());
        }
    }
    reference.section("sluicegate.yaml", &schema);
    let page = fs::read_to_string("docs/configuration.md").unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (current, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(
            "docs/configuration.md",
            format!("{before}{BEGIN}\n{}{END}{after}", reference.text),
        )
        .unwrap();
    } else {
        assert!(
            current.trim() == reference.text.trim(),
            "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test --test documentation"
        );
    }
}

#[test]
fn every_variable_is_explained() {
    let page = fs::read_to_string("docs/configuration.md").unwrap();
    let missing: Vec<&str> = Variable::names()
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md doesn't explain {missing:?}"
    );
}

/// What stands in backquotes or quotes behind `before` in a text.
fn names_after(text: &str, before: &str) -> std::collections::BTreeSet<String> {
    let rests = text.split(before).skip(1);
    let names = rests.map(|rest| {
        rest.chars()
            .take_while(|it| it.is_ascii_lowercase() || *it == '_')
            .collect::<String>()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let sources = [
        "src/telemetry/metrics/write.rs",
        "src/telemetry/metrics/handshakes.rs",
        "src/telemetry/metrics/process.rs",
        "src/telemetry/metrics/spans.rs",
        "src/admin/metrics.rs",
    ];
    let code: String = sources
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    let written = names_after(&code, "\"sluicegate_");
    assert!(written.len() > 30, "{written:?}");
    assert_eq!(names_after(&page, "| `sluicegate_"), written);
}

#[test]
fn every_reason_of_a_failed_handshake_is_explained() {
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    for reason in Reason::ALL {
        let row = format!("| `{}` |", reason.as_str());
        assert!(page.contains(&row), "docs/metrics.md lacks {row}");
    }
}

#[test]
fn every_outcome_is_explained() {
    let page = fs::read_to_string("docs/timeouts.md").unwrap();
    for outcome in Outcome::ALL {
        let row = format!("| `{}` |", outcome.as_str());
        assert!(page.contains(&row), "docs/timeouts.md lacks {row}");
    }
}

#[test]
fn the_default_configuration_is_fine() {
    let checked = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["check", "config/sluicegate.yaml"])
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(
        checked.status.success() && !said.contains("warning"),
        "{said}"
    );
}

/// Pages that users read.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    let readmes = fs::read_dir("examples")
        .unwrap()
        .map(|entry| entry.unwrap().path().join("README.md"));
    let docs = fs::read_dir("docs")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    pages.extend(
        readmes
            .chain(docs)
            .filter(|path| path.extension().is_some_and(|it| it == "md") && path.exists())
            .map(|path| path.to_string_lossy().into_owned()),
    );
    pages
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone().into()
            } else {
                Path::new(&page).parent().unwrap().join(file)
            };
            let headings = |text: &str| {
                text.lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| anchor(line.trim_start_matches('#').trim()))
                    .collect::<Vec<_>>()
            };
            let leads = target.exists()
                && (heading.is_empty()
                    || headings(&fs::read_to_string(&target).unwrap())
                        .iter()
                        .any(|it| it == heading));
            if !leads {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}
