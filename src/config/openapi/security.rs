//! Which checks a document asks for before a method may be called.
//!
//! As on API Gateway, only an operation's own `security` counts; the root's is ignored. What can't be understood counts
//! as a check: nothing is opened because it was written unusually.

use serde_json::Value;

use super::operations::Operation;
use crate::config::{codes::Code, diagnostics::Diagnostics, document::file::Cursor};

/// A check that a document asks for.
#[derive(Debug)]
pub struct Check<'a> {
    /// What it is, in words.
    pub text: String,
    /// Where it is asked for.
    pub at: Cursor<'a>,
}

/// The checks of an operation, apart from those of the whole API. Empty if anyone may call it.
pub fn checks<'a>(root: &Cursor<'a>, operation: &Operation<'a>) -> Vec<Check<'a>> {
    let mut checks: Vec<Check<'a>> = Vec::new();
    let mut add = |text: String, at: &Cursor<'a>| {
        if checks.iter().all(|check| check.text != text) {
            checks.push(Check {
                text,
                at: at.clone(),
            });
        }
    };
    if let Some(security) = operation.operation.get("security") {
        for text in schemes(root, &security) {
            add(text, &security);
        }
    }
    if let Some(auth) = operation.operation.get("x-amazon-apigateway-auth") {
        let kind = auth
            .get("type")
            .unwrap_or_else(|| auth.clone())
            .scalar()
            .unwrap_or_default();
        if !kind.eq_ignore_ascii_case("NONE") {
            let kind = if kind.is_empty() {
                "an authorization that can't be read"
            } else {
                &format!("{kind} authorization")
            };
            add(kind.to_owned(), &auth);
        }
    }
    if let Some((text, at)) = validator(root, operation) {
        add(text, &at);
    }
    checks
}

/// The resource policy, unless it lets everyone call everything.
pub fn policy<'a>(root: &Cursor<'a>) -> Option<Check<'a>> {
    let at = root
        .get("x-amazon-apigateway-policy")
        .filter(|policy| !allows_everyone(policy.value))?;
    Some(Check {
        text: "the resource policy".to_owned(),
        at,
    })
}

/// Warns of a root-level `security`, which many take for the default of all operations.
pub fn check_root(root: &Cursor<'_>, diagnostics: &mut Diagnostics) {
    let security = root
        .get("security")
        .filter(|security| security.items().next().is_some());
    if let Some(security) = security {
        let message = "API Gateway ignores `security` at the root: it protects nothing";
        let hint = "repeat `security` in each operation that needs it";
        diagnostics.push(
            security
                .report_key(Code::W117, message)
                .label("ignored")
                .hint(hint),
        );
    }
}

/// The schemes that a `security` names.
fn schemes(root: &Cursor<'_>, security: &Cursor<'_>) -> Vec<String> {
    let is_list = security.value.is_array();
    let requirements: Vec<Cursor<'_>> = if is_list {
        security.items().collect()
    } else {
        vec![security.clone()]
    };
    let mut texts = Vec::new();
    for requirement in requirements {
        match requirement.value {
            Value::Object(_) => {
                texts.extend(requirement.members().map(|(name, _)| scheme(root, name)));
            }
            Value::String(name) => texts.push(scheme(root, name)),
            _ => texts.push("a `security` that can't be read".to_owned()),
        }
    }
    texts
}

fn scheme(root: &Cursor<'_>, name: &str) -> String {
    let of_components = root
        .get("components")
        .and_then(|components| components.get("securitySchemes"));
    let schemes = of_components.or_else(|| root.get("securityDefinitions"));
    let scheme = schemes.and_then(|schemes| schemes.get(name));
    let text = |key: &str| scheme.as_ref().and_then(|scheme| scheme.get(key)?.scalar());
    let is_authorizer = scheme
        .as_ref()
        .is_some_and(|scheme| scheme.get("x-amazon-apigateway-authorizer").is_some());
    match text("x-amazon-apigateway-authtype") {
        Some(kind) if kind.eq_ignore_ascii_case("awsSigv4") => "AWS_IAM authorization".to_owned(),
        _ if is_authorizer => format!("the authorizer `{name}`"),
        _ if text("name").is_some_and(|header| header.eq_ignore_ascii_case("x-api-key")) => {
            "an API key".to_owned()
        }
        _ => format!("the security scheme `{name}`"),
    }
}

/// The request validator, if there is anything for it to validate.
fn validator<'a>(root: &Cursor<'a>, operation: &Operation<'a>) -> Option<(String, Cursor<'a>)> {
    const KEY: &str = "x-amazon-apigateway-request-validator";
    let at = operation.operation.get(KEY).or_else(|| root.get(KEY))?;
    let name = at.scalar().unwrap_or_default();
    let validator = root
        .get("x-amazon-apigateway-request-validators")
        .and_then(|all| all.get(&name));
    let asks = |key: &str| match &validator {
        // One that isn't defined can't be known to check nothing.
        None => true,
        Some(validator) => validator
            .get(key)
            .is_some_and(|flag| *flag.value != Value::Bool(false)),
    };
    let has_work = (asks("validateRequestParameters") && has_required_parameter(root, operation))
        || (asks("validateRequestBody") && has_body_model(root, operation));
    has_work.then(|| (format!("the request validator `{name}`"), at))
}

fn has_required_parameter(root: &Cursor<'_>, operation: &Operation<'_>) -> bool {
    parameters(root, operation).any(|parameter| {
        // A reference that leads nowhere may have led to one.
        let Some(parameter) = parameter else {
            return true;
        };
        let is_required = parameter
            .get("required")
            .is_some_and(|required| *required.value != Value::Bool(false));
        is_required && matches!(place_of(&parameter).as_str(), "query" | "header")
    })
}

fn has_body_model(root: &Cursor<'_>, operation: &Operation<'_>) -> bool {
    operation.operation.get("requestBody").is_some()
        || parameters(root, operation)
            .any(|parameter| parameter.is_none_or(|it| place_of(&it) == "body"))
}

fn place_of(parameter: &Cursor<'_>) -> String {
    parameter
        .get("in")
        .and_then(|place| place.scalar())
        .unwrap_or_default()
}

/// The parameters an operation declares, its path's included.
pub fn declared<'a>(
    root: &Cursor<'a>,
    operation: &Operation<'a>,
) -> impl Iterator<Item = Cursor<'a>> {
    parameters(root, operation).flatten()
}

/// The same; `None` for a reference that can't be followed.
fn parameters<'a>(
    root: &Cursor<'a>,
    operation: &Operation<'a>,
) -> impl Iterator<Item = Option<Cursor<'a>>> {
    let lists = [
        operation.operation.get("parameters"),
        operation.item.get("parameters"),
    ];
    let all: Vec<Cursor<'a>> = lists.iter().flatten().flat_map(Cursor::items).collect();
    let root = root.clone();
    all.into_iter()
        .map(move |parameter| match parameter.get("$ref") {
            None => Some(parameter),
            Some(reference) => root.follow(reference.str()?),
        })
}

/// A policy that lets everyone call everything checks nothing.
fn allows_everyone(policy: &Value) -> bool {
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement) => vec![statement],
        None => return false,
    };
    let has = |value: Option<&Value>, wanted: &dyn Fn(&str) -> bool| match value {
        Some(Value::String(text)) => wanted(text),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(wanted),
        Some(Value::Object(map)) => map.get("AWS").and_then(Value::as_str).is_some_and(wanted),
        _ => false,
    };
    let is_open = |statement: &Value| {
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && statement.get("Condition").is_none()
            && has(statement.get("Principal"), &|text| text == "*")
            && has(statement.get("Action"), &|text| {
                matches!(text, "*" | "execute-api:*" | "execute-api:Invoke")
            })
            && has(statement.get("Resource"), &|text| {
                matches!(text, "*" | "execute-api:/*" | "execute-api:/*/*/*")
            })
    };
    !statements.is_empty() && statements.into_iter().all(is_open)
}
