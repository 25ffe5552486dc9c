//! Access logs: the presets, and formats of the user's own.

use std::path::Path;

use super::text::unknown_variable;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::{file::Cursor, settings as said},
        model::{AccessLog, LogSink},
    },
    types::{template::Template, variable::Variable},
};

/// The `json` preset: AWS's names where AWS has them, our own where it has none.
const JSON_FORMAT: &str = concat!(
    r#"{"requestTime":"$context.sluicegate.requestTimeIso","requestId":"$context.requestId","#,
    r#""extendedRequestId":"$context.extendedRequestId","ip":"$context.identity.sourceIp","#,
    r#""httpMethod":"$context.httpMethod","path":"$context.path","resourcePath":"$context.resourcePath","#,
    r#""domainName":"$context.domainName","apiId":"$context.apiId","stage":"$context.stage","#,
    r#""protocol":"$context.sluicegate.httpVersion","userAgent":"$context.identity.userAgent","#,
    r#""status":"$context.status","responseLength":"$context.responseLength","#,
    r#""responseLatency":"$context.responseLatency","integrationStatus":"$context.integration.status","#,
    r#""integrationLatency":"$context.integration.latency","#,
    r#""responseTransferMode":"$context.integration.responseTransferMode","#,
    r#""timeToAllHeaders":"$context.integration.timeToAllHeaders","#,
    r#""timeToFirstContent":"$context.integration.timeToFirstContent","#,
    r#""outcome":"$context.sluicegate.outcome","side":"$context.sluicegate.side","#,
    r#""reason":"$context.sluicegate.reason","error":"$context.error.message","#,
    r#""errorType":"$context.error.responseType","integrationError":"$context.integration.error","#,
    r#""chunks":"$context.sluicegate.chunks","longestGap":"$context.sluicegate.longestGap","#,
    r#""throttledTime":"$context.sluicegate.throttledTime","#,
    r#""clientBlockedTime":"$context.sluicegate.clientBlockedTime","#,
    r#""integrationBlockedTime":"$context.sluicegate.integrationBlockedTime","#,
    r#""billedUnits":"$context.sluicegate.billedUnits","xrayTraceId":"$context.xrayTraceId"}"#
);

/// The `clf` preset, as API Gateway's console offers it.
const CLF_FORMAT: &str = concat!(
    "$context.identity.sourceIp $context.identity.caller $context.identity.user [$context.requestTime]",
    r#""$context.httpMethod $context.resourcePath $context.protocol" "#,
    "$context.status $context.responseLength $context.requestId $context.extendedRequestId"
);

/// The access log of a gateway that says nothing about it.
pub(super) fn standard() -> AccessLog {
    preset(LogSink::Stdout, JSON_FORMAT)
}

/// The access log that settings ask for. Files are relative to `base`; `at` is where the format stands.
pub(super) fn build(
    said: &said::AccessLog,
    base: &Path,
    at: Option<&Cursor<'_>>,
    diagnostics: &mut Diagnostics,
) -> AccessLog {
    let sink = match said.path.as_deref() {
        None | Some("stdout" | "-") => LogSink::Stdout,
        Some("none") => LogSink::None,
        Some(path) => LogSink::File(base.join(path)),
    };
    let text = match said.format.as_deref() {
        None | Some("json") => return preset(sink, JSON_FORMAT),
        Some("clf") => return preset(sink, CLF_FORMAT),
        Some(text) => text,
    };
    let (format, unknown) = Template::compile(text.trim_end());
    for reference in unknown {
        if let Some(at) = at {
            diagnostics.push(unknown_variable(at, &reference.reference));
        }
    }
    let has_id = [Variable::RequestId, Variable::ExtendedRequestId]
        .iter()
        .any(|id| format.mentions(*id));
    if let Some(at) = at.filter(|_| !has_id) {
        let message = "API Gateway refuses an access log format without a request id";
        let hint = "add `$context.requestId` or `$context.extendedRequestId`";
        diagnostics.push(at.report(Code::W121, message).hint(hint));
    }
    AccessLog { sink, format }
}

fn preset(sink: LogSink, format: &str) -> AccessLog {
    AccessLog {
        sink,
        format: Template::compile(format).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_compile_without_a_stranger() {
        for format in [JSON_FORMAT, CLF_FORMAT] {
            let (template, unknown) = Template::compile(format);
            assert!(unknown.is_empty(), "{unknown:?}");
            assert!(template.mentions(Variable::RequestId));
        }
        serde_json::from_str::<serde_json::Value>(JSON_FORMAT).unwrap();
    }
}
