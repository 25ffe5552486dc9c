//! Why a request was refused or broke, and the one table from there to the answer.
//!
//! Statuses, gateway response types and `x-amzn-ErrorType` values follow API Gateway (page "Gateway response types");
//! where AWS documents nothing, HTTP's own status is used.

use super::outcome::{Outcome, Side};

/// The kinds of gateway response that a document can customise (`x-amazon-apigateway-gateway-responses`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "AWS's own names, written as AWS writes them in `as_str`"
)]
pub enum ResponseType {
    AccessDenied,
    ApiConfigurationError,
    AuthorizerConfigurationError,
    AuthorizerFailure,
    BadRequestParameters,
    BadRequestBody,
    Default4xx,
    Default5xx,
    ExpiredToken,
    IntegrationFailure,
    IntegrationTimeout,
    InvalidApiKey,
    InvalidSignature,
    MissingAuthenticationToken,
    QuotaExceeded,
    RequestTooLarge,
    ResourceNotFound,
    Throttled,
    Unauthorized,
    UnsupportedMediaType,
    WafFiltered,
}

impl ResponseType {
    const NAMES: [(ResponseType, &'static str); 21] = [
        (ResponseType::AccessDenied, "ACCESS_DENIED"),
        (
            ResponseType::ApiConfigurationError,
            "API_CONFIGURATION_ERROR",
        ),
        (
            ResponseType::AuthorizerConfigurationError,
            "AUTHORIZER_CONFIGURATION_ERROR",
        ),
        (ResponseType::AuthorizerFailure, "AUTHORIZER_FAILURE"),
        (ResponseType::BadRequestParameters, "BAD_REQUEST_PARAMETERS"),
        (ResponseType::BadRequestBody, "BAD_REQUEST_BODY"),
        (ResponseType::Default4xx, "DEFAULT_4XX"),
        (ResponseType::Default5xx, "DEFAULT_5XX"),
        (ResponseType::ExpiredToken, "EXPIRED_TOKEN"),
        (ResponseType::IntegrationFailure, "INTEGRATION_FAILURE"),
        (ResponseType::IntegrationTimeout, "INTEGRATION_TIMEOUT"),
        (ResponseType::InvalidApiKey, "INVALID_API_KEY"),
        (ResponseType::InvalidSignature, "INVALID_SIGNATURE"),
        (
            ResponseType::MissingAuthenticationToken,
            "MISSING_AUTHENTICATION_TOKEN",
        ),
        (ResponseType::QuotaExceeded, "QUOTA_EXCEEDED"),
        (ResponseType::RequestTooLarge, "REQUEST_TOO_LARGE"),
        (ResponseType::ResourceNotFound, "RESOURCE_NOT_FOUND"),
        (ResponseType::Throttled, "THROTTLED"),
        (ResponseType::Unauthorized, "UNAUTHORIZED"),
        (ResponseType::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE"),
        (ResponseType::WafFiltered, "WAF_FILTERED"),
    ];

    /// AWS's name of the type.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<ResponseType> {
        Self::NAMES
            .iter()
            .find(|(_, text)| *text == name)
            .map(|(kind, _)| *kind)
    }

    /// All names, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(_, name)| *name)
    }
}

/// What went wrong. Each kind has one row in [`FaultKind::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No resource and method match; AWS answers 403 for both.
    NoRoute,
    /// No API answers for this host, stage or base path.
    NoApi,
    /// A malformed or ambiguous request head.
    BadHead,
    /// A transfer coding the gateway doesn't know.
    UnknownCoding,
    /// A request line longer than the limit.
    TargetTooLong,
    /// A header block over its limit.
    HeadTooLarge,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    BadVersion,
    /// A request head that didn't arrive in time.
    HeadTimeout,
    /// A request body that stopped arriving.
    BodyTimeout,
    /// A request body whose framing broke, or whose sender stopped in the middle.
    BadBody,
    /// The client closed the connection in the middle of its request body.
    ClientLeft,
    /// A request body over the limit.
    BodyTooLarge,
    /// An `Expect` other than `100-continue`.
    BadExpectation,
    /// The request came through this gateway before.
    Loop,
    /// A value of the request that can't be mapped where it should go.
    BadParameter,
    /// No template takes the request's content type.
    UnsupportedMediaType,
    /// Something the configuration asks for can't be done; AWS's `API_CONFIGURATION_ERROR`.
    Misconfigured,
    /// The method asks for a check that isn't enforced: it fails closed.
    NotEnforced,
    /// The integration's name doesn't resolve.
    Unresolvable,
    /// Connecting, TLS or the connection failed before a byte of the answer.
    Unreachable,
    /// The answer's head breaks HTTP or contradicts itself.
    BadAnswer,
    /// A buffered answer that broke off.
    AnswerTruncated,
    /// A buffered answer over the limit.
    AnswerTooLarge,
    /// A function's error, or a whole result that can't be a response.
    FunctionFailed,
    /// A streamed response without a valid prelude.
    BadPrelude,
    /// Lambda didn't take the call.
    InvokeRefused,
    /// `timeoutInMillis` ran out before the head.
    Deadline,
    /// The integration was silent for the idle limit before the head.
    Idle,
    /// Out of connections or descriptors.
    Overloaded,
    /// A shutdown's time was up before the head.
    Drained,
    /// An operator ended the request before the head.
    Terminated,
    /// A defect of the gateway.
    Panicked,
}

/// A row of the fault table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// HTTP status of the answer.
    pub status: u16,
    /// Which gateway response it is.
    pub response_type: ResponseType,
    /// The value of `x-amzn-ErrorType`.
    pub error_type: &'static str,
    /// `$context.error.message`.
    pub message: &'static str,
    /// Who is responsible.
    pub side: Side,
    /// The outcome in the record.
    pub outcome: Outcome,
    /// The word for it in logs and metrics, where nothing more precise is known.
    pub reason: &'static str,
}

const INTERNAL: &str = "Internal server error";
const SERVER_ERROR: &str = "InternalServerErrorException";
const BAD_REQUEST: &str = "BadRequestException";

impl FaultKind {
    /// Whether Lambda's own API said no.
    pub const fn is_refused_call(self) -> bool {
        matches!(self, FaultKind::InvokeRefused)
    }

    /// The fault table.
    #[rustfmt::skip]
    pub const fn row(self) -> Row {
        use FaultKind as K;
        use Outcome as O;
        use ResponseType as T;
        use Side as S;
        macro_rules! row {
            ($status:literal $kind:ident $error:expr, $message:expr; $side:ident $outcome:ident $reason:literal) => {
                Row { status: $status, response_type: T::$kind, error_type: $error, message: $message,
                      side: S::$side, outcome: O::$outcome, reason: $reason }
            };
        }
        match self {
            K::NoRoute => row!(403 MissingAuthenticationToken "MissingAuthenticationTokenException",
                               "Missing Authentication Token"; Client Refused "no_route"),
            K::NoApi => row!(403 AccessDenied "ForbiddenException", "Forbidden"; Client Refused "no_api"),
            K::BadHead => row!(400 Default4xx BAD_REQUEST, "Bad Request"; Client Refused "bad_head"),
            K::UnknownCoding => row!(501 Default5xx BAD_REQUEST, "Not Implemented"; Client Refused "unknown_coding"),
            K::TargetTooLong => row!(414 Default4xx BAD_REQUEST, "Request URI too long"; Client Refused "target_too_long"),
            K::HeadTooLarge => row!(431 Default4xx BAD_REQUEST, "Request Header Fields Too Large";
                                    Client Refused "head_too_large"),
            K::BadVersion => row!(505 Default5xx BAD_REQUEST, "HTTP Version Not Supported"; Client Refused "bad_version"),
            K::HeadTimeout => row!(408 Default4xx BAD_REQUEST, "Request Timeout"; Client Refused "head_timeout"),
            K::BodyTimeout => row!(408 Default4xx BAD_REQUEST, "Request Timeout"; Client Refused "body_timeout"),
            K::BadBody => row!(400 Default4xx BAD_REQUEST, "Bad Request"; Client Refused "bad_body"),
            K::ClientLeft => row!(400 Default4xx BAD_REQUEST, "Bad Request"; Client ClientLeft "client_left"),
            K::BodyTooLarge => row!(413 RequestTooLarge "RequestTooLargeException", "Request Too Long";
                                    Client Refused "body_too_large"),
            K::BadExpectation => row!(417 Default4xx BAD_REQUEST, "Expectation Failed"; Client Refused "bad_expectation"),
            K::Loop => row!(508 Default5xx BAD_REQUEST, "Loop Detected"; Gateway Refused "loop"),
            K::BadParameter => row!(400 Default4xx BAD_REQUEST, "Bad Request"; Client Refused "mapping_rejected"),
            K::UnsupportedMediaType => row!(415 UnsupportedMediaType BAD_REQUEST, "Unsupported Media Type";
                                            Client Refused "unsupported_media_type"),
            K::Misconfigured => row!(500 ApiConfigurationError SERVER_ERROR, INTERNAL; Gateway Refused "misconfigured"),
            // Recorded on AWS with a null message.
            K::NotEnforced => row!(500 AuthorizerConfigurationError "AuthorizerConfigurationException", "";
                                   Gateway Refused "not_enforced"),
            K::Unresolvable => row!(500 ApiConfigurationError SERVER_ERROR, INTERNAL;
                                    Integration IntegrationFailed "unresolvable"),
            K::Unreachable => row!(504 IntegrationFailure SERVER_ERROR, "Network error communicating with endpoint";
                                   Integration IntegrationFailed "unreachable"),
            K::BadAnswer => row!(502 IntegrationFailure SERVER_ERROR, INTERNAL;
                                 Integration IntegrationFailed "bad_answer"),
            K::AnswerTruncated => row!(502 IntegrationFailure SERVER_ERROR, INTERNAL;
                                       Integration IntegrationTruncated "truncated"),
            K::AnswerTooLarge => row!(500 ApiConfigurationError SERVER_ERROR, INTERNAL; Integration Limit "answer_too_large"),
            K::FunctionFailed => row!(502 Default5xx SERVER_ERROR, INTERNAL; Integration IntegrationFailed "function_failed"),
            K::BadPrelude => row!(500 Default5xx SERVER_ERROR, INTERNAL; Integration IntegrationFailed "bad_prelude"),
            K::InvokeRefused => row!(500 ApiConfigurationError SERVER_ERROR, INTERNAL;
                                     Integration IntegrationFailed "invoke_refused"),
            K::Deadline => row!(504 IntegrationTimeout SERVER_ERROR, "Endpoint request timed out";
                                Integration Deadline "deadline"),
            K::Idle => row!(504 IntegrationTimeout SERVER_ERROR, "Endpoint request timed out"; Integration Idle "idle"),
            K::Overloaded => row!(503 Default5xx "ServiceUnavailableException", "Service Unavailable";
                                  Gateway Refused "overloaded"),
            K::Drained => row!(503 Default5xx "ServiceUnavailableException", "Service Unavailable"; Gateway Drained "drained"),
            K::Terminated => row!(503 Default5xx "ServiceUnavailableException", "Service Unavailable";
                                  Gateway Terminated "terminated"),
            K::Panicked => row!(500 Default5xx SERVER_ERROR, INTERNAL; Gateway Refused "panicked"),
        }
    }
}

/// A fault of one request: its kind, the precise reason, and a sentence for the execution log.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which row of the table answers it.
    pub kind: FaultKind,
    /// A word for logs and metrics, from a closed set.
    pub reason: &'static str,
    /// What happened, for the people who operate the API or write its backend.
    pub detail: Box<str>,
}

impl Fault {
    /// A fault with its table's own reason.
    pub fn new(kind: FaultKind, detail: impl Into<Box<str>>) -> Fault {
        Fault {
            kind,
            reason: kind.row().reason,
            detail: detail.into(),
        }
    }

    /// A fault with a more precise reason.
    pub fn because(kind: FaultKind, reason: &'static str, detail: impl Into<Box<str>>) -> Fault {
        Fault {
            kind,
            reason,
            detail: detail.into(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

/// An error and all its causes in one line, since many libraries' errors show only their own level.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_ones_that_aws_documents() {
        for (kind, status, response_type) in [
            (FaultKind::NoRoute, 403, "MISSING_AUTHENTICATION_TOKEN"),
            (FaultKind::BodyTooLarge, 413, "REQUEST_TOO_LARGE"),
            (FaultKind::Misconfigured, 500, "API_CONFIGURATION_ERROR"),
            (FaultKind::Unreachable, 504, "INTEGRATION_FAILURE"),
            (FaultKind::Deadline, 504, "INTEGRATION_TIMEOUT"),
            (
                FaultKind::NotEnforced,
                500,
                "AUTHORIZER_CONFIGURATION_ERROR",
            ),
        ] {
            assert_eq!(
                (kind.row().status, kind.row().response_type.as_str()),
                (status, response_type)
            );
        }
    }

    #[test]
    fn response_types_are_found_by_aws_names() {
        for name in ResponseType::names() {
            assert_eq!(
                ResponseType::from_name(name).map(ResponseType::as_str),
                Some(name)
            );
        }
        assert_eq!(ResponseType::from_name("DEFAULT_3XX"), None);
    }
}
