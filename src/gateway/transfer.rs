//! An integration's answer becomes a reply: whole, or as it arrives.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{compress, reply::Answer, snapshot::Api};
use crate::{
    config::model::{Policy, TransferMode},
    integration::{
        aws_proxy::{AwsProxy, Called},
        fault_of,
        function::content_length,
        http_proxy::response,
        payload::Payload,
    },
    stream::{
        clocks::Clocks,
        collect::{CollectFault, collect},
        shaper::Bandwidth,
        source::{Cut, Source as _},
        streamed::StreamedBody,
    },
    telemetry::record::Record,
    types::{
        fault::{Fault, FaultKind},
        fields::Fields,
        head::ResponseHead,
        known::Known,
        outcome::Outcome,
    },
    upstream::answer::Body,
};

/// Makes an answer of a backend's head and body. From here on the status can't change.
pub(super) async fn pass_on(
    api: &Api,
    policy: &Policy,
    record: &mut Record,
    head: ResponseHead,
    body: Body,
    clocks: &Arc<Clocks>,
) -> Result<Answer, Fault> {
    let ResponseHead {
        status,
        fields: said,
    } = head;
    let announced = announced_length(record, &said);
    let mut fields = Fields::with_capacity(said.wire().len() + 256);
    let is_stream = policy.mode == TransferMode::Stream;
    if is_stream && record.context().head.takes_trailers() {
        said.all(Known::Trailer)
            .for_each(|names| fields.push_known(Known::Trailer, b"Trailer", names));
    }
    response::pass_on(said, &mut fields);
    match policy.mode {
        TransferMode::Stream => {
            let stream = StreamedBody::new(Payload::Http(body), policy.bandwidth, clocks.clone());
            let finish = policy
                .finish_without_client
                .then_some(policy.limits.deadline);
            Ok(Answer::streamed(status, fields, stream)
                .announcing(announced)
                .finishing_within(finish))
        }
        TransferMode::Buffered => {
            let buffered = buffer(api, policy, record, status, fields, body, clocks);
            let answer = Box::pin(buffered).await?;
            Ok(answer.announcing(announced))
        }
    }
}

/// An answer to HEAD keeps the length that GET would have. The client's own method counts, not one that it overrode: only
/// its own tells it whether a body follows.
fn announced_length(record: &Record, said: &Fields) -> Option<u64> {
    let is_head = record.context().head.method == Method::HEAD;
    content_length(said).filter(|_| is_head)
}

async fn buffer(
    api: &Api,
    policy: &Policy,
    record: &mut Record,
    status: StatusCode,
    fields: Fields,
    mut body: Body,
    clocks: &Arc<Clocks>,
) -> Result<Answer, Fault> {
    let context = record.context_mut();
    let collected = collect(
        &mut body,
        policy.response_body,
        clocks,
        &mut context.transfer,
    )
    .await;
    debug_assert!(collected.is_err() || body.is_over());
    context.integration.ended = Some(clocks.now());
    clocks.detach();
    let whole = collected.map_err(|fault| {
        let fault = fault_of_collection(fault, policy.response_body);
        context.integration.error = Some(fault.detail.clone());
        fault
    })?;
    Ok(whole_answer(api, record, status, fields, whole).await)
}

/// A whole answer, compressed if the API and the client want it.
async fn whole_answer(
    api: &Api,
    record: &Record,
    status: StatusCode,
    mut fields: Fields,
    whole: Bytes,
) -> Answer {
    let wanted = compress::wanted(
        api.minimum_compression_size,
        &record.context().head.fields,
        &fields,
        whole.len() as u64,
    );
    let whole = match wanted {
        None => whole,
        Some(coding) => compress::compress(coding, whole, &mut fields).await,
    };
    Answer::whole(status, fields, whole)
}

/// Makes an answer of what a function answered.
pub(super) async fn of_function(
    api: &Api,
    proxy: &AwsProxy,
    record: &mut Record,
    called: Called,
    clocks: &Arc<Clocks>,
) -> Result<Answer, Fault> {
    let mut fields = Fields::with_capacity(512);
    match called {
        Called::Whole(status, said, whole) => {
            response::pass_on(said, &mut fields);
            record.context_mut().integration.ended = Some(clocks.now());
            clocks.detach();
            Ok(whole_answer(api, record, status, fields, whole).await)
        }
        Called::Stream(status, said, body) => {
            let announced = announced_length(record, &said);
            response::pass_on(said, &mut fields);
            let bandwidth = proxy.policy().bandwidth;
            let stream = StreamedBody::new(Payload::Function(body), bandwidth, clocks.clone());
            let stream = if proxy.has_lambda_limits() {
                stream.also_within(Bandwidth::LAMBDA)
            } else {
                stream
            };
            Ok(Answer::streamed(status, fields, stream).announcing(announced))
        }
    }
}

fn fault_of_collection(fault: CollectFault, limit: u64) -> Fault {
    match fault {
        CollectFault::TooLarge => {
            let detail = format!(
                "the integration's answer is larger than the {limit} bytes that a buffered response may have"
            );
            Fault::new(FaultKind::AnswerTooLarge, detail)
        }
        CollectFault::Cut(Cut {
            outcome: Outcome::IntegrationTruncated,
            detail,
        }) => Fault::new(FaultKind::AnswerTruncated, detail),
        CollectFault::Cut(cut) => fault_of(cut.outcome),
    }
}
