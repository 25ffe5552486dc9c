//! Checks a value against the JSON Schema of its type, and says everything that is wrong with it.
//!
//! The schema is derived from the very types that read the configuration, so a value without findings can be read.

use serde_json::{Map, Value};

use super::file::Cursor;
use crate::config::{
    codes::Code,
    diagnostics::{Diagnostic, Diagnostics},
    suggest::nearest,
};

/// Checks `value` against `schema`. Where something is wrong, as JSON pointers.
pub fn check(value: &Cursor<'_>, schema: &Value, diagnostics: &mut Diagnostics) -> Vec<String> {
    let mut checker = Checker {
        definitions: schema.get("$defs"),
        diagnostics,
        wrong: Vec::new(),
    };
    checker.check(value, schema);
    checker.wrong
}

/// What is left of `value` without the parts at `wrong`, so that the rest can be looked at, too. `None` if something else
/// would move to their places.
pub fn without(value: &Cursor<'_>, wrong: &[String]) -> Option<Value> {
    let mut rest = value.value.clone();
    for pointer in wrong {
        let (parent, key) = pointer.strip_prefix(&value.pointer)?.rsplit_once('/')?;
        let key = key.replace("~1", "/").replace("~0", "~");
        // The parent may be gone already.
        if let Some(parent) = rest.pointer_mut(parent) {
            parent.as_object_mut()?.remove(&key);
        }
    }
    Some(rest)
}

struct Checker<'a> {
    definitions: Option<&'a Value>,
    diagnostics: &'a mut Diagnostics,
    wrong: Vec<String>,
}

impl<'a> Checker<'a> {
    fn tell(&mut self, at: &Cursor<'_>, finding: Diagnostic) {
        self.wrong.push(at.pointer.clone());
        self.diagnostics.push(finding);
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let name = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix("#/$defs/"));
        name.and_then(|name| self.definitions?.get(name))
            .unwrap_or(schema)
    }

    fn check(&mut self, value: &Cursor<'_>, schema: &'a Value) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema
            .get("anyOf")
            .or_else(|| schema.get("oneOf"))
            .and_then(Value::as_array)
        {
            return self.check_choices(value, choices);
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            return match allowed.iter().map(Value::as_str).collect() {
                Some(words) => self.check_enum(value, words),
                None => self.check_numbers(value, allowed),
            };
        }
        if !self.check_type(value, schema) {
            return;
        }
        self.check_range(value, schema);
        if value.value.is_object() {
            self.check_members(value, schema);
        }
        if let Some(items) = schema.get("items") {
            value.items().for_each(|item| self.check(&item, items));
        }
    }

    /// `Option`s, enums with documented variants, and "a number or a word".
    fn check_choices(&mut self, value: &Cursor<'_>, choices: &'a [Value]) {
        let choices: Vec<&Value> = choices.iter().map(|choice| self.resolve(choice)).collect();
        let words: Vec<&str> = choices
            .iter()
            .filter_map(|choice| choice.get("const")?.as_str())
            .collect();
        if words.len() == choices.len() {
            return self.check_enum(value, words);
        }
        if value
            .value
            .as_str()
            .is_some_and(|text| words.contains(&text))
        {
            return;
        }
        let fitting = choices
            .iter()
            .find(|choice| choice.get("const").is_none() && fits(value.value, choice));
        match fitting {
            Some(choice) => self.check(value, choice),
            None => {
                let rest = choices
                    .iter()
                    .filter(|choice| choice.get("const").is_none());
                let types = rest
                    .flat_map(|choice| types(choice))
                    .filter(|name| *name != "null");
                let mut expected: Vec<String> =
                    types.map(|name| describe(name).to_owned()).collect();
                expected.extend(words.iter().map(|word| format!("`{word}`")));
                self.wrong_type(value, &expected.join(" or "));
            }
        }
    }

    fn check_enum(&mut self, value: &Cursor<'_>, allowed: Vec<&str>) {
        let Some(written) = value.str() else {
            return self.wrong_type(value, &format!("one of {}", list(&allowed)));
        };
        if allowed.contains(&written) {
            return;
        }
        let finding = value.report(
            Code::E013,
            format!("`{written}` isn't a value of {}", name_of(value)),
        );
        let finding = finding.label(format!("expected one of {}", list(&allowed)));
        self.tell(
            value,
            match nearest(written, allowed) {
                Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
                None => finding,
            },
        );
    }

    /// A choice of numbers, such as two statuses.
    fn check_numbers(&mut self, value: &Cursor<'_>, allowed: &[Value]) {
        if allowed.contains(value.value) {
            return;
        }
        let expected: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let message = format!("{} is {}", name_of(value), value.value);
        let finding = value.report(Code::E013, message);
        self.tell(
            value,
            finding.label(format!("expected {}", expected.join(" or "))),
        );
    }

    fn check_type(&mut self, value: &Cursor<'_>, schema: &'a Value) -> bool {
        if fits(value.value, schema) {
            return true;
        }
        let expected: Vec<&str> = types(schema)
            .filter(|name| *name != "null")
            .map(describe)
            .collect();
        self.wrong_type(value, &expected.join(" or "));
        false
    }

    fn wrong_type(&mut self, value: &Cursor<'_>, expected: &str) {
        let found = found(value.value);
        let message = format!("{} is {found}", name_of(value));
        let mut finding = value
            .report(Code::E011, message)
            .label(format!("expected {expected}"));
        if expected == "text" && !value.value.is_object() && !value.value.is_array() {
            finding = finding.hint(format!(
                "put it in quotes: \"{}\"",
                value.scalar().unwrap_or_default()
            ));
        }
        self.tell(value, finding);
    }

    fn check_range(&mut self, value: &Cursor<'_>, schema: &Value) {
        let Some(number) = value.value.as_f64() else {
            return;
        };
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
            return;
        }
        let label = match (least, most) {
            (Some(least), Some(most)) => format!("expected {least} to {most}"),
            (Some(least), None) => format!("expected at least {least}"),
            (_, most) => format!("expected at most {}", most.unwrap_or_default()),
        };
        let message = format!("{} is outside its range", name_of(value));
        self.tell(value, value.report(Code::E014, message).label(label));
    }

    fn check_members(&mut self, value: &Cursor<'_>, schema: &'a Value) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (key, member) in value.members() {
            match (
                properties.and_then(|properties| properties.get(key)),
                others,
            ) {
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                    self.check_member(&member, schema);
                }
                (None, Some(Value::Bool(false))) => self.unknown_key(&member, key, properties),
                _ => {}
            }
        }
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for name in required
            .filter_map(Value::as_str)
            .filter(|name| value.get(name).is_none())
        {
            let is_entry = value
                .pointer
                .rsplit('/')
                .next()
                .is_some_and(|it| it.parse::<usize>().is_ok());
            let owner = if is_entry { "an entry of " } else { "" };
            let message = format!("{owner}{} needs the key `{name}`", name_of(value));
            let finding = value.report_key(Code::E012, message);
            let about = properties
                .and_then(|properties| properties.get(name)?.get("description")?.as_str());
            self.tell(
                value,
                match about {
                    Some(about) => finding.hint(format!("`{name}` is {}", as_clause(about))),
                    None => finding,
                },
            );
        }
    }

    fn check_member(&mut self, member: &Cursor<'_>, schema: &'a Value) {
        // A key without a value (`tls:`) is as good as absent.
        if !member.value.is_null() {
            self.check(member, schema);
        }
    }

    fn unknown_key(
        &mut self,
        member: &Cursor<'_>,
        key: &str,
        properties: Option<&Map<String, Value>>,
    ) {
        let known: Vec<&str> = properties
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        let finding = member.report_key(Code::E010, format!("there is no key `{key}` here"));
        self.tell(
            member,
            match nearest(key, known.iter().copied()) {
                Some(meant) => finding
                    .label("unknown key")
                    .hint(format!("did you mean `{meant}`?")),
                None => finding
                    .label("unknown key")
                    .hint(format!("known here: {}", list(&known))),
            },
        );
    }
}

fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let (one, many) = match schema.get("type") {
        Some(Value::String(name)) => (Some(name.as_str()), None),
        Some(Value::Array(names)) => (None, Some(names)),
        _ => (None, None),
    };
    one.into_iter()
        .chain(many.into_iter().flatten().filter_map(Value::as_str))
}

fn fits(value: &Value, schema: &Value) -> bool {
    let mut names = types(schema).peekable();
    names.peek().is_none()
        || names.any(|name| match name {
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => value.is_null(),
        })
}

fn describe(type_name: &str) -> &str {
    match type_name {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The first sentence of a description, to go on with in another one.
fn as_clause(description: &str) -> String {
    let sentence = description
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

/// The last named segment of where the value is, in backticks.
fn name_of(value: &Cursor<'_>) -> String {
    let named = value
        .pointer
        .rsplit('/')
        .find(|segment| segment.parse::<usize>().is_err() && !segment.is_empty());
    named.map_or_else(
        || "the configuration".to_owned(),
        |name| format!("`{}`", name.replace("~1", "/").replace("~0", "~")),
    )
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
