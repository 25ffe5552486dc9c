//! MOCK integrations, as people write them for CORS.

use http::StatusCode;

use super::api::Source;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        mapping::{self, SOURCE_FORMS, parse_source},
        model::{Integration, Mock, MockResponse, Passthrough},
        suggest::nearest,
    },
    types::{fields::is_token, template::Template, variable::Variable},
};

pub(super) fn build(
    source: &Source<'_>,
    integration: &Cursor<'_>,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Integration {
    let passthrough = integration
        .get("passthroughBehavior")
        .and_then(|it| it.scalar())
        .unwrap_or_default();
    let request = templates(
        integration.get("requestTemplates").as_ref(),
        Some(name),
        diagnostics,
    );
    let mut responses = Vec::new();
    let mut is_usable = request.is_some();
    for (pattern, said) in integration
        .get("responses")
        .iter()
        .flat_map(Cursor::members)
    {
        match response(source, pattern, &said, name, diagnostics) {
            Some(response) => responses.push(response),
            None => is_usable = false,
        }
    }
    if !is_usable {
        return Integration::Unusable(
            "its MOCK templates need VTL, or its responses are invalid".into(),
        );
    }
    Integration::Mock(Box::new(Mock {
        request_templates: request.unwrap_or_default(),
        passthrough: match passthrough.to_ascii_lowercase().as_str() {
            "never" => Passthrough::Never,
            "when_no_templates" => Passthrough::WhenNoTemplates,
            _ => Passthrough::WhenNoMatch,
        },
        responses,
    }))
}

fn response(
    source: &Source<'_>,
    pattern: &str,
    said: &Cursor<'_>,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<MockResponse> {
    let code = said
        .get("statusCode")
        .and_then(|code| code.scalar())
        .unwrap_or_else(|| "200".to_owned());
    let status = code
        .parse::<u16>()
        .ok()
        .filter(|code| (200..600).contains(code));
    let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) else {
        let finding = said.report_key(
            Code::E045,
            format!("`{code}` isn't a status a response can have"),
        );
        diagnostics.push(finding.of_method(Some(name)));
        return None;
    };
    let pattern = if pattern == "default" {
        None
    } else {
        Some(regex(pattern, said, name, diagnostics)?)
    };
    let templates = templates(
        said.get("responseTemplates").as_ref(),
        Some(name),
        diagnostics,
    )?;
    Some(MockResponse {
        pattern,
        status,
        headers: headers(source, said, name, diagnostics),
        templates,
    })
}

fn regex(
    pattern: &str,
    said: &Cursor<'_>,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<regex_lite::Regex> {
    match regex_lite::Regex::new(&format!("^(?:{pattern})$")) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let finding = said.report_key(
                Code::E045,
                format!("`{pattern}` isn't a regular expression: {error}"),
            );
            diagnostics.push(finding.of_method(Some(name)));
            None
        }
    }
}

fn headers(
    source: &Source<'_>,
    said: &Cursor<'_>,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Vec<(Box<str>, mapping::Source)> {
    let mut headers = Vec::new();
    for (target, value) in said
        .get("responseParameters")
        .iter()
        .flat_map(Cursor::members)
    {
        let header = target
            .strip_prefix("method.response.header.")
            .filter(|name| is_token(name.as_bytes()));
        let text = value.scalar().unwrap_or_default();
        // A mock has no answer of its own, so what would come from it is absent.
        let parsed = if text.starts_with("integration.response.") {
            Some(mapping::Source::Absent)
        } else {
            parse_source(&text, |name| source.stage_variable(name))
                .ok()
                .filter(|source| !source.is_from_client())
        };
        match (header, parsed) {
            (Some(header), Some(parsed)) => headers.push((header.into(), parsed)),
            (None, _) => {
                let finding =
                    value.report_key(Code::E038, format!("`{target}` can't be set in a response"));
                diagnostics.push(
                    finding
                        .label("expected `method.response.header.NAME`")
                        .of_method(Some(name)),
                );
            }
            (_, None) => {
                let finding = value.report(
                    Code::E038,
                    format!("`{text}` can't be read as a value of a response"),
                );
                diagnostics.push(finding.hint(SOURCE_FORMS).of_method(Some(name)));
            }
        }
    }
    headers
}

/// Templates by content type. `None` if one needs VTL; of a gateway response (`method` is `None`) such are left out.
pub(super) fn templates(
    said: Option<&Cursor<'_>>,
    method: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(Box<str>, Template)>> {
    let mut compiled = Vec::new();
    let mut is_usable = true;
    for (content_type, value) in said.into_iter().flat_map(Cursor::members) {
        let Some(text) = value.scalar() else { continue };
        if let Some(directive) = Template::directive(&text) {
            let finding = value.report(
                Code::E039,
                format!("this template needs VTL (`{directive}`), which isn't supported"),
            );
            let hint = "a template may hold text, `$context.…`, `$stageVariables.…` and `$method.request.…`";
            diagnostics.push(
                finding
                    .label("not emitted as text")
                    .hint(hint)
                    .of_method(method),
            );
            is_usable = false;
            continue;
        }
        let (template, unknown) = Template::compile(&text);
        for reference in unknown {
            let finding = value.report(
                Code::W118,
                format!(
                    "`{}` is not a variable: nothing is put in its place",
                    reference.reference
                ),
            );
            let variable = reference.reference.trim_start_matches("$context.");
            diagnostics.push(match nearest(variable, Variable::names()) {
                Some(meant) => finding.hint(format!("did you mean `$context.{meant}`?")),
                None => finding,
            });
        }
        compiled.push((content_type.to_ascii_lowercase().into(), template));
    }
    (is_usable || method.is_none()).then_some(compiled)
}
