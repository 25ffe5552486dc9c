//! What all ways to a function share: Lambda's limits, the trace, and the call of a function without an API.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;

use super::{fault_of, payload::Payload, under_clocks};
use crate::{
    config::model::{self, FunctionTarget, FunctionUrl, TransferMode},
    lambda::{
        body::Raw,
        function::Function,
        invocation::{Invocation, InvokeFault, Refusal},
        output::{Completion, Invoked, Output},
    },
    stream::{
        arena::READ,
        clocks::{Clocks, Limits, Waiting},
        collect::{CollectFault, collect},
        shaper::Bandwidth,
        source::Cut,
    },
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
        outcome::Outcome,
    },
};

/// Bytes of an event (page "Lambda quotas").
pub const MOST_EVENT: usize = 6 * 1024 * 1024;
/// Bytes of a whole result: Lambda's own limit has room for its envelope.
pub const MOST_RESULT: u64 = 6 * 1024 * 1024 + 100;
/// Bytes of a streamed response, where nothing else is said (page "Lambda quotas").
pub const MOST_STREAMED: u64 = 200 * 1024 * 1024;
/// From this size on, JSON isn't a worker's business.
pub const HEAVY: usize = 128 * 1024;

/// Lambda's longest timeout, for functions that run elsewhere.
const LONGEST: Duration = Duration::from_secs(900);
/// What a call may take beyond the function's own timeout, which is the one that should be told.
const SLACK: Duration = Duration::from_secs(30);

/// A function that is reached without an API.
#[derive(Debug)]
pub struct Direct {
    /// The function.
    pub function: Arc<Function>,
    /// Its ARN.
    pub arn: Box<str>,
    /// Its URL, if it has one.
    pub url: Option<FunctionUrl>,
    limits: Limits,
}

/// What a function answered to such a call.
#[derive(Debug)]
pub enum Answered {
    /// A whole response.
    Whole(StatusCode, Fields, Bytes),
    /// A head, and the payload as it comes, within Lambda's own bandwidth.
    Stream(StatusCode, Fields, Box<Payload>, Bandwidth),
}

/// An answer in place of the function's, and why.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// Header fields.
    pub fields: Fields,
    /// The body.
    pub body: Bytes,
    /// For the record.
    pub fault: Box<Fault>,
}

/// What a call says about itself.
#[derive(Debug)]
pub struct Call {
    /// The event.
    pub event: Bytes,
    /// Whether the output is wanted whole or as it comes.
    pub mode: TransferMode,
    /// The client context, as JSON.
    pub client_context: Option<Box<str>>,
    /// The version or alias.
    pub qualifier: Option<Box<str>>,
    /// Whether the end of the log is wanted.
    pub wants_log: bool,
    /// Whether the function runs on without its caller.
    pub runs_on: bool,
}

impl Direct {
    /// A function of the configuration.
    pub fn new(model: &model::Function, function: Arc<Function>) -> Direct {
        let (timeout, start) = match &model.target {
            FunctionTarget::Local(local) => (local.timeout, local.init_timeout),
            FunctionTarget::Remote(_) => (LONGEST, Duration::ZERO),
        };
        Direct {
            function,
            arn: model.arn.clone(),
            url: model.url.clone(),
            limits: Limits {
                deadline: start + timeout + SLACK,
                // A function may be silent for as long as it may run.
                idle: timeout.max(Duration::from_secs(300)),
                client_stall: Duration::from_secs(60),
                upload: Duration::from_secs(30),
            },
        }
    }

    /// What a call may take in all.
    pub fn longest(&self) -> Duration {
        self.limits.deadline
    }

    /// The call begins, its upload included.
    pub fn begin(&self, context: &mut Context, clocks: &Clocks) {
        context.integration.started = Some(clocks.now());
        clocks.call(&self.limits);
    }

    /// The invocation of a call. The function sees the request's own id, as on AWS.
    pub fn invocation(&self, context: &Context, call: Call) -> Invocation {
        Invocation {
            event: call.event,
            mode: call.mode,
            request_id: context.request_id,
            trace: trace(context).into(),
            client_context: call.client_context,
            function: None,
            qualifier: call.qualifier,
            wants_log: call.wants_log,
            runs_on: call.runs_on,
            source: None,
        }
    }

    /// Invokes the function, and waits for the beginning of its output.
    pub async fn invoke(
        &self,
        context: &mut Context,
        call: Call,
        clocks: &Clocks,
    ) -> Result<Invoked, InvokeFault> {
        let invocation = self.invocation(context, call);
        context.integration.request_id = Some(context.request_id);
        let call = async { Ok(self.function.invoke(invocation, clocks).await) };
        let invoked = match under_clocks(clocks, call).await {
            Ok(invoked) => invoked,
            Err(fault) => Err(InvokeFault::Failed(fault)),
        };
        context.integration.endpoint_status = match &invoked {
            Ok(_) => Some(200),
            Err(InvokeFault::Refused(refusal)) => Some(refusal.status),
            Err(InvokeFault::Failed(_)) => None,
        };
        if invoked.is_ok() {
            context.integration.all_headers = Some(clocks.now());
        }
        invoked
    }
}

/// The next piece of a function's output, while its caller waits for the head of its response.
pub async fn next_piece(output: &mut Output, clocks: &Clocks) -> Option<Result<Bytes, Cut>> {
    let piece = poll_fn(|cx| {
        let polled = output.poll_payload(cx, READ);
        if polled.is_pending() {
            clocks.wait(Waiting::Integration);
        }
        polled
    });
    let piece = piece.await;
    clocks.progress();
    piece
}

/// Collects a function's whole output, and how it ended.
pub async fn whole(
    context: &mut Context,
    invoked: Invoked,
    clocks: &Clocks,
) -> Result<(Bytes, Completion), Fault> {
    let mut raw = Raw(invoked.output);
    let collected = collect(&mut raw, MOST_RESULT, clocks, &mut context.transfer).await;
    let payload = collected.map_err(fault_of_collection)?;
    context.integration.ended = Some(clocks.now());
    let completion = raw.0.completion().cloned().unwrap_or_default();
    Ok((payload, completion))
}

fn fault_of_collection(fault: CollectFault) -> Fault {
    match fault {
        CollectFault::TooLarge => Fault::because(
            FaultKind::FunctionFailed,
            TOO_LARGE,
            format!(
                "the function's result is larger than the {MOST_RESULT} bytes that Lambda passes on whole"
            ),
        ),
        CollectFault::Cut(cut) if cut.outcome == Outcome::IntegrationTruncated => {
            Fault::new(FaultKind::FunctionFailed, cut.detail)
        }
        CollectFault::Cut(cut) => fault_of(cut.outcome),
    }
}

/// The reason of results beyond the limit.
pub const TOO_LARGE: &str = "result_too_large";

/// The fault that a record has for a call that Lambda refused.
pub fn fault_of_refusal(refusal: &Refusal) -> Fault {
    let detail = format!(
        "Lambda refused to invoke the function: {} {}: {}",
        refusal.status, refusal.error_type, refusal.message
    );
    Fault::new(FaultKind::InvokeRefused, detail)
}

/// The length that a function announces for its stream.
pub fn content_length(fields: &Fields) -> Option<u64> {
    std::str::from_utf8(fields.get(Known::ContentLength)?)
        .ok()?
        .parse()
        .ok()
}

/// The trace that the function continues, and that the client is told: the request's root, with a parent of ours. Both get
/// the same one: the request's span if it is traced, else what its id makes.
pub fn trace(context: &Context) -> Vec<u8> {
    let said = &context.trace;
    if let Some(span) = &context.span {
        let root = context.trace_root();
        return [b"Root=", root, b";Parent=", &span.id[..], b";Sampled=1"].concat();
    }
    let has = |key: &[u8]| {
        said.split(|byte| *byte == b';')
            .any(|part| part.trim_ascii().starts_with(key))
    };
    let mut trace = said.to_vec();
    if !has(b"Parent=") {
        trace.extend_from_slice(b";Parent=");
        let id = context.request_id.as_bytes().iter();
        let digits = id.filter(|byte| byte.is_ascii_hexdigit()).rev().take(16);
        trace.extend(digits.map(u8::to_ascii_lowercase));
    }
    if !has(b"Sampled=") {
        trace.extend_from_slice(b";Sampled=0");
    }
    trace
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;
    use crate::types::{
        head::RequestHead,
        peer::{Peer, Serves},
        target::Target,
        trace::{Asked, Span},
    };

    #[test]
    fn a_traced_request_is_the_functions_parent_and_any_has_one() {
        let address = "192.0.2.1:4000".parse().unwrap();
        let head = RequestHead {
            method: Method::GET,
            target: Target::parse(&Method::GET, b"/").unwrap().0,
            authority: "test".into(),
            version: Version::HTTP_11,
            fields: Fields::default(),
        };
        let peer = Peer::new(address, address, None, Serves::Apis);
        let mut context = Context::open(Arc::new(peer), head);
        let root = String::from_utf8_lossy(&context.trace).into_owned();
        let told = |context: &Context| String::from_utf8(trace(context)).unwrap();
        let untraced = told(&context);
        assert!(untraced.starts_with(&format!("{root};Parent=")));
        assert!(untraced.ends_with(";Sampled=0"));
        assert_eq!(untraced, told(&context));
        let asked = Asked::of(&context.head.fields, &context.trace);
        let span = Span::below(&asked);
        context.span = Some(Box::new(span));
        let id = String::from_utf8_lossy(&span.id).into_owned();
        assert_eq!(told(&context), format!("{root};Parent={id};Sampled=1"));
    }
}
