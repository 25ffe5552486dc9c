//! What the Runtime API and the Extensions API answer.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use serde_json::json;

/// An answer to a runtime.
pub(super) type Reply = Response<Full<Bytes>>;

/// Closes a runtime's connection in place of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the invocation is over")]
pub(super) struct Closed;

/// A JSON answer.
pub(super) fn json_reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    reply
}

/// `202 {"status":"OK"}`.
pub(super) fn accepted() -> Reply {
    json_reply(StatusCode::ACCEPTED, r#"{"status":"OK"}"#)
}

/// An error of the API's own.
pub(super) fn error(status: StatusCode, error_type: &str, message: &str) -> Reply {
    let body = json!({"errorMessage": message, "errorType": error_type});
    json_reply(status, body.to_string())
}

/// The request id is of no invocation that runs here.
pub(super) fn invalid_request_id() -> Reply {
    error(
        StatusCode::BAD_REQUEST,
        "InvalidRequestID",
        "Invalid request ID",
    )
}

/// The answer comes when it isn't its turn.
pub(super) fn invalid_state() -> Reply {
    error(
        StatusCode::FORBIDDEN,
        "InvalidStateTransition",
        "Transition is not allowed: the invocation was answered before, or has none to answer",
    )
}

/// The answer comes too late.
pub(super) fn too_late() -> Reply {
    error(StatusCode::GONE, "InvokeTimeout", "Invoke timeout")
}
