//! The Lambda Runtime API of one execution environment (developer guide, "Using the Lambda runtime API").
//!
//! A response is passed on piece by piece, and only as fast as its client takes it: while a piece waits, the runtime's
//! socket isn't read. Its end, an error in its trailers, or its breaking off ends the invocation.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::{sleep, timeout};

use super::{
    call::{Call, Stage},
    environment::Environment,
    extension_api,
    failure::{Failure, error_json},
    replies::{
        Closed, Reply, accepted, error, invalid_request_id, invalid_state, json_reply, too_late,
    },
    response::{Passed, pass_on},
};
use crate::{
    config::{model::TransferMode, uri::function_name},
    lambda::output::FunctionError,
};

/// The most that a buffered invocation returns, in bytes (6 MB and what the error around it may take).
pub(super) const MOST_PAYLOAD: usize = 6 * 1024 * 1024 + 100;
/// What a runtime may send in vain before its connection is closed.
const MOST_DRAINED: usize = 64 * 1024 * 1024;
/// How long a broken connection waits for the news that its process has died.
const NEWS_OF_DEATH: Duration = Duration::from_millis(300);
/// How long the lines take that a function wrote before it answered.
const LAST_LINES: Duration = Duration::from_millis(5);

const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// Answers one request of the environment's processes.
pub(super) async fn answer(
    environment: Arc<Environment>,
    request: Request<Incoming>,
) -> Result<Reply, Closed> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (is_get, is_post) = (
        request.method() == Method::GET,
        request.method() == Method::POST,
    );
    match &*segments {
        ["2018-06-01", "runtime", "invocation", "next"] if is_get => next(&environment).await,
        ["2018-06-01", "runtime", "invocation", id, "response"] if is_post => {
            response(&environment, id, request).await
        }
        ["2018-06-01", "runtime", "invocation", id, "error"] if is_post => {
            invocation_error(&environment, id, request).await
        }
        ["2018-06-01", "runtime", "init", "error"] if is_post => {
            init_error(&environment, request).await
        }
        ["2018-06-01", "runtime", "restore", "next"] if is_get => {
            Ok(json_reply(StatusCode::OK, Bytes::new()))
        }
        ["2018-06-01", "ping"] if is_get => Ok(json_reply(StatusCode::OK, "\"pong\"")),
        ["2020-01-01", "extension", "register"] if is_post => {
            extension_api::register(&environment, request).await
        }
        ["2020-01-01", "extension", "event", "next"] if is_get => {
            extension_api::next(&environment, &request).await
        }
        ["2020-01-01", "extension", "init" | "exit", "error"] if is_post => {
            extension_api::failed(&environment, request).await
        }
        _ => Ok(error(
            StatusCode::NOT_FOUND,
            "NotFound",
            "this isn't in the Runtime API",
        )),
    }
}

// --- invocations

async fn next(environment: &Arc<Environment>) -> Result<Reply, Closed> {
    let Some((call, deadline)) = environment.next().await else {
        return Ok(invalid_state());
    };
    let invocation = &call.invocation;
    let (deadline, arn) = (deadline.0.to_string(), invoked_arn(environment, &call));
    let mut reply = json_reply(StatusCode::OK, call.take_event());
    let fields: [(&'static str, &[u8]); 6] = [
        ("lambda-runtime-aws-request-id", call.id.as_bytes()),
        ("lambda-runtime-deadline-ms", deadline.as_bytes()),
        ("lambda-runtime-invoked-function-arn", arn.as_bytes()),
        ("lambda-runtime-trace-id", &invocation.trace),
        (
            "lambda-runtime-client-context",
            invocation
                .client_context
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
        ),
        (INVOCATION_ID, call.nonce.as_bytes()),
    ];
    for (name, value) in fields {
        // What can't be a header's value is left out, as what is empty is.
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            reply
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    Ok(reply)
}

fn invoked_arn(environment: &Environment, call: &Call) -> String {
    let arn = &environment.pool.function.arn;
    let invocation = &call.invocation;
    let named = invocation.function.as_deref().map(function_name);
    let qualifier = invocation.qualifier.as_deref();
    match qualifier.or(named.and_then(|(_, qualifier)| qualifier)) {
        Some(qualifier) => format!("{arn}:{qualifier}"),
        None => arn.to_string(),
    }
}

/// The invocation that a runtime's request is about, or why it may not be.
#[expect(
    clippy::result_large_err,
    reason = "an answer is moved once, and rarely"
)]
fn find(environment: &Environment, id: &str, headers: &HeaderMap) -> Result<Arc<Call>, Reply> {
    let nonce = headers.get(INVOCATION_ID).map(HeaderValue::as_bytes);
    let Some(call) = environment.find(id, nonce) else {
        let is_late = environment.has_given_up(id);
        return Err(if is_late {
            too_late()
        } else {
            invalid_request_id()
        });
    };
    let is_meant = nonce.is_none_or(|nonce| nonce == call.nonce.as_bytes());
    match call.stage() {
        _ if !is_meant => Err(too_late()),
        Stage::Abandoned => Err(too_late()),
        Stage::Delivered => Ok(call),
        Stage::Waiting | Stage::Answering | Stage::Answered => Err(invalid_state()),
    }
}

async fn response(
    environment: &Arc<Environment>,
    id: &str,
    request: Request<Incoming>,
) -> Result<Reply, Closed> {
    let (head, body) = request.into_parts();
    let call = match find(environment, id, &head.headers) {
        Ok(call) => call,
        Err(reply) => return Ok(reply),
    };
    let mode = head.headers.get(RESPONSE_MODE).map(HeaderValue::as_bytes);
    if mode.is_some_and(|mode| !mode.eq_ignore_ascii_case(b"streaming")) {
        return Ok(invalid_mode(environment, &call));
    }
    let content_type = || {
        let value = head.headers.get(CONTENT_TYPE)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into())
    };
    let content_type = mode.map(|_| content_type().unwrap_or("application/octet-stream".into()));
    let is_bounded = call.invocation.mode == TransferMode::Buffered;
    let most = if is_bounded { MOST_PAYLOAD } else { usize::MAX };
    // A length that is known before the answer has begun leaves room for a better answer.
    if body
        .size_hint()
        .exact()
        .is_some_and(|length| length > most as u64)
    {
        return too_large(environment, &call, body).await;
    }
    if !call.begin(content_type) {
        return Ok(invalid_state());
    }
    match pass_on(&call, body, most).await {
        Passed::Whole(error) => {
            if call.invocation.wants_log {
                sleep(LAST_LINES).await;
            }
            // It may have been cut while its last piece was waiting.
            let is_first = environment.answered(&call, error, None);
            is_first.then(accepted).ok_or(Closed)
        }
        Passed::TooLarge(body) => too_large(environment, &call, body).await,
        Passed::Truncated => {
            let death = timeout(NEWS_OF_DEATH, environment.exit())
                .await
                .ok()
                .flatten();
            let failure = death.unwrap_or_else(Failure::truncated);
            environment.conclude(&call, call.fail(&failure));
            Err(Closed)
        }
        Passed::Over => Err(Closed),
    }
}

fn invalid_mode(environment: &Environment, call: &Call) -> Reply {
    let code = "Runtime.InvalidResponseModeHeader";
    let message = "Invalid function response mode";
    let failed = FunctionError {
        code: code.into(),
        details: message.into(),
    };
    environment.answered(call, Some(failed), Some(error_json(code, message)));
    error(
        StatusCode::BAD_REQUEST,
        "InvalidFunctionResponseMode",
        message,
    )
}

/// Reads on, so that the runtime reads the answer, which its fault is.
async fn too_large(
    environment: &Environment,
    call: &Call,
    body: Incoming,
) -> Result<Reply, Closed> {
    let code = "Function.ResponseSizeTooLarge";
    let details = format!(
        "Response payload size exceeded maximum allowed payload size ({MOST_PAYLOAD} bytes)."
    );
    let payload = error_json(code, &details);
    let failed = FunctionError {
        code: code.into(),
        details: details.into(),
    };
    environment.answered(call, Some(failed), Some(payload));
    drain(body).await;
    Ok(error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        &format!("Exceeded maximum allowed payload size ({MOST_PAYLOAD} bytes)."),
    ))
}

async fn drain(mut body: Incoming) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > MOST_DRAINED {
            return;
        }
    }
}

async fn invocation_error(
    environment: &Arc<Environment>,
    id: &str,
    request: Request<Incoming>,
) -> Result<Reply, Closed> {
    let (head, body) = request.into_parts();
    let call = match find(environment, id, &head.headers) {
        Ok(call) => call,
        Err(reply) => return Ok(reply),
    };
    let (body, error) = reported(&head.headers, body, "Unhandled").await?;
    if call.invocation.wants_log {
        sleep(LAST_LINES).await;
    }
    let is_first = environment.answered(&call, Some(error), Some(body));
    Ok(if is_first { accepted() } else { too_late() })
}

async fn init_error(
    environment: &Environment,
    request: Request<Incoming>,
) -> Result<Reply, Closed> {
    let (head, body) = request.into_parts();
    let (_, error) = reported(&head.headers, body, "Runtime.InitError").await?;
    if environment.init_failed(Failure::Init(error)) {
        Ok(accepted())
    } else {
        Ok(invalid_state())
    }
}

/// An error that a runtime reports: as it stands, and as the function's.
pub(super) async fn reported(
    headers: &HeaderMap,
    body: Incoming,
    default: &str,
) -> Result<(Bytes, FunctionError), Closed> {
    let body = Limited::new(body, MOST_PAYLOAD).collect().await;
    let body = body.map_err(|_| Closed)?.to_bytes();
    let error = FunctionError {
        code: error_type(headers).unwrap_or(default.into()),
        details: String::from_utf8_lossy(&body).into(),
    };
    Ok((body, error))
}

fn error_type(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(ERROR_TYPE)?.as_bytes();
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into())
}

/// The error in a streamed response's trailers: its type, and its JSON in base64.
pub(super) fn trailing_error(trailers: &HeaderMap) -> Option<FunctionError> {
    let body = trailers.get(ERROR_BODY).map(HeaderValue::as_bytes);
    let details = body.map(|body| {
        let decoded = STANDARD.decode(body).unwrap_or_else(|_| body.to_vec());
        String::from_utf8_lossy(&decoded).into()
    });
    match (error_type(trailers), details) {
        (None, None) => None,
        (code, details) => Some(FunctionError {
            code: code.unwrap_or("Unhandled".into()),
            details: details.unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        fields
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn an_error_in_trailers_is_decoded() {
        let error = trailing_error(&trailers(&[
            (ERROR_TYPE, "Function.Broken"),
            (ERROR_BODY, "eyJlcnJvclR5cGUiOiJFIn0="),
        ]));
        let expected = FunctionError {
            code: "Function.Broken".into(),
            details: r#"{"errorType":"E"}"#.into(),
        };
        assert_eq!(error, Some(expected));
        assert_eq!(trailing_error(&trailers(&[("x-other", "1")])), None);
        let plain = trailing_error(&trailers(&[(ERROR_BODY, "not base64!")])).unwrap();
        assert_eq!(
            (&*plain.code, &*plain.details),
            ("Unhandled", "not base64!")
        );
    }
}
