//! The formats of access logs that have a name.

/// The `json` preset: AWS's names where AWS has them, our own where it has none.
pub const JSON: &str = concat!(
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
pub const CLF: &str = concat!(
    "$context.identity.sourceIp $context.identity.caller $context.identity.user [$context.requestTime]",
    r#""$context.httpMethod $context.resourcePath $context.protocol" "#,
    "$context.status $context.responseLength $context.requestId $context.extendedRequestId"
);

/// The `text` preset: for eyes.
pub const TEXT: &str = concat!(
    "$context.sluicegate.requestTimeIso $context.httpMethod $context.path $context.status ",
    "$context.integration.responseTransferMode $context.sluicegate.outcome $context.sluicegate.reason ",
    "bytes=$context.responseLength ms=$context.responseLatency firstContent=$context.integration.timeToFirstContent ",
    "requestId=$context.requestId"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{template::Template, variable::Variable};

    #[test]
    fn they_compile_without_a_stranger() {
        for format in [JSON, CLF, TEXT] {
            let (template, unknown) = Template::compile(format);
            assert!(unknown.is_empty(), "{unknown:?}");
            assert!(template.mentions(Variable::RequestId));
        }
        serde_json::from_str::<serde_json::Value>(JSON).unwrap();
    }
}
