//! CloudFormation's functions inside a document (`Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::Join`, `Fn::ImportValue`), resolved
//! through the API's `bindings`.

use std::collections::BTreeMap;

use serde_json::Value;

/// Names and what they stand for.
pub type Bindings = BTreeMap<String, String>;

/// A value that became text, and the names that had no binding.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The text; unbound names stay in it as `${NAME}`.
    pub text: String,
    /// Names without a binding, in order.
    pub unbound: Vec<String>,
}

/// Values of CloudFormation's pseudo parameters where no binding says otherwise.
const PSEUDO: [(&str, &str); 6] = [
    ("AWS::Region", "us-east-1"),
    ("AWS::AccountId", "123456789012"),
    ("AWS::Partition", "aws"),
    ("AWS::URLSuffix", "amazonaws.com"),
    ("AWS::StackName", "sluicegate"),
    ("AWS::StackId", "sluicegate"),
];

/// The binding of a name, or CloudFormation's own value for it.
pub fn lookup<'a>(bindings: &'a Bindings, name: &str) -> Option<&'a str> {
    let pseudo = || {
        PSEUDO
            .iter()
            .find(|(pseudo, _)| *pseudo == name)
            .map(|(_, value)| *value)
    };
    bindings.get(name).map(String::as_str).or_else(pseudo)
}

/// Turns a text or an intrinsic into text. `None` if the value is neither.
pub fn resolve(value: &Value, bindings: &Bindings) -> Option<Resolved> {
    let mut resolved = Resolved::default();
    append(value, bindings, &mut resolved)?;
    Some(resolved)
}

/// Whether a value is an intrinsic.
pub fn is_intrinsic(value: &Value) -> bool {
    single(value).is_some_and(|(key, _)| key == "Ref" || key.starts_with("Fn::"))
}

fn single(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(key, value)| (key.as_str(), value))
}

fn append(value: &Value, bindings: &Bindings, out: &mut Resolved) -> Option<()> {
    match value {
        Value::String(text) => substitute(text, bindings, None, false, out),
        Value::Number(number) => out.text.push_str(&number.to_string()),
        Value::Object(_) => {
            let (key, argument) = single(value)?;
            return intrinsic(key, argument, bindings, out);
        }
        _ => return None,
    }
    Some(())
}

fn intrinsic(key: &str, argument: &Value, bindings: &Bindings, out: &mut Resolved) -> Option<()> {
    match key {
        "Ref" => name(argument.as_str()?, bindings, out),
        "Fn::ImportValue" => {
            let imported = resolve(argument, bindings)?;
            out.unbound.extend(imported.unbound);
            name(&imported.text, bindings, out);
        }
        "Fn::GetAtt" => match argument {
            Value::String(text) => name(text, bindings, out),
            Value::Array(parts) => {
                let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
                name(&parts?.join("."), bindings, out);
            }
            _ => return None,
        },
        "Fn::Sub" => match argument {
            Value::String(text) => substitute(text, bindings, None, true, out),
            Value::Array(parts) => {
                let text = parts.first()?.as_str()?;
                substitute(text, bindings, parts.get(1), true, out);
            }
            _ => return None,
        },
        "Fn::Join" => {
            let parts = argument.as_array()?;
            let separator = parts.first()?.as_str()?;
            for (at, item) in parts.get(1)?.as_array()?.iter().enumerate() {
                if at > 0 {
                    out.text.push_str(separator);
                }
                append(item, bindings, out)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn name(name: &str, bindings: &Bindings, out: &mut Resolved) {
    match lookup(bindings, name) {
        Some(value) => out.text.push_str(value),
        None => {
            out.text.extend(["${", name, "}"]);
            out.unbound.push(name.to_owned());
        }
    }
}

/// Fills `${NAME}`. Stage variables are API Gateway's own and stay. In plain text, where CloudFormation substitutes
/// nothing, other tools' placeholders have the same form: they are filled and reported alike.
fn substitute(
    text: &str,
    bindings: &Bindings,
    local: Option<&Value>,
    is_sub: bool,
    out: &mut Resolved,
) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.text.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            out.text.push_str("${");
            rest = after;
            continue;
        };
        if reference.starts_with("stageVariables.") {
            out.text.extend(["${", reference, "}"]);
        } else if let (true, Some(escaped)) = (is_sub, reference.strip_prefix('!')) {
            out.text.extend(["${", escaped, "}"]);
        } else if let Some(value) = local.and_then(|local| local.get(reference)) {
            if append(value, bindings, out).is_none() {
                out.unbound.push(reference.to_owned());
            }
        } else {
            name(reference, bindings, out);
        }
        rest = after;
    }
    out.text.push_str(rest);
}

/// Fills `${stageVariables.NAME}`. Returns the text and the names without a value, which become empty, as on AWS.
pub fn fill_stage_variables(
    text: &str,
    value: impl Fn(&str) -> Option<String>,
) -> (String, Vec<String>) {
    let (mut filled, mut missing, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${stageVariables.") {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push_str("${stageVariables.");
            rest = after;
            continue;
        };
        match value(name) {
            Some(value) => filled.push_str(&value),
            None => missing.push(name.to_owned()),
        }
        rest = after;
    }
    filled.push_str(rest);
    (filled, missing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bindings() -> Bindings {
        [
            ("Chat.Arn", "arn:chat"),
            ("Host", "backend:9000"),
            ("Key", "k"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn every_form_becomes_text() {
        for (value, text) in [
            (json!("plain"), "plain"),
            (json!({"Ref": "Host"}), "backend:9000"),
            (json!({"Fn::GetAtt": ["Chat", "Arn"]}), "arn:chat"),
            (json!({"Fn::GetAtt": "Chat.Arn"}), "arn:chat"),
            (
                json!({"Fn::Sub": "http://${Host}/${!literal}/${AWS::Region}"}),
                "http://backend:9000/${literal}/us-east-1",
            ),
            (json!({"Fn::Sub": ["'${A}'", {"A": {"Ref": "Key"}}]}), "'k'"),
            (
                json!({"Fn::Join": ["", ["http://", {"Ref": "Host"}, "/x"]]}),
                "http://backend:9000/x",
            ),
            (json!({"Fn::ImportValue": "Host"}), "backend:9000"),
            (
                json!("http://${Host}/${stageVariables.x}"),
                "http://backend:9000/${stageVariables.x}",
            ),
        ] {
            let resolved = resolve(&value, &bindings()).unwrap();
            assert_eq!(
                (resolved.text.as_str(), resolved.unbound.len()),
                (text, 0),
                "{value}"
            );
        }
    }

    #[test]
    fn names_without_a_binding_are_told() {
        let resolved = resolve(&json!({"Fn::Sub": "${A.Arn}/${Host}/${B}"}), &bindings()).unwrap();
        assert_eq!(resolved.unbound, ["A.Arn", "B"]);
        assert_eq!(
            resolve(&json!({"Fn::If": ["a", "b", "c"]}), &bindings()),
            None
        );
        assert_eq!(resolve(&json!([1]), &bindings()), None);
    }

    #[test]
    fn stage_variables_without_a_value_become_empty() {
        let value = |name: &str| (name == "host").then(|| "a".to_owned());
        let (text, missing) =
            fill_stage_variables("http://${stageVariables.host}/${stageVariables.x}", value);
        assert_eq!(
            (text.as_str(), missing.as_slice()),
            ("http://a/", &["x".to_owned()][..])
        );
    }
}
