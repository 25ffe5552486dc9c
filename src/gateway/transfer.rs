//! An integration's answer becomes a reply: whole, or as it arrives.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::{compress, reply::Answer, snapshot::Api};
use crate::{
    config::model::{Policy, TransferMode},
    integration::{fault_of, http_proxy::response},
    stream::{
        clocks::Clocks,
        collect::{CollectFault, collect},
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
    // The client's own method counts, not one that it overrode: only its own tells it whether a body follows.
    let is_head = record.context().head.method == Method::HEAD;
    let announced = if is_head {
        announced_length(&said)
    } else {
        None
    };
    let mut fields = Fields::with_capacity(said.wire().len() + 256);
    let is_stream = policy.mode == TransferMode::Stream;
    if is_stream && record.context().head.takes_trailers() {
        said.all(Known::Trailer)
            .for_each(|names| fields.push_known(Known::Trailer, b"Trailer", names));
    }
    response::pass_on(said, &mut fields);
    match policy.mode {
        TransferMode::Stream => {
            let stream = StreamedBody::new(body, policy.bandwidth, clocks.clone());
            let finish = policy
                .finish_without_client
                .then_some(policy.limits.deadline);
            Ok(Answer::streamed(status, fields, stream)
                .announcing(announced)
                .finishing_within(finish))
        }
        TransferMode::Buffered => {
            let answer = buffer(api, policy, record, status, fields, body, clocks).await?;
            Ok(answer.announcing(announced))
        }
    }
}

/// An answer to HEAD keeps the length that GET would have.
fn announced_length(said: &Fields) -> Option<u64> {
    std::str::from_utf8(said.get(Known::ContentLength)?)
        .ok()?
        .parse()
        .ok()
}

async fn buffer(
    api: &Api,
    policy: &Policy,
    record: &mut Record,
    status: StatusCode,
    mut fields: Fields,
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
    let wanted = compress::wanted(
        api.minimum_compression_size,
        &context.head.fields,
        &fields,
        whole.len() as u64,
    );
    let whole = match wanted {
        None => whole,
        Some(coding) => compress::compress(coding, whole, &mut fields).await,
    };
    Ok(Answer::whole(status, fields, whole))
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
