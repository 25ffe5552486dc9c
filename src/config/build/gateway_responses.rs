//! `x-amazon-apigateway-gateway-responses`: what faults are answered with.

use http::StatusCode;

use super::{api::Source, mock::templates};
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        mapping::{self, SOURCE_FORMS, parse_source},
        model::{GatewayResponse, GatewayResponses},
        suggest::nearest,
    },
    types::fault::ResponseType,
};

const KEY: &str = "x-amazon-apigateway-gateway-responses";

pub(super) fn build(
    source: &Source<'_>,
    root: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> GatewayResponses {
    let mut responses = GatewayResponses::default();
    for (name, said) in root.get(KEY).iter().flat_map(Cursor::members) {
        let Some(response_type) = ResponseType::from_name(name) else {
            let finding = said.report_key(
                Code::E043,
                format!("there is no gateway response type `{name}`"),
            );
            let meant = nearest(name, ResponseType::names());
            diagnostics.push(match meant {
                Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
                None => finding.hint("see AWS's page \"Gateway response types for API Gateway\""),
            });
            continue;
        };
        let response = GatewayResponse {
            status: status(&said, diagnostics),
            headers: headers(source, &said, diagnostics),
            templates: templates(said.get("responseTemplates").as_ref(), None, diagnostics)
                .unwrap_or_default(),
        };
        responses.by_type.push((response_type, response));
    }
    responses
}

fn status(said: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Option<StatusCode> {
    let status = said.get("statusCode")?;
    let code = status
        .scalar()
        .and_then(|text| text.parse::<u16>().ok())
        .filter(|code| (100..600).contains(code));
    if code.is_none() {
        diagnostics.push(
            status
                .report(Code::E043, "this isn't an HTTP status")
                .label("expected 100 to 599"),
        );
    }
    code.and_then(|code| StatusCode::from_u16(code).ok())
}

fn headers(
    source: &Source<'_>,
    said: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<(Box<str>, mapping::Source)> {
    let mut headers = Vec::new();
    for (target, value) in said
        .get("responseParameters")
        .iter()
        .flat_map(Cursor::members)
    {
        let name = target
            .strip_prefix("gatewayresponse.header.")
            .filter(|name| crate::types::fields::is_token(name.as_bytes()));
        let text = value.scalar().unwrap_or_default();
        let parsed = parse_source(&text, |name| source.stage_variable(name))
            .ok()
            .filter(|source| !source.is_body());
        match (name, parsed) {
            (Some(name), Some(parsed)) => headers.push((name.into(), parsed)),
            (None, _) => {
                let finding = value.report_key(
                    Code::E043,
                    format!("`{target}` can't be set in a gateway response"),
                );
                diagnostics.push(finding.label("expected `gatewayresponse.header.NAME`"));
            }
            (_, None) => {
                let finding =
                    value.report(Code::E043, format!("`{text}` can't be read as a value"));
                diagnostics.push(finding.hint(SOURCE_FORMS));
            }
        }
    }
    headers
}
