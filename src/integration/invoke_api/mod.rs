//! The Lambda API's `Invoke` and `InvokeWithResponseStream`, for SDKs and tools (Lambda API reference).
//!
//! Signatures are accepted and not looked at: who reaches the listener may invoke its functions.

mod background;
mod events;
mod operation;
mod options;
mod refusal;

use std::{future::poll_fn, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;
use serde_json::json;

pub use events::Events;
pub use operation::Operation;
pub use refusal::{of_fault as refused, unknown_operation};

use super::{
    function::{Answered, Call, Direct, HEAVY, MOST_EVENT, Refused, TOO_LARGE, trace, whole},
    gather,
    payload::Payload,
    under_clocks,
};
use crate::{
    config::model::TransferMode,
    lambda::{
        invocation::{Invocation, InvokeFault, Refusal},
        output::{Completion, FunctionError, Invoked},
    },
    stream::{arena::READ, clocks::Clocks, request_body::RequestBody, shaper::Bandwidth},
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
        target::is_direct,
    },
};
use options::{InvocationType, Options};

/// Bytes of an event that nobody waits for (page "Lambda quotas").
const MOST_ASYNCHRONOUS: usize = 1024 * 1024;
/// One call of the API.
#[derive(Debug)]
pub struct Invoke<'a> {
    /// What is asked for.
    pub operation: &'a Operation,
    /// The function, if there is one of that name.
    pub direct: Option<&'a Arc<Direct>>,
    /// What the ARN of one that isn't there would be.
    pub arn: String,
}

impl Invoke<'_> {
    /// Answers a call.
    pub async fn call(
        &self,
        context: &mut Context,
        body: RequestBody,
        clocks: &Arc<Clocks>,
    ) -> Result<Answered, Refused> {
        let answered = self.answer(context, body, clocks).await;
        let mut answered = answered.inspect_err(|refused| {
            context.integration.error = Some(refused.fault.detail.clone());
        })?;
        let (Answered::Whole(status, fields, _) | Answered::Stream(status, fields, ..)) =
            &mut answered;
        context.integration.status = Some(status.as_u16());
        fields.push_known(Known::XAmznTraceId, b"X-Amzn-Trace-Id", &trace(context));
        Ok(answered)
    }

    async fn answer(
        &self,
        context: &mut Context,
        mut body: RequestBody,
        clocks: &Arc<Clocks>,
    ) -> Result<Answered, Refused> {
        refuse_pages(&context.head.authority, &context.head.fields)?;
        let operation = self.operation;
        let Some(direct) = self.direct else {
            return Err(refusal::no_function(&operation.not_found(&self.arn)));
        };
        if operation.is_contradictory {
            return Err(refusal::bad_call(&Refusal::new(
                400,
                "InvalidParameterValueException",
                "The derived qualifier from the function name does not match the specified qualifier.",
            )));
        }
        let options = Options::read(&context.head.fields, operation.mode);
        let options = options.map_err(|refusal| refusal::bad_call(&refusal))?;
        direct.begin(context, clocks);
        let event = read_event(&mut body, options.invocation_type, clocks).await?;
        let kind = options.invocation_type;
        let call = Call {
            event,
            mode: operation.mode,
            client_context: options.client_context,
            qualifier: operation.qualifier.clone(),
            wants_log: options.wants_log,
            runs_on: kind == InvocationType::Event || !direct.function.is_local(),
        };
        match (kind, operation.mode) {
            (InvocationType::DryRun, _) => Ok(Answered::Whole(
                StatusCode::NO_CONTENT,
                Fields::default(),
                Bytes::new(),
            )),
            (InvocationType::Event, _) => in_background(context, direct, call),
            (_, TransferMode::Buffered) => respond(context, direct, call, clocks).await,
            (_, TransferMode::Stream) => stream(context, direct, call, clocks).await,
        }
    }
}

/// Takes a call that nobody waits for.
fn in_background(
    context: &mut Context,
    direct: &Arc<Direct>,
    call: Call,
) -> Result<Answered, Refused> {
    let invocation = direct.invocation(context, call);
    let direct = direct.clone();
    if !background::run(async move { run(&direct, invocation).await }) {
        let refusal = Refusal::new(429, "TooManyRequestsException", "Rate Exceeded.")
            .because("ConcurrentInvocationLimitExceeded");
        return Err(refusal::of(InvokeFault::Refused(refusal)));
    }
    context.integration.request_id = Some(context.request_id);
    let mut fields = Fields::with_capacity(128);
    fields.push(b"x-amzn-Remapped-Content-Length", b"0");
    Ok(Answered::Whole(StatusCode::ACCEPTED, fields, Bytes::new()))
}

/// Runs an invocation that nobody waits for. It isn't tried again.
async fn run(direct: &Direct, invocation: Invocation) {
    let (id, name) = (invocation.request_id, &direct.function.name);
    let invoked = follow(direct, invocation);
    if tokio::time::timeout(direct.longest(), invoked)
        .await
        .is_err()
    {
        tracing::warn!(target: "execution", "({}) `{name}`, invoked as an event, doesn't end: its answer isn't waited for", id.as_str());
    }
}

async fn follow(direct: &Direct, invocation: Invocation) {
    let (id, name) = (invocation.request_id, &direct.function.name);
    match direct.function.invoke(invocation, &Clocks::default()).await {
        Ok(invoked) => {
            let mut output = invoked.output;
            while let Some(Ok(_)) = poll_fn(|cx| output.poll_payload(cx, READ)).await {}
            let error = output.completion().and_then(|it| it.error.as_ref());
            if let Some(error) = error {
                tracing::warn!(target: "execution", "({}) `{name}`, invoked as an event, failed: {error}", id.as_str());
            }
        }
        Err(InvokeFault::Refused(refusal)) => {
            tracing::warn!(target: "execution", "({}) `{name}`, invoked as an event, was refused: {}", id.as_str(), refusal.message);
        }
        Err(InvokeFault::Failed(fault)) => {
            tracing::warn!(target: "execution", "({}) `{name}` couldn't be invoked: {fault}", id.as_str());
        }
    }
}

/// A web page in somebody's browser can reach a gateway on the same machine. SDKs sign, and a page of another origin can't:
/// its browser would ask first. One whose owner lets its own name point here has this origin, but not this machine's name.
fn refuse_pages(authority: &str, fields: &Fields) -> Result<(), Refused> {
    let is_page = fields.named(b"origin").next().is_some()
        || fields.named(b"sec-fetch-site").next().is_some();
    if !is_page || (fields.has(Known::Authorization) && is_direct(authority)) {
        return Ok(());
    }
    Err(refusal::bad_call(&Refusal::new(
        403,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )))
}

/// The event: valid JSON within its limit; nothing is an empty object.
async fn read_event(
    body: &mut RequestBody,
    invocation_type: InvocationType,
    clocks: &Clocks,
) -> Result<Bytes, Refused> {
    let limit = match invocation_type {
        InvocationType::Event => MOST_ASYNCHRONOUS,
        _ => MOST_EVENT,
    };
    let length = body.length();
    let of = |fault: Fault| match fault.kind {
        FaultKind::BodyTooLarge => refusal::too_large_event(
            &refusal::too_large(length, invocation_type.as_str(), limit),
            fault,
        ),
        _ => refusal::of(InvokeFault::Failed(fault)),
    };
    body.limit(limit as u64).map_err(of)?;
    let event = under_clocks(clocks, gather(body, clocks))
        .await
        .map_err(of)?;
    if event.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let checked = if event.len() > HEAVY {
        let copy = event.clone();
        let check = move || check(&copy);
        let checking = tokio::task::spawn_blocking(check).await;
        checking.unwrap_or_else(|error| Err(error.to_string()))
    } else {
        check(&event)
    };
    checked.map_err(|why| {
        refusal::bad_call(&Refusal::new(
            400,
            "InvalidRequestContentException",
            format!("Could not parse request body into json: {why}"),
        ))
    })?;
    Ok(event)
}

fn check(event: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(event)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Answers `Invoke` with the function's whole output.
async fn respond(
    context: &mut Context,
    direct: &Direct,
    call: Call,
    clocks: &Clocks,
) -> Result<Answered, Refused> {
    let invoked = direct.invoke(context, call, clocks).await;
    let invoked = invoked.map_err(refusal::of)?;
    let version = invoked.version.clone();
    let (payload, completion) = match whole(context, invoked, clocks).await {
        Ok(whole) => whole,
        Err(fault) => failed(fault)?,
    };
    let mut fields = Fields::with_capacity(256);
    fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
    fields.push(b"x-amzn-Remapped-Content-Length", b"0");
    fields.push(b"X-Amz-Executed-Version", version.as_bytes());
    if let Some(log) = &completion.log {
        let log = STANDARD.encode(&**log);
        fields.push(b"X-Amz-Log-Result", log.as_bytes());
    }
    let payload = match &completion.error {
        None => payload,
        Some(error) => {
            context.integration.error = Some(error.to_string().into());
            fields.push(b"X-Amz-Function-Error", b"Unhandled");
            described(payload, error)
        }
    };
    Ok(Answered::Whole(StatusCode::OK, fields, payload))
}

/// An output that couldn't be had whole, as Lambda tells it: a function's error if the function is to blame.
fn failed(fault: Fault) -> Result<(Bytes, Completion), Refused> {
    let (code, details) = match fault.kind {
        FaultKind::FunctionFailed if fault.reason == TOO_LARGE => (
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).".into(),
        ),
        FaultKind::FunctionFailed => ("Runtime.ExitError", fault.detail),
        _ => return Err(refusal::of(InvokeFault::Failed(fault))),
    };
    let error = FunctionError {
        code: code.into(),
        details,
    };
    let completion = Completion {
        error: Some(error),
        log: None,
    };
    Ok((Bytes::new(), completion))
}

/// The object that describes an error. A function that failed in the middle of its output has said something else.
fn described(payload: Bytes, error: &FunctionError) -> Bytes {
    let is_description = |text: &[u8]| {
        let map = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text);
        map.is_ok_and(|map| map.contains_key("errorMessage") || map.contains_key("errorType"))
    };
    if is_description(&payload) {
        payload
    } else if is_description(error.details.as_bytes()) {
        Bytes::copy_from_slice(error.details.as_bytes())
    } else {
        let description = json!({ "errorMessage": error.details, "errorType": error.code });
        description.to_string().into()
    }
}

/// Answers `InvokeWithResponseStream` with the events of the function's output.
async fn stream(
    context: &mut Context,
    direct: &Direct,
    call: Call,
    clocks: &Clocks,
) -> Result<Answered, Refused> {
    let invoked = direct.invoke(context, call, clocks).await;
    let Invoked {
        version, output, ..
    } = invoked.map_err(refusal::of)?;
    let mut fields = Fields::with_capacity(256);
    fields.push_known(
        Known::ContentType,
        b"Content-Type",
        b"application/vnd.amazon.eventstream",
    );
    fields.push(b"X-Amz-Executed-Version", version.as_bytes());
    let payload = Box::new(Payload::Events(Events::new(output)));
    Ok(Answered::Stream(
        StatusCode::OK,
        fields,
        payload,
        Bandwidth::LAMBDA,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_described_by_whoever_can() {
        let error = |details: &str| FunctionError {
            code: "Runtime.ExitError".into(),
            details: details.into(),
        };
        let said = Bytes::from_static(br#"{"errorMessage":"a"}"#);
        assert_eq!(described(said.clone(), &error("b")), said);
        let partial = Bytes::from_static(b"half a resu");
        assert_eq!(
            described(partial.clone(), &error(r#"{"errorType":"B"}"#)),
            r#"{"errorType":"B"}"#
        );
        assert_eq!(
            described(partial, &error("exit status: 1")),
            r#"{"errorMessage":"exit status: 1","errorType":"Runtime.ExitError"}"#
        );
    }

    #[tokio::test]
    async fn an_event_is_json_within_its_limit_and_nothing_is_an_empty_object() {
        let clocks = Clocks::default();
        let read = async |body: Vec<u8>, kind| {
            let mut body = RequestBody::whole(body.into());
            let event = read_event(&mut body, kind, &clocks).await;
            event.map_err(|refused| String::from_utf8_lossy(&refused.body).into_owned())
        };
        let sync = InvocationType::RequestResponse;
        assert_eq!(read(Vec::new(), sync).await.unwrap(), "{}");
        assert_eq!(read(b"[1]".to_vec(), sync).await.unwrap(), "[1]");
        let bad = read(b"{a".to_vec(), sync).await.unwrap_err();
        assert!(
            bad.starts_with(r#"{"Type":"User","message":"Could not parse request body into json"#)
        );
        let large = vec![b'1'; MOST_ASYNCHRONOUS + 1];
        assert!(read(large.clone(), sync).await.is_ok());
        assert_eq!(
            read(large, InvocationType::Event).await.unwrap_err(),
            r#"{"Type":"User","message":"1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"}"#
        );
    }

    #[test]
    fn pages_in_browsers_cant_invoke_functions() {
        let on = |host: &str, lines: &str| {
            let block = format!("{lines}\r\n");
            let fields = Fields::parse(block.as_bytes(), 9).unwrap().unwrap().0;
            refuse_pages(host, &fields).map_err(|refused| refused.status.as_u16())
        };
        let local = "127.0.0.1:8080";
        let refused = |lines: &str| on(local, lines);
        assert_eq!(refused("Content-Type: text/plain\r\n"), Ok(()));
        assert_eq!(refused("Origin: https://evil.example\r\n"), Err(403));
        assert_eq!(refused("Sec-Fetch-Site: cross-site\r\n"), Err(403));
        let signed = "Origin: https://app.example\r\nAuthorization: AWS4-HMAC-SHA256 a\r\n";
        assert_eq!(refused(signed), Ok(()));
        // A page can sign anything for the name that it was loaded from.
        assert_eq!(on("rebound.example:8080", signed), Err(403));
        assert_eq!(
            on("rebound.example:8080", "Authorization: AWS4 a\r\n"),
            Ok(())
        );
    }
}
