//! What a method does: forward to an HTTP backend, answer by itself, or explain why it can't.

pub mod aws_proxy;
pub mod http_proxy;
pub mod mock;
pub mod payload;
pub mod values;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::{Bytes, BytesMut};

use crate::{
    stream::{clocks::Clocks, request_body::RequestBody},
    types::{
        fault::{Fault, FaultKind},
        outcome::Outcome,
    },
};

/// Runs a call under its clocks: a verdict ends it with the fault that stands for it.
pub async fn under_clocks<T>(
    clocks: &Clocks,
    call: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut call = pin!(call);
    poll_fn(|cx| match clocks.verdict() {
        Some(outcome) => Poll::Ready(Err(fault_of(outcome))),
        None => call.as_mut().poll(cx),
    })
    .await
}

/// What a limit's verdict means before the integration's head.
pub fn fault_of(outcome: Outcome) -> Fault {
    match outcome {
        Outcome::Deadline => Fault::new(
            FaultKind::Deadline,
            "the integration's head wasn't complete when `timeoutInMillis` ran out",
        ),
        Outcome::Idle => Fault::new(
            FaultKind::Idle,
            "the integration sent nothing for the idle timeout",
        ),
        Outcome::Drained => Fault::new(
            FaultKind::Drained,
            "the gateway shut down and its drain timeout ran out",
        ),
        Outcome::Terminated => Fault::new(FaultKind::Terminated, "an operator ended the request"),
        // Before the head, the only thing awaited of the client is its upload.
        _ => Fault::new(
            FaultKind::BodyTimeout,
            "the client stopped sending its request body, or sent it too slowly",
        ),
    }
}

/// Reads a whole request body, within the limit that it has.
pub async fn gather(body: &mut RequestBody) -> Result<Bytes, Fault> {
    let mut whole = BytesMut::new();
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        whole.extend_from_slice(&data?);
    }
    Ok(whole.freeze())
}
