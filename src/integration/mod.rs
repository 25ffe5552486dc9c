//! What a method does: forward to an HTTP backend, answer by itself, or explain why it can't.

pub mod aws_proxy;
pub mod function;
pub mod function_url;
pub mod http_proxy;
pub mod invoke_api;
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
    stream::{
        clocks::{Clocks, Waiting},
        request_body::{Pace, RequestBody},
    },
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
            "the gateway shut down before there was an answer",
        ),
        Outcome::Terminated => Fault::new(FaultKind::Terminated, "an operator ended the request"),
        // Before the head, the only thing awaited of the client is its upload.
        _ => Fault::new(
            FaultKind::BodyTimeout,
            "the client stopped sending its request body, or sent it too slowly",
        ),
    }
}

/// Reads a whole request body, within the limit that it has. The client is waited for meanwhile, not the integration.
pub async fn gather(body: &mut RequestBody, clocks: &Clocks) -> Result<Bytes, Fault> {
    let mut whole = BytesMut::new();
    let mut pace = Pace::default();
    loop {
        let polled = poll_fn(|cx| {
            let polled = body.poll_data(cx);
            if polled.is_pending() {
                clocks.wait(Waiting::Upload);
            }
            polled
        });
        let Some(data) = polled.await else {
            clocks.wait(Waiting::Integration);
            return Ok(whole.freeze());
        };
        let data = data?;
        pace.count(data.len() as u64, clocks);
        // A body that came in one piece stays as it is.
        if whole.is_empty() && body.length() == Some(data.len() as u64) {
            clocks.wait(Waiting::Integration);
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
}
