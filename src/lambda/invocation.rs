//! One invocation of a function, and why there may be none.

use bytes::Bytes;

use crate::{
    config::model::TransferMode,
    types::{fault::Fault, ids::RequestId},
};

/// What a function is invoked with.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The event, as JSON.
    pub event: Bytes,
    /// `BUFFERED` for Invoke, `STREAM` for `InvokeWithResponseStream`. It never reaches the function, which streams or
    /// doesn't as it was written.
    pub mode: TransferMode,
    /// The request id that the function sees.
    pub request_id: RequestId,
    /// The value of `X-Amzn-Trace-Id`.
    pub trace: Box<[u8]>,
    /// The client context as JSON, decoded from `X-Amz-Client-Context`.
    pub client_context: Option<Box<str>>,
    /// The function as its caller named it, such as the ARN in an integration's URI.
    pub function: Option<Box<str>>,
    /// The version or alias, if the caller named it apart.
    pub qualifier: Option<Box<str>>,
    /// Whether the end of the function's log is wanted with its output (`X-Amz-Log-Type: Tail`).
    pub wants_log: bool,
    /// Whether the function runs on when nobody takes its output any more, as on AWS. If not, it is cancelled when the
    /// [`Output`](super::output::Output) is dropped before its end.
    pub runs_on: bool,
    /// The API's side of the call, for AWS: `X-Amz-Source-Arn` and `x-amzn-apigateway-api-id`.
    pub source: Option<Source>,
}

/// Which API invokes a function.
#[derive(Clone, Debug)]
pub struct Source {
    /// `arn:aws:execute-api:{region}:{account}:{api}/{stage}/{METHOD}{resource path}`.
    pub arn: Box<str>,
    /// The API's id.
    pub api_id: Box<str>,
}

/// Why a function wasn't run.
#[derive(Debug)]
pub enum InvokeFault {
    /// Lambda refused the call.
    Refused(Refusal),
    /// The call didn't get an answer: no connection, no credentials, a malformed answer.
    Failed(Fault),
}

/// Lambda's answer to a call that it doesn't take (API reference, "Invoke", errors).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// `x-amzn-ErrorType`, such as `TooManyRequestsException`.
    pub error_type: Box<str>,
    /// The message.
    pub message: Box<str>,
    /// `Reason`, such as `ReservedFunctionConcurrentInvocationLimitExceeded`.
    pub reason: Option<Box<str>>,
}

impl Refusal {
    /// A refusal with Lambda's words for it.
    pub fn new(
        status: u16,
        error_type: impl Into<Box<str>>,
        message: impl Into<Box<str>>,
    ) -> Refusal {
        Refusal {
            status,
            error_type: error_type.into(),
            message: message.into(),
            reason: None,
        }
    }

    /// The same with a `Reason`.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Refusal {
        self.reason = Some(reason.into());
        self
    }
}
