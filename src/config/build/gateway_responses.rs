//! `x-amazon-apigateway-gateway-responses`: what faults are answered with.

use http::StatusCode;

use super::{api::Source, text::Reader};
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        model::{GatewayResponse, GatewayResponses},
        suggest::nearest,
    },
    types::fault::ResponseType,
};

const KEY: &str = "x-amazon-apigateway-gateway-responses";
const FORMS: &str = "expected `'static text'`, `context.NAME`, `stageVariables.NAME` or \
    `method.request.{header|querystring|path}.NAME`";

pub(super) fn build(
    source: &Source<'_>,
    root: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> GatewayResponses {
    let reader = Reader {
        source,
        method: None,
    };
    let mut responses = GatewayResponses::default();
    for (name, said) in root.get(KEY).iter().flat_map(Cursor::members) {
        let Some(response_type) = ResponseType::from_name(name) else {
            let message = format!("there is no gateway response type `{name}`");
            let finding = said.report_key(Code::E043, message);
            diagnostics.push(match nearest(name, ResponseType::names()) {
                Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
                None => finding.hint("see AWS's page \"Gateway response types for API Gateway\""),
            });
            continue;
        };
        let response = GatewayResponse {
            status: status(&said, diagnostics),
            headers: reader.headers(
                &said,
                "gatewayresponse.header.",
                (Code::E043, FORMS),
                |source| !source.is_body(),
                diagnostics,
            ),
            templates: reader
                .templates(said.get("responseTemplates").as_ref(), diagnostics)
                .unwrap_or_default(),
        };
        responses.by_type.push((response_type, response));
    }
    responses
}

fn status(said: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Option<StatusCode> {
    let status = said.get("statusCode")?;
    let code = status.scalar().and_then(|text| text.parse::<u16>().ok());
    let code = code.filter(|code| (200..600).contains(code));
    if code.is_none() {
        let finding = status.report(Code::E043, "this isn't a status that a response can have");
        diagnostics.push(finding.label("expected 200 to 599"));
    }
    code.and_then(|code| StatusCode::from_u16(code).ok())
}
