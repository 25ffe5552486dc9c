//! The names of `$context` variables: AWS's, and our own under `$context.sluicegate`.

/// A `$context` variable whose name was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is the variable that `NAMES` gives it"
)]
pub enum Variable {
    AccountId,
    ApiId,
    BasePathMatched,
    CipherSuite,
    ClientCertificatePem,
    ClientCertificateIssuer,
    ClientCertificateNotAfter,
    ClientCertificateNotBefore,
    ClientCertificateSerial,
    ClientCertificateSubject,
    DeploymentId,
    DomainName,
    DomainPrefix,
    EndpointType,
    ErrorMessage,
    ErrorMessageString,
    ErrorResponseType,
    ExtendedRequestId,
    HttpMethod,
    IntegrationEndpointStatus,
    IntegrationError,
    IntegrationLatency,
    IntegrationRequestId,
    IntegrationStatus,
    Path,
    Protocol,
    RequestId,
    RequestTime,
    RequestTimeEpoch,
    ResourceId,
    ResourcePath,
    ResponseLatency,
    ResponseLength,
    ResponseTransferMode,
    SourceIp,
    Stage,
    Status,
    TimeToAllHeaders,
    TimeToFirstContent,
    TlsVersion,
    UserAgent,
    XrayTraceId,
    BilledUnits,
    Chunks,
    ClientBlockedTime,
    HttpVersion,
    IntegrationBlockedTime,
    LongestGap,
    Outcome,
    Reason,
    RequestTimeIso,
    Side,
    ThrottledTime,
    /// A name of AWS's that can't have a value here, or not yet: always absent.
    Absent,
}

/// Names after `$context.`, with the variable each one is.
const NAMES: &[(&str, Variable)] = &[
    ("accountId", Variable::AccountId),
    ("apiId", Variable::ApiId),
    ("cipherSuite", Variable::CipherSuite),
    ("customDomain.basePathMatched", Variable::BasePathMatched),
    ("deploymentId", Variable::DeploymentId),
    ("domainName", Variable::DomainName),
    ("domainPrefix", Variable::DomainPrefix),
    ("endpointType", Variable::EndpointType),
    ("error.message", Variable::ErrorMessage),
    ("error.messageString", Variable::ErrorMessageString),
    ("error.responseType", Variable::ErrorResponseType),
    ("extendedRequestId", Variable::ExtendedRequestId),
    ("httpMethod", Variable::HttpMethod),
    (
        "identity.clientCert.clientCertPem",
        Variable::ClientCertificatePem,
    ),
    (
        "identity.clientCert.issuerDN",
        Variable::ClientCertificateIssuer,
    ),
    (
        "identity.clientCert.serialNumber",
        Variable::ClientCertificateSerial,
    ),
    (
        "identity.clientCert.subjectDN",
        Variable::ClientCertificateSubject,
    ),
    (
        "identity.clientCert.validity.notAfter",
        Variable::ClientCertificateNotAfter,
    ),
    (
        "identity.clientCert.validity.notBefore",
        Variable::ClientCertificateNotBefore,
    ),
    ("identity.sourceIp", Variable::SourceIp),
    ("identity.userAgent", Variable::UserAgent),
    ("integration.error", Variable::IntegrationError),
    (
        "integration.integrationStatus",
        Variable::IntegrationEndpointStatus,
    ),
    ("integration.latency", Variable::IntegrationLatency),
    ("integration.requestId", Variable::IntegrationRequestId),
    (
        "integration.responseTransferMode",
        Variable::ResponseTransferMode,
    ),
    ("integration.status", Variable::IntegrationStatus),
    ("integration.timeToAllHeaders", Variable::TimeToAllHeaders),
    (
        "integration.timeToFirstContent",
        Variable::TimeToFirstContent,
    ),
    ("integrationErrorMessage", Variable::IntegrationError),
    ("integrationLatency", Variable::IntegrationLatency),
    ("integrationStatus", Variable::IntegrationEndpointStatus),
    ("path", Variable::Path),
    ("protocol", Variable::Protocol),
    ("requestId", Variable::RequestId),
    ("requestTime", Variable::RequestTime),
    ("requestTimeEpoch", Variable::RequestTimeEpoch),
    ("resourceId", Variable::ResourceId),
    ("resourcePath", Variable::ResourcePath),
    ("responseLatency", Variable::ResponseLatency),
    ("responseLength", Variable::ResponseLength),
    ("sluicegate.billedUnits", Variable::BilledUnits),
    ("sluicegate.chunks", Variable::Chunks),
    ("sluicegate.clientBlockedTime", Variable::ClientBlockedTime),
    ("sluicegate.httpVersion", Variable::HttpVersion),
    (
        "sluicegate.integrationBlockedTime",
        Variable::IntegrationBlockedTime,
    ),
    ("sluicegate.longestGap", Variable::LongestGap),
    ("sluicegate.outcome", Variable::Outcome),
    ("sluicegate.reason", Variable::Reason),
    ("sluicegate.requestTimeIso", Variable::RequestTimeIso),
    ("sluicegate.side", Variable::Side),
    ("sluicegate.throttledTime", Variable::ThrottledTime),
    ("stage", Variable::Stage),
    ("status", Variable::Status),
    ("tlsVersion", Variable::TlsVersion),
    ("xrayTraceId", Variable::XrayTraceId),
];

/// AWS's names that have no value here: what they describe doesn't exist, or isn't enforced yet.
const ABSENT: &[&str] = &[
    "authenticate.error",
    "authenticate.latency",
    "authenticate.status",
    "authorize.error",
    "authorize.latency",
    "authorize.status",
    "authorizer.error",
    "authorizer.integrationLatency",
    "authorizer.integrationStatus",
    "authorizer.latency",
    "authorizer.principalId",
    "authorizer.requestId",
    "authorizer.status",
    "awsEndpointRequestId",
    "customDomain.routingRuleIdMatched",
    "error.validationErrorString",
    "identity.accountId",
    "identity.apiKey",
    "identity.apiKeyId",
    "identity.caller",
    "identity.cognitoAuthenticationProvider",
    "identity.cognitoAuthenticationType",
    "identity.cognitoIdentityId",
    "identity.cognitoIdentityPoolId",
    "identity.principalOrgId",
    "identity.user",
    "identity.userArn",
    "identity.vpcId",
    "identity.vpceId",
    "isCanaryRequest",
    "waf.error",
    "waf.latency",
    "waf.status",
    "wafResponseCode",
    "webaclArn",
];

/// Names whose last part is the user's own.
const ABSENT_PREFIXES: &[&str] = &[
    "authorizer.",
    "authorizer.claims.",
    "requestOverride.",
    "responseOverride.",
];

impl Variable {
    /// The variable of this name (what follows `$context.`). Names are case-sensitive, as on AWS.
    pub fn from_name(name: &str) -> Option<Variable> {
        if let Ok(at) = NAMES.binary_search_by(|(known, _)| (*known).cmp(name)) {
            return NAMES.get(at).map(|(_, variable)| *variable);
        }
        let absent = ABSENT.contains(&name)
            || ABSENT_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix));
        absent.then_some(Variable::Absent)
    }

    /// All names with a value, for suggestions and docs.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_so_that_they_can_be_searched() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| *name));
        assert!(ABSENT.is_sorted());
    }
}
