//! MOCK integrations, as people write them for CORS.

use http::StatusCode;

use super::{integration::Building, text::Reader};
use crate::config::{
    codes::Code,
    diagnostics::Diagnostics,
    document::file::Cursor,
    model::{Integration, Mock, MockResponse, Passthrough},
};

const FORMS: &str = "expected `'static text'`, `context.NAME` or `stageVariables.NAME`; a mock has no other answer to \
    take a value from";

/// Bytes of a compiled pattern. A few characters, such as `(a{1000}){1000}`, can ask for any number of them.
const MOST_REGEX_BYTES: usize = 1024 * 1024;

pub(super) fn build(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    let reader = building.reader();
    let integration = &building.integration;
    let request = reader.templates(integration.get("requestTemplates").as_ref(), diagnostics);
    let said = integration.get("responses");
    if said
        .as_ref()
        .is_none_or(|said| said.members().next().is_none())
    {
        let finding = building.report_whole(
            Code::E045,
            "a MOCK integration without `responses` has no answer",
        );
        diagnostics.push(finding.hint("add `responses: { default: { statusCode: \"200\" } }`"));
        return Integration::Unusable("its MOCK integration has no responses".into());
    }
    let mut responses = Vec::new();
    let mut is_usable = request.is_some();
    for (pattern, said) in said.iter().flat_map(Cursor::members) {
        match response(building, &reader, pattern, &said, diagnostics) {
            Some(response) => responses.push(response),
            None => is_usable = false,
        }
    }
    let Some(passthrough) = passthrough(building, diagnostics) else {
        return Integration::Unusable("its passthroughBehavior is unknown".into());
    };
    if !is_usable {
        return Integration::Unusable(
            "its MOCK templates need VTL, or its responses are invalid".into(),
        );
    }
    if request.as_ref().is_some_and(Vec::is_empty) {
        let message = "without `requestTemplates` nothing gives this MOCK its status: it is answered 500, as on AWS";
        let finding = building.report_whole(Code::W124, message);
        diagnostics.push(
            finding.hint("add `requestTemplates: { application/json: '{\"statusCode\": 200}' }`"),
        );
    }
    Integration::Mock(Box::new(Mock {
        request_templates: request.unwrap_or_default(),
        passthrough,
        responses,
    }))
}

fn passthrough(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Option<Passthrough> {
    let Some(said) = building.integration.get("passthroughBehavior") else {
        return Some(Passthrough::WhenNoMatch);
    };
    match said
        .scalar()
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "never" => Some(Passthrough::Never),
        "when_no_templates" => Some(Passthrough::WhenNoTemplates),
        "when_no_match" => Some(Passthrough::WhenNoMatch),
        _ => {
            let message = format!("{} isn't a passthrough behaviour", said.value);
            let finding = building.report(&said, Code::E045, message);
            diagnostics
                .push(finding.label("expected `when_no_match`, `when_no_templates` or `never`"));
            None
        }
    }
}

fn response(
    building: &Building<'_>,
    reader: &Reader<'_>,
    pattern: &str,
    said: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<MockResponse> {
    let pattern = match pattern {
        "default" => None,
        text => Some(regex(building, text, said, diagnostics)?),
    };
    let status = status(building, said, diagnostics)?;
    let templates = reader.templates(said.get("responseTemplates").as_ref(), diagnostics)?;
    let is_fixed = |source: &crate::config::mapping::Source| !source.is_from_client();
    let forms = (Code::E038, FORMS);
    let headers = reader.headers(
        said,
        "method.response.header.",
        forms,
        is_fixed,
        diagnostics,
    );
    Some(MockResponse {
        pattern,
        status,
        headers,
        templates,
    })
}

fn status(
    building: &Building<'_>,
    said: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<StatusCode> {
    let Some(code) = said.get("statusCode") else {
        return Some(StatusCode::OK);
    };
    let text = code.scalar().unwrap_or_default();
    let status = text
        .parse::<u16>()
        .ok()
        .filter(|code| (200..600).contains(code));
    if status.is_none() {
        let message = format!("`{text}` isn't a status that a response can have");
        diagnostics.push(
            building
                .report(&code, Code::E045, message)
                .label("expected 200 to 599"),
        );
    }
    StatusCode::from_u16(status?).ok()
}

fn regex(
    building: &Building<'_>,
    pattern: &str,
    said: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<regex_lite::Regex> {
    let whole = format!("^(?:{pattern})$");
    let compiled = regex_lite::RegexBuilder::new(&whole)
        .size_limit(MOST_REGEX_BYTES)
        .build();
    match compiled {
        Ok(regex) => Some(regex),
        Err(error) => {
            let message = format!("`{pattern}` can't be used as a regular expression: {error}");
            let finding = said.report_key(Code::E045, message);
            diagnostics.push(finding.of_method(Some(&building.name)));
            None
        }
    }
}
