//! Lambda's answer to a call: an output, a refusal, or something that isn't Lambda's.

use std::future::poll_fn;

use bytes::BytesMut;
use http::StatusCode;
use serde_json::Value;

use super::EventStream;
use crate::{
    config::model::TransferMode,
    lambda::{
        event_stream,
        invocation::{InvokeFault, Refusal},
        output::{Completion, FunctionError, Invoked, Output},
    },
    stream::{arena::READ, source::Source as _},
    types::{
        fault::{Fault, FaultKind},
        fields::{Fields, is_token},
    },
    upstream::answer::{Answer, Body},
};

/// Bytes of a refusal that are read.
const MOST_REFUSAL: usize = 64 * 1024;

/// Judges an answer by its head, and reads the body of a refusal.
pub(super) async fn read(answer: Answer, mode: TransferMode) -> Result<Invoked, InvokeFault> {
    let Answer { head, body } = answer;
    if head.status.is_client_error() || head.status.is_server_error() {
        return Err(InvokeFault::Refused(
            refusal(head.status, &head.fields, body).await,
        ));
    }
    if head.status != StatusCode::OK {
        return Err(unexpected(format!(
            "the Lambda endpoint answered {} where 200 was expected",
            head.status.as_u16()
        )));
    }
    let fields = &head.fields;
    let version = text(fields, "X-Amz-Executed-Version").unwrap_or_else(|| "$LATEST".into());
    let output = match mode {
        TransferMode::Buffered => Output::whole(body, completion(fields)),
        TransferMode::Stream => {
            check_content_type(fields)?;
            Output::stream(EventStream::new(body))
        }
    };
    Ok(Invoked {
        content_type: None,
        version,
        output,
    })
}

fn unexpected(detail: String) -> InvokeFault {
    InvokeFault::Failed(Fault::new(FaultKind::BadAnswer, detail))
}

fn check_content_type(fields: &Fields) -> Result<(), InvokeFault> {
    let said = text(fields, "Content-Type").unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(event_stream::CONTENT_TYPE) {
        return Ok(());
    }
    Err(unexpected(format!(
        "the Lambda endpoint answered `InvokeWithResponseStream` with content of type `{said}` in place of `{}`; \
         it may not be able to stream",
        event_stream::CONTENT_TYPE
    )))
}

/// What the head of an `Invoke` answer says about the invocation's end. The error itself is the body.
fn completion(fields: &Fields) -> Completion {
    let error = text(fields, "X-Amz-Function-Error").map(|code| FunctionError {
        code,
        details: Box::default(),
    });
    let log = fields
        .named(b"X-Amz-Log-Result")
        .next()
        .and_then(event_stream::decode_log);
    Completion { error, log }
}

/// A refusal in Lambda's words: its type in a field or in the JSON, its message in the JSON.
async fn refusal(status: StatusCode, fields: &Fields, body: Body) -> Refusal {
    let body = beginning(body).await;
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let member = |names: &[&str]| {
        let found = names.iter().find_map(|name| json.get(name)?.as_str());
        found.map(Box::<str>::from)
    };
    let said = text(fields, "x-amzn-ErrorType").or_else(|| member(&["__type", "code"]));
    // It is told to clients in a header, where a name in JSON may not fit.
    let error_type = said
        .map(|said| bare(&said))
        .filter(|name| is_token(name.as_bytes()))
        .unwrap_or_else(|| usual_type(status).into());
    let message = member(&["message", "Message"]).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body);
        text.trim().chars().take(200).collect::<String>().into()
    });
    Refusal {
        status: status.as_u16(),
        error_type,
        message,
        reason: member(&["Reason"]),
    }
}

/// `Name` of `namespace#Name:http://…`, as the protocol has clients read it.
fn bare(error_type: &str) -> Box<str> {
    let name = error_type.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().trim().into()
}

fn usual_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        413 => "RequestTooLargeException",
        429 => "TooManyRequestsException",
        400..500 => "InvalidParameterValueException",
        _ => "ServiceException",
    }
}

/// What a body begins with; what comes after, and why it ended, doesn't matter.
async fn beginning(mut body: Body) -> BytesMut {
    let mut whole = BytesMut::new();
    while let Some(Ok(more)) = poll_fn(|cx| body.poll_payload(cx, READ)).await {
        whole.extend_from_slice(&more);
        if whole.len() >= MOST_REFUSAL {
            whole.truncate(MOST_REFUSAL);
            break;
        }
    }
    whole
}

fn text(fields: &Fields, name: &str) -> Option<Box<str>> {
    let value = fields.named(name.as_bytes()).next()?;
    Some(String::from_utf8_lossy(value).into())
}
