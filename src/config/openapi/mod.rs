//! OpenAPI documents as API Gateway reads them: which ones it takes, their operations, their security.

pub mod base_path;
pub mod operations;
pub mod security;

use super::{codes::Code, diagnostics::Diagnostics, document::file::Cursor};

/// The generations of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Swagger 2.0.
    Swagger2,
    /// OpenAPI 3.0 or 3.1.
    OpenApi3,
}

/// Recognises a document. `None`, with a finding, if it isn't one that REST APIs are imported from.
pub fn recognise(root: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Option<Version> {
    if is_template(root) {
        let finding = root.report_key(
            Code::E022,
            "this is a CloudFormation or SAM template, not an OpenAPI document",
        );
        diagnostics.push(
            finding.hint(
                "give the OpenAPI document itself (the template's `Body` or `DefinitionBody`)",
            ),
        );
        return None;
    }
    let version = version(root, diagnostics)?;
    if let Some((at, why)) = http_api_mark(root) {
        let finding = at.report_key(
            Code::E023,
            format!("this document is for an HTTP API: {why}"),
        );
        diagnostics.push(
            finding
                .label("only HTTP APIs have this")
                .hint("Sluicegate serves REST APIs, which are the ones that stream; see `responseTransferMode`"),
        );
        return None;
    }
    Some(version)
}

/// Whether the value is an OpenAPI document or something that was meant as one, rather than `sluicegate.yaml`.
pub fn looks_like_definition(root: &Cursor<'_>) -> bool {
    [
        "openapi",
        "swagger",
        "paths",
        "Resources",
        "AWSTemplateFormatVersion",
    ]
    .iter()
    .any(|key| root.get(key).is_some())
}

fn is_template(root: &Cursor<'_>) -> bool {
    root.get("AWSTemplateFormatVersion").is_some()
        || root.get("Transform").is_some()
        || root
            .get("Resources")
            .is_some_and(|resources| resources.members().any(|(_, it)| it.get("Type").is_some()))
}

fn version(root: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Option<Version> {
    let supported = "supported are `openapi: 3.0.x`, `openapi: 3.1.x` and `swagger: \"2.0\"`";
    let said = root.get("openapi").or_else(|| root.get("swagger"));
    let Some(said) = said else {
        let finding = root.report_key(
            Code::E020,
            "this is not an OpenAPI document: it has no `openapi` or `swagger` key",
        );
        diagnostics.push(finding.hint(supported));
        return None;
    };
    let text = said.scalar().unwrap_or_default();
    let is_swagger = root.get("openapi").is_none();
    let found = match (is_swagger, text.as_str()) {
        // YAML reads an unquoted 2.0 as a number.
        (true, "2.0" | "2") => Some(Version::Swagger2),
        (false, text) if text.starts_with("3.0") || text.starts_with("3.1") => {
            Some(Version::OpenApi3)
        }
        _ => None,
    };
    if found.is_none() {
        let finding = said.report(
            Code::E021,
            format!("OpenAPI version `{text}` isn't supported"),
        );
        diagnostics.push(finding.label("unsupported version").hint(supported));
    }
    found
}

/// A part of the document that only HTTP APIs have.
fn http_api_mark<'a>(root: &Cursor<'a>) -> Option<(Cursor<'a>, &'static str)> {
    if let Some(cors) = root.get("x-amazon-apigateway-cors") {
        return Some((cors, "it has `x-amazon-apigateway-cors`"));
    }
    let paths = root.get("paths")?;
    for (path, item) in paths.members() {
        if path == "$default" || path == "/$default" {
            return Some((item, "it has the route `$default`"));
        }
        for (_, operation) in item.members() {
            let Some(integration) = operation.get("x-amazon-apigateway-integration") else {
                continue;
            };
            if let Some(subtype) = integration.get("integrationSubtype") {
                return Some((subtype, "an integration has `integrationSubtype`"));
            }
            let version = integration.get("payloadFormatVersion");
            if let Some(version) =
                version.filter(|version| version.scalar().as_deref() == Some("2.0"))
            {
                return Some((
                    version,
                    "an integration has `payloadFormatVersion: \"2.0\"`",
                ));
            }
        }
    }
    None
}
