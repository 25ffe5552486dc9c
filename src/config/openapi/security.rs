//! Which checks a document asks for before a method may be called.
//!
//! As on API Gateway, only an operation's own `security` counts; the root's is ignored.

use serde_json::Value;

use super::operations::Operation;
use crate::config::{codes::Code, diagnostics::Diagnostics, document::file::Cursor};

/// The checks of an operation, each in words. Empty if anyone may call it.
pub fn checks(root: &Cursor<'_>, operation: &Operation<'_>) -> Vec<String> {
    let mut checks = Vec::new();
    for requirement in operation
        .operation
        .get("security")
        .iter()
        .flat_map(Cursor::items)
    {
        checks.extend(requirement.members().map(|(name, _)| scheme(root, name)));
    }
    let auth = operation
        .operation
        .get("x-amazon-apigateway-auth")
        .and_then(|auth| auth.get("type"));
    if let Some(kind) = auth
        .and_then(|kind| kind.scalar())
        .filter(|kind| !kind.eq_ignore_ascii_case("NONE"))
    {
        checks.push(format!("`{kind}` authorization"));
    }
    checks.extend(validator(root, operation));
    if let Some(policy) = root
        .get("x-amazon-apigateway-policy")
        .filter(|policy| !allows_everyone(policy.value))
    {
        let _ = policy;
        checks.push("the resource policy".to_owned());
    }
    checks.dedup();
    checks
}

/// Warns of a root-level `security`, which many take for the default of all operations.
pub fn check_root(root: &Cursor<'_>, diagnostics: &mut Diagnostics) {
    let security = root
        .get("security")
        .filter(|security| security.items().next().is_some());
    if let Some(security) = security {
        let finding = security.report_key(
            Code::W117,
            "API Gateway ignores `security` at the root: it protects nothing",
        );
        diagnostics.push(
            finding
                .label("ignored")
                .hint("repeat `security` in each operation that needs it"),
        );
    }
}

fn scheme(root: &Cursor<'_>, name: &str) -> String {
    let schemes = root
        .get("components")
        .and_then(|components| components.get("securitySchemes"));
    let scheme = schemes
        .or_else(|| root.get("securityDefinitions"))
        .and_then(|schemes| schemes.get(name));
    let text = |key: &str| {
        scheme
            .as_ref()
            .and_then(|scheme| scheme.get(key))
            .and_then(|value| value.scalar())
    };
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
fn validator(root: &Cursor<'_>, operation: &Operation<'_>) -> Option<String> {
    const KEY: &str = "x-amazon-apigateway-request-validator";
    let name = operation
        .operation
        .get(KEY)
        .or_else(|| root.get(KEY))?
        .scalar()?;
    let validator = root
        .get("x-amazon-apigateway-request-validators")
        .and_then(|all| all.get(&name));
    let checks = |key: &str| {
        let flag = validator.as_ref().map(|validator| validator.get(key));
        // A validator that isn't defined can't be known to check nothing.
        flag.is_none_or(|flag| flag.is_some_and(|flag| *flag.value == Value::Bool(true)))
    };
    let parameters = checks("validateRequestParameters") && has_required_parameter(root, operation);
    let body = checks("validateRequestBody") && has_body_model(operation);
    (parameters || body).then(|| format!("the request validator `{name}`"))
}

fn has_required_parameter(root: &Cursor<'_>, operation: &Operation<'_>) -> bool {
    declared(root, operation).any(|parameter| {
        let is_required = parameter
            .get("required")
            .is_some_and(|required| *required.value == Value::Bool(true));
        let place = parameter
            .get("in")
            .and_then(|place| place.scalar())
            .unwrap_or_default();
        is_required && matches!(place.as_str(), "query" | "header")
    })
}

fn has_body_model(operation: &Operation<'_>) -> bool {
    let of_body = operation.operation.get("requestBody").is_some();
    let parameters = operation.operation.get("parameters");
    let mut in_parameters = parameters.iter().flat_map(Cursor::items);
    of_body
        || in_parameters
            .any(|it| it.get("in").and_then(|place| place.scalar()).as_deref() == Some("body"))
}

/// The parameters an operation declares, its path's included.
pub fn declared<'a>(
    root: &Cursor<'a>,
    operation: &Operation<'a>,
) -> impl Iterator<Item = Cursor<'a>> {
    let own = operation.operation.get("parameters");
    let shared = operation.item.get("parameters");
    let all: Vec<Cursor<'a>> = [own, shared]
        .iter()
        .flatten()
        .flat_map(Cursor::items)
        .collect();
    let root = root.clone();
    all.into_iter()
        .filter_map(move |parameter| match parameter.get("$ref") {
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
    !statements.is_empty()
        && statements.into_iter().all(|statement| {
            statement.get("Effect").and_then(Value::as_str) == Some("Allow")
                && statement.get("Condition").is_none()
                && has(statement.get("Principal"), &|text| text == "*")
                && has(statement.get("Action"), &|text| {
                    matches!(text, "*" | "execute-api:*" | "execute-api:Invoke")
                })
                && has(statement.get("Resource"), &|text| {
                    matches!(text, "*" | "execute-api:/*" | "execute-api:/*/*/*")
                })
        })
}
