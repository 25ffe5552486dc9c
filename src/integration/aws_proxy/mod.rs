//! AWS_PROXY: the request becomes an event, and what the function makes of it a response.

mod event;
mod media;
pub mod result;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{
    function::{HEAVY, MOST_EVENT, content_length, fault_of_refusal, next_piece, trace, whole},
    gather, under_clocks,
};
use crate::{
    config::model::{self, TransferMode},
    lambda::{
        body::Body,
        function::Function,
        invocation::{Invocation, InvokeFault, Source as CallSource},
        output::{Invoked, Output},
        prelude::{self, Metadata, Reader},
    },
    stream::{clocks::Clocks, request_body::RequestBody},
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        fields::Fields,
        ids::RequestId,
        known::Known,
    },
};

/// An AWS_PROXY integration.
#[derive(Debug)]
pub struct AwsProxy {
    model: model::Lambda,
    function: Arc<Function>,
    binary: Arc<[Box<str>]>,
}

/// What a function answered.
#[derive(Debug)]
pub enum Called {
    /// A whole response.
    Whole(StatusCode, Fields, Bytes),
    /// A head, and the payload as it comes.
    Stream(StatusCode, Fields, Body),
}

impl AwsProxy {
    /// An integration that invokes `function`; `binary` are the API's binary media types.
    pub fn new(model: model::Lambda, function: Arc<Function>, binary: Arc<[Box<str>]>) -> AwsProxy {
        AwsProxy {
            model,
            function,
            binary,
        }
    }

    /// Limits and timeouts.
    pub fn policy(&self) -> &model::Policy {
        &self.model.policy
    }

    /// Whether streams also pass Lambda's own limiter.
    pub fn has_lambda_limits(&self) -> bool {
        self.model.answers.lambda_limits
    }

    /// Invokes the function and waits for its whole result, or for the head of its stream.
    pub async fn call(
        &self,
        context: &mut Context,
        mut body: RequestBody,
        clocks: &Arc<Clocks>,
    ) -> Result<Called, Fault> {
        let policy = &self.model.policy;
        body.limit(policy.request_body)?;
        clocks.call(&policy.limits);
        context.integration.started = Some(clocks.now());
        let whole = under_clocks(clocks, gather(&mut body, clocks)).await?;
        let called = self.invoke(context, &whole, clocks).await;
        let mut called = called.inspect_err(|fault| {
            context.integration.error = Some(fault.detail.clone());
            context.integration.ended = Some(clocks.now());
        })?;
        let (Called::Whole(status, fields, _) | Called::Stream(status, fields, _)) = &mut called;
        context.integration.all_headers = Some(clocks.now());
        context.integration.status = Some(status.as_u16());
        fields.set(b"X-Amzn-Trace-Id", &trace(context));
        Ok(called)
    }

    async fn invoke(
        &self,
        context: &mut Context,
        body: &Bytes,
        clocks: &Arc<Clocks>,
    ) -> Result<Called, Fault> {
        let request_id = RequestId::random();
        context.integration.request_id = Some(request_id);
        let invocation = Invocation {
            event: self.event(context, body)?,
            mode: self.model.policy.mode,
            request_id,
            trace: trace(context).into(),
            client_context: None,
            function: Some(self.model.function.clone()),
            qualifier: None,
            wants_log: false,
            runs_on: self.model.policy.finish_without_client,
            source: source(context),
        };
        let call = async {
            self.function
                .invoke(invocation, clocks)
                .await
                .map_err(fault_of_call)
        };
        let invoked = under_clocks(clocks, call).await.inspect_err(|fault| {
            context.integration.endpoint_status = fault.kind.is_refused_call().then_some(500);
        })?;
        context.integration.endpoint_status = Some(200);
        match self.model.policy.mode {
            TransferMode::Buffered => self.buffered(context, invoked, clocks).await,
            TransferMode::Stream => {
                under_clocks(clocks, self.streamed(context, invoked, clocks)).await
            }
        }
    }

    fn event(&self, context: &Context, body: &Bytes) -> Result<Bytes, Fault> {
        let event = event::build(context, body, &self.binary);
        if event.len() > MOST_EVENT {
            let detail = format!(
                "the event has {} bytes: request must be smaller than {MOST_EVENT} bytes for the InvokeFunction operation",
                event.len()
            );
            return Err(Fault::because(
                FaultKind::InvokeRefused,
                "event_too_large",
                detail,
            ));
        }
        Ok(event.into())
    }

    async fn buffered(
        &self,
        context: &mut Context,
        invoked: Invoked,
        clocks: &Arc<Clocks>,
    ) -> Result<Called, Fault> {
        let (json, completion) = whole(context, invoked, clocks).await?;
        if let Some(error) = completion.error {
            let said = String::from_utf8_lossy(json.get(..1024).unwrap_or(&json));
            let detail = format!("the function failed ({}): {said}", error.code);
            return Err(Fault::new(FaultKind::FunctionFailed, detail));
        }
        if prelude::begins(&json) {
            return self.without_payload(&json);
        }
        let accept = context.head.fields.get(Known::Accept).map(<[u8]>::to_vec);
        let binary = self.binary.clone();
        let is_heavy = json.len() > HEAVY;
        let read = move || result::read(&json, accept.as_deref(), &binary);
        let outcome = if is_heavy {
            tokio::task::spawn_blocking(read)
                .await
                .unwrap_or_else(|error| {
                    Err(Fault::new(FaultKind::FunctionFailed, error.to_string()))
                })?
        } else {
            read()?
        };
        Ok(Called::Whole(outcome.status, outcome.fields, outcome.body))
    }

    /// A function that streams behind a method that doesn't: as documented, its status and headers arrive, and no body.
    fn without_payload(&self, stream: &Bytes) -> Result<Called, Fault> {
        let found = prelude::Parser::default().feed(stream, self.reader());
        let found = found.map_err(|fault| result::malformed(&fault.to_string()))?;
        let Some((Metadata { status, fields }, payload)) = found else {
            return Err(result::malformed("its metadata isn't complete"));
        };
        if !payload.is_empty() {
            tracing::warn!(
                target: "execution",
                "a function streams behind a BUFFERED method: its payload isn't passed on; set `responseTransferMode: STREAM`"
            );
        }
        Ok(Called::Whole(status, fields, Bytes::new()))
    }

    fn reader(&self) -> Reader {
        Reader::Api {
            header_arrays: self.model.answers.header_arrays,
        }
    }

    async fn streamed(
        &self,
        context: &Context,
        invoked: Invoked,
        clocks: &Arc<Clocks>,
    ) -> Result<Called, Fault> {
        let answers = &self.model.answers;
        let mut output = invoked.output;
        let Metadata { status, mut fields } = self.prelude(&mut output, clocks).await?;
        if !fields.has(Known::ContentType) {
            fields.push_known(
                Known::ContentType,
                b"Content-Type",
                answers.default_content_type.as_bytes(),
            );
        }
        let is_bodyless = context.method == Method::HEAD;
        let length = content_length(&fields).filter(|_| !is_bodyless);
        Ok(Called::Stream(
            status,
            fields,
            Body::new(output, length, u64::MAX),
        ))
    }

    async fn prelude(&self, output: &mut Output, clocks: &Clocks) -> Result<Metadata, Fault> {
        let mut parser = prelude::Parser::default();
        loop {
            let piece = match next_piece(output, clocks).await {
                Some(Ok(piece)) => piece,
                Some(Err(cut)) => return Err(Fault::new(FaultKind::BadPrelude, cut.detail)),
                None => return Err(self.ended_early(output, &parser)),
            };
            let found = parser.feed(&piece, self.reader()).map_err(|fault| {
                Fault::new(
                    FaultKind::BadPrelude,
                    format!("the function's streamed response is malformed: {fault}"),
                )
            })?;
            if let Some((metadata, payload)) = found {
                output.put_back(payload);
                return Ok(metadata);
            }
        }
    }

    /// A stream that was over before its prelude: because the function failed, or because it is none.
    fn ended_early(&self, output: &Output, parser: &prelude::Parser) -> Fault {
        let Some(error) = output.completion().and_then(|it| it.error.as_ref()) else {
            let why = parser.ended();
            return Fault::new(
                FaultKind::BadPrelude,
                format!("the function's streamed response is malformed: {why}"),
            );
        };
        let kind = if self.model.answers.function_error_status == StatusCode::BAD_GATEWAY {
            FaultKind::FunctionFailed
        } else {
            FaultKind::BadPrelude
        };
        let detail = format!("the function failed before its response began: {error}");
        Fault::because(kind, "function_failed", detail)
    }
}

fn source(context: &Context) -> Option<CallSource> {
    let site = context.site.as_deref()?;
    let path = context.resource.as_deref().map_or("/", |it| &it.path);
    Some(CallSource {
        arn: format!(
            "arn:aws:execute-api:{}:{}:{}/{}/{}{path}",
            site.region, site.account_id, site.api_id, site.stage, context.method
        )
        .into(),
        api_id: site.api_id.clone(),
    })
}

fn fault_of_call(fault: InvokeFault) -> Fault {
    match fault {
        InvokeFault::Failed(fault) => fault,
        InvokeFault::Refused(refusal) => fault_of_refusal(&refusal),
    }
}
