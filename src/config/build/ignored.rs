//! What a document says to a proxy integration that has no effect there.

use super::integration::Building;
use crate::config::{
    codes::Code,
    diagnostics::{Diagnostic, Diagnostics},
    document::file::Cursor,
    model::TransferMode,
};

/// Tells what the proxy integration ignores.
pub(super) fn warn(building: &Building<'_>, diagnostics: &mut Diagnostics) {
    let findings = [
        ignored_key(building, "cacheNamespace"),
        ignored_key(building, "cacheKeyParameters"),
        request_templates(building),
        responses(building),
        compression(building),
    ];
    let findings = findings.into_iter().flatten();
    diagnostics.extend(findings.map(|finding| finding.of_method(Some(&building.name))));
}

fn is_stream(building: &Building<'_>) -> bool {
    building.mode == TransferMode::Stream
}

fn ignored_key(building: &Building<'_>, key: &str) -> Option<Diagnostic> {
    let cache = building.integration.get(key)?;
    let is_empty = cache.value.as_array().is_some_and(Vec::is_empty);
    // Every exported document has a namespace, caching or not: it alone says nothing.
    let is_telling = is_stream(building) || key == "cacheKeyParameters";
    let why = if is_stream(building) {
        "streamed responses are never cached"
    } else {
        "responses aren't cached here"
    };
    let message = format!("`{key}` has no effect: {why}");
    (is_telling && !is_empty).then(|| cache.report_key(Code::W104, message))
}

fn request_templates(building: &Building<'_>) -> Option<Diagnostic> {
    let templates = building.integration.get("requestTemplates")?;
    templates.members().next()?;
    let message = "a proxy integration ignores `requestTemplates`: the request passes as it is";
    let finding = templates.report_key(Code::W105, message);
    Some(finding.hint("remove them, or prepare the request in the backend"))
}

fn responses(building: &Building<'_>) -> Option<Diagnostic> {
    let has_mapping = |response: &Cursor<'_>| {
        ["responseTemplates", "responseParameters"]
            .iter()
            .any(|key| response.get(key).is_some())
    };
    let responses = building.integration.get("responses")?;
    responses
        .members()
        .find(|(_, response)| has_mapping(response))?;
    let message = "a proxy integration ignores `responses`: the backend's response passes as it is";
    Some(
        responses
            .report_key(Code::W108, message)
            .hint("set the headers in the backend"),
    )
}

fn compression(building: &Building<'_>) -> Option<Diagnostic> {
    const KEY: &str = "x-amazon-apigateway-minimum-compression-size";
    building.root.get(KEY).filter(|_| is_stream(building))?;
    let at = building.integration.get("responseTransferMode")?;
    let message = format!("`{KEY}` doesn't apply to streamed responses");
    Some(
        at.report_key(Code::W103, message)
            .hint("compress in the backend, and flush after each part"),
    )
}

/// Tells that a stream without its own timeout is cut early, which surprises everyone.
pub(super) fn warn_of_default_deadline(building: &Building<'_>, diagnostics: &mut Diagnostics) {
    if building.mode != TransferMode::Stream || building.has_timeout {
        return;
    }
    let integration = &building.integration;
    let at = integration
        .get("responseTransferMode")
        .unwrap_or_else(|| integration.clone());
    let message = format!(
        "`{}` streams, but without `timeoutInMillis` every stream is cut after 29 seconds, as on AWS",
        building.name
    );
    let hint = "set `timeoutInMillis`, up to 900000 (15 minutes) for STREAM";
    diagnostics.push(building.report(&at, Code::W101, message).hint(hint));
}
