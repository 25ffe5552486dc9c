//! Text to values. The only place that knows which crates read YAML and JSON.
//!
//! Both become one kind of value: integers and booleans as mapping keys become their text (response keys are often
//! integers), and CloudFormation's short tags become their long form (`!Sub x` is `{"Fn::Sub": x}`).

use serde_json::{Map, Value};

/// Why a text isn't a document.
#[derive(Debug)]
pub struct SyntaxError {
    /// What the parser says.
    pub message: String,
    /// Line and column from 1, if it says where. Columns of JSON count bytes, those of YAML characters.
    pub at: Option<(usize, usize)>,
    /// A limit that keeps hostile texts harmless was met, rather than the syntax broken.
    pub is_limit: bool,
}

/// Whether the text is read as JSON: its first character is `{`.
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Reads a document.
pub fn parse(text: &str) -> Result<Value, SyntaxError> {
    if is_json(text) {
        serde_json::from_str(text).map_err(|error| json_error(&error))
    } else {
        parse_yaml(text)
    }
}

fn json_error(error: &serde_json::Error) -> SyntaxError {
    let message = error.to_string();
    let message = message
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    let is_limit = message.contains("recursion limit");
    let message = if is_limit {
        "the document nests too deep".to_owned()
    } else {
        message
    };
    SyntaxError {
        message,
        at: Some((error.line(), error.column().max(1))),
        is_limit,
    }
}

fn parse_yaml(text: &str) -> Result<Value, SyntaxError> {
    let mut value: serde_yaml::Value =
        serde_yaml::from_str(text).map_err(|error| yaml_error(&error))?;
    value.apply_merge().map_err(|error| yaml_error(&error))?;
    convert(value).map_err(|message| SyntaxError {
        message,
        at: None,
        is_limit: false,
    })
}

fn yaml_error(error: &serde_yaml::Error) -> SyntaxError {
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let is_limit = said.contains("limit exceeded");
    let message = match said {
        _ if is_limit => "the document nests too deep, or its aliases repeat too much".to_owned(),
        _ if said.contains("more than one document") => {
            "a file holds one document: there is a second one behind `---`".to_owned()
        }
        _ if said.contains("found character that cannot start any token") => {
            format!("{said} (YAML is indented with spaces, never with tabs)")
        }
        _ => said.to_owned(),
    };
    let at = error.location().map(|place| (place.line(), place.column()));
    SyntaxError {
        message,
        at,
        is_limit,
    }
}

fn convert(value: serde_yaml::Value) -> Result<Value, String> {
    Ok(match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(value) => Value::Bool(value),
        serde_yaml::Value::Number(number) => convert_number(&number),
        serde_yaml::Value::String(text) => Value::String(text),
        serde_yaml::Value::Sequence(items) => {
            Value::Array(items.into_iter().map(convert).collect::<Result<_, _>>()?)
        }
        serde_yaml::Value::Mapping(mapping) => {
            let mut map = Map::new();
            for (key, value) in mapping {
                map.insert(convert_key(key)?, convert(value)?);
            }
            Value::Object(map)
        }
        serde_yaml::Value::Tagged(tagged) => {
            let value = convert(tagged.value)?;
            match intrinsic(&tagged.tag.to_string()) {
                Some(name) => Value::Object(Map::from_iter([(name, value)])),
                None => value,
            }
        }
    })
}

fn convert_number(number: &serde_yaml::Number) -> Value {
    let integer = number
        .as_i64()
        .map(Value::from)
        .or_else(|| number.as_u64().map(Value::from));
    integer
        .or_else(|| number.as_f64().map(Value::from))
        .unwrap_or(Value::Null)
}

fn convert_key(key: serde_yaml::Value) -> Result<String, String> {
    match key {
        serde_yaml::Value::String(text) => Ok(text),
        serde_yaml::Value::Number(number) => Ok(number.to_string()),
        serde_yaml::Value::Bool(value) => Ok(value.to_string()),
        serde_yaml::Value::Null => Ok("null".to_owned()),
        _ => Err("a mapping key must be text".to_owned()),
    }
}

/// The long form of a CloudFormation tag.
fn intrinsic(tag: &str) -> Option<String> {
    match tag.trim_start_matches('!') {
        "Ref" => Some("Ref".to_owned()),
        "Condition" => Some("Condition".to_owned()),
        name @ ("Sub" | "GetAtt" | "Join" | "ImportValue" | "Select" | "Split" | "FindInMap"
        | "If" | "Base64" | "GetAZs" | "Cidr" | "Transform" | "ToJsonString" | "And"
        | "Or" | "Not" | "Equals") => Some(format!("Fn::{name}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_become_text_and_short_tags_their_long_form() {
        let text = "responses: {200: ok, true: yes}\nuri: !Sub 'a${b}'\nx: !GetAtt A.Arn\ny: !Join ['', [a, !Ref B]]\n";
        let expected = json!({
            "responses": {"200": "ok", "true": "yes"},
            "uri": {"Fn::Sub": "a${b}"},
            "x": {"Fn::GetAtt": "A.Arn"},
            "y": {"Fn::Join": ["", ["a", {"Ref": "B"}]]},
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn json_keeps_its_surrogates() {
        assert_eq!(
            parse(r#"{"a": "\ud83d\ude00"}"#).unwrap(),
            json!({"a": "\u{1f600}"})
        );
    }

    #[test]
    fn merge_keys_are_merged_and_errors_say_where() {
        let merged = parse("base: &b {x: 1}\nuse:\n  <<: *b\n  y: 2\n").unwrap();
        assert_eq!(merged["use"], json!({"x": 1, "y": 2}));
        assert_eq!(parse("{\"a\": }").unwrap_err().at, Some((1, 7)));
        assert_eq!(
            parse("a: b\nc: [d\n").unwrap_err().at.map(|(line, _)| line),
            Some(3)
        );
    }
}
