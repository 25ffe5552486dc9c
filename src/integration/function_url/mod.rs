//! Function URLs: a request becomes an event of payload format 2.0, and whatever the function makes of it a response.
//!
//! Nothing but the URL's own configuration stands before the function: no route, no authorizer, no mapping.

mod cors;
mod event;
mod refusal;
pub mod result;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

pub use refusal::{of_fault as refused, unknown};

use super::{
    function::{Answered, Call, Direct, HEAVY, MOST_EVENT, Refused, content_length, trace, whole},
    gather,
    http_proxy::response,
    payload::Payload,
    under_clocks,
};
use crate::{
    config::model::{FunctionUrl, TransferMode},
    lambda::{
        body::Body,
        invocation::InvokeFault,
        metadata::MetadataFault,
        output::{Completion, Invoked},
        prelude::Metadata,
    },
    stream::{clocks::Clocks, request_body::RequestBody},
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
        target::split_port,
    },
};
use result::Outcome;

/// A function URL as a request reached it: by its host, or by its path.
#[derive(Debug)]
pub struct Reached {
    /// The function.
    pub direct: Arc<Direct>,
    /// The URL's id, the first label of its host.
    pub id: Box<str>,
    /// Where the function's own path begins in the request's.
    pub from: usize,
    /// The host that it would have on AWS, if the request's own is another.
    pub own_domain: Option<Box<str>>,
}

/// Where a request's path leads, if it begins like a function URL by path: `/lambda-url/NAME/…`.
pub fn name_in_path(path: &str) -> Option<(&str, usize)> {
    const PREFIX: &str = "/lambda-url/";
    let rest = path.strip_prefix(PREFIX)?;
    let name = rest.split('/').next().filter(|name| !name.is_empty())?;
    Some((name, PREFIX.len() + name.len()))
}

/// The id in a host, if that is one of function URLs: `ID.lambda-url.…`.
pub fn id_in_host(authority: &str) -> Option<&str> {
    let (id, rest) = split_port(authority).0.split_once('.')?;
    let (label, rest) = rest.split_once('.')?;
    (label.eq_ignore_ascii_case("lambda-url") && !rest.is_empty()).then_some(id)
}

impl Reached {
    /// The path that the function is told.
    fn path<'a>(&self, context: &'a Context) -> &'a str {
        let path = context.head.target.path();
        path.get(self.from..)
            .filter(|path| !path.is_empty())
            .unwrap_or("/")
    }

    fn domain<'a>(&'a self, context: &'a Context) -> &'a str {
        self.own_domain
            .as_deref()
            .unwrap_or_else(|| context.domain_name())
    }

    /// Answers a request.
    pub async fn call(
        &self,
        context: &mut Context,
        body: RequestBody,
        clocks: &Arc<Clocks>,
    ) -> Result<Answered, Refused> {
        let Some(url) = &self.direct.url else {
            return Err(unknown("the function has no URL"));
        };
        let request = &context.head.fields;
        let preflight = url
            .cors
            .as_ref()
            .and_then(|cors| cors::preflight(cors, &context.head.method, request));
        if let Some(fields) = preflight {
            return Ok(Answered::Whole(StatusCode::OK, fields, Bytes::new()));
        }
        let answered = if url.is_open {
            let invoked = self.invoke(url, context, body, clocks).await;
            invoked.map_err(refusal::of)
        } else {
            Err(refusal::forbidden())
        };
        finish(url, context, answered)
    }

    async fn invoke(
        &self,
        url: &FunctionUrl,
        context: &mut Context,
        mut body: RequestBody,
        clocks: &Arc<Clocks>,
    ) -> Result<Answered, InvokeFault> {
        let failed = InvokeFault::Failed;
        body.limit(MOST_EVENT as u64).map_err(failed)?;
        self.direct.begin(context, clocks);
        let body = under_clocks(clocks, gather(&mut body, clocks))
            .await
            .map_err(failed)?;
        let event = event::build(context, self, &body);
        if event.len() > MOST_EVENT {
            let detail = format!(
                "the event has {} bytes, more than the {MOST_EVENT} that a function takes",
                event.len()
            );
            return Err(failed(Fault::new(FaultKind::BodyTooLarge, detail)));
        }
        let call = Call {
            event: event.into(),
            mode: url.mode,
            client_context: None,
            qualifier: None,
            wants_log: false,
            // Here, a function whose caller has gone can be spared the work.
            runs_on: !self.direct.function.is_local(),
        };
        let invoked = self.direct.invoke(context, call, clocks).await?;
        let answered = match url.mode {
            TransferMode::Buffered => buffered(context, invoked, clocks).await,
            TransferMode::Stream => self.streamed(url, context, invoked, clocks).await,
        };
        answered.map_err(failed)
    }

    async fn streamed(
        &self,
        url: &FunctionUrl,
        context: &mut Context,
        invoked: Invoked,
        clocks: &Arc<Clocks>,
    ) -> Result<Answered, Fault> {
        let is_local = self.direct.function.is_local();
        if invoked.content_type.is_none() && is_local {
            // Recorded: what a function gives back whole isn't read here, whatever it says.
            let result = collected(context, invoked, clocks).await?;
            return Ok(answer(Outcome::plain(result)));
        }
        let mut output = invoked.output;
        let Metadata { status, mut fields } = match &invoked.content_type {
            Some(content_type) if stream::has_prelude(content_type) => {
                under_clocks(clocks, stream::prelude(&mut output, clocks)).await?
            }
            Some(content_type) => stream::raw(content_type),
            None => under_clocks(clocks, stream::recognise(&mut output, clocks)).await?,
        };
        if !fields.has(Known::ContentType) {
            fields.push_known(
                Known::ContentType,
                b"Content-Type",
                b"application/octet-stream",
            );
        }
        let is_head = context.head.method == Method::HEAD;
        let length = content_length(&fields).filter(|_| !is_head);
        let body = Body::new(output, length, url.streamed_response);
        Ok(Answered::Stream(
            status,
            fields,
            Box::new(Payload::Function(body)),
            url.bandwidth,
        ))
    }
}

/// The function's header fields as the client gets them, with what the URL has to say itself.
fn finish(
    url: &FunctionUrl,
    context: &mut Context,
    mut answered: Result<Answered, Refused>,
) -> Result<Answered, Refused> {
    let fields = match &mut answered {
        Ok(Answered::Whole(status, fields, _) | Answered::Stream(status, fields, ..)) => {
            context.integration.status = Some(status.as_u16());
            let said = std::mem::replace(fields, Fields::with_capacity(512));
            response::pass_on(said, fields);
            fields
        }
        Err(refused) => {
            context.integration.error = Some(refused.fault.detail.clone());
            &mut refused.fields
        }
    };
    fields.set(b"X-Amzn-Trace-Id", &trace(context));
    if let Some(cors) = &url.cors {
        cors::override_reply(cors, &context.head.fields, fields);
    }
    answered
}

/// A whole result; a function's error is a fault.
async fn collected(
    context: &mut Context,
    invoked: Invoked,
    clocks: &Clocks,
) -> Result<Bytes, Fault> {
    let (result, Completion { error, .. }) = whole(context, invoked, clocks).await?;
    let Some(error) = error else {
        return Ok(result);
    };
    let said = String::from_utf8_lossy(result.get(..1024).unwrap_or(&result));
    let detail = format!("the function failed ({}): {said}", error.code);
    Err(Fault::new(FaultKind::FunctionFailed, detail))
}

async fn buffered(
    context: &mut Context,
    invoked: Invoked,
    clocks: &Clocks,
) -> Result<Answered, Fault> {
    let says_prelude = invoked.content_type.as_deref().map(stream::has_prelude);
    let result = collected(context, invoked, clocks).await?;
    let has_prelude =
        says_prelude.unwrap_or_else(|| stream::beginning(&result) == stream::Beginning::Prelude);
    if has_prelude {
        let (metadata, body) = stream::split(&result).map_err(|fault| malformed(&fault))?;
        let Metadata { status, mut fields } = metadata;
        fields.retain(|field| field.known != Known::ContentLength);
        return Ok(Answered::Whole(status, fields, body));
    }
    let outcome = if result.len() > HEAVY {
        let reading = tokio::task::spawn_blocking(move || result::read(result));
        reading
            .await
            .unwrap_or_else(|error| Err(MetadataFault::new(error.to_string())))
    } else {
        result::read(result)
    };
    Ok(answer(outcome.map_err(|fault| malformed(&fault))?))
}

fn answer(outcome: Outcome) -> Answered {
    Answered::Whole(outcome.status, outcome.fields, outcome.body)
}

fn malformed(fault: &MetadataFault) -> Fault {
    Fault::because(
        FaultKind::FunctionFailed,
        "malformed_result",
        format!("the function's result can't be a response: {fault}"),
    )
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
