//! The buffered transfer: a whole response body in memory, within a limit.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};

use super::{
    arena::READ,
    clocks::{Clocks, Waiting},
    source::{Cut, Source},
    streamed::verdict,
};
use crate::types::context::Transfer;

/// Why a body could not be collected.
#[derive(Debug)]
pub enum CollectFault {
    /// More than the limit.
    TooLarge,
    /// It broke off, or a clock ran out.
    Cut(Cut),
}

/// Reads all of `source`, at most `limit` bytes. `transfer` learns when payload arrived.
pub async fn collect(
    source: &mut impl Source,
    limit: u64,
    clocks: &Clocks,
    transfer: &mut Transfer,
) -> Result<Bytes, CollectFault> {
    if source.remaining().is_some_and(|length| length > limit) {
        return Err(CollectFault::TooLarge);
    }
    let mut whole = BytesMut::new();
    let mut last = clocks.now();
    loop {
        let polled = poll_fn(|cx| {
            if let Some(outcome) = clocks.verdict() {
                return Poll::Ready(Some(Err(verdict(outcome))));
            }
            let polled = source.poll_payload(cx, READ);
            if polled.is_pending() {
                clocks.wait(Waiting::Integration);
            }
            polled
        });
        let Some(payload) = polled.await else {
            return Ok(whole.freeze());
        };
        let payload = payload.map_err(CollectFault::Cut)?;
        clocks.progress();
        let now = clocks.now();
        transfer.chunks += 1;
        if transfer.first_content.is_some() {
            transfer.longest_gap = transfer.longest_gap.max(now.since(last).as_micros() as u64);
        }
        transfer.first_content.get_or_insert(now);
        last = now;
        if (whole.len() + payload.len()) as u64 > limit {
            return Err(CollectFault::TooLarge);
        }
        // A body that came in one piece is handed on as it is.
        if whole.is_empty() && source.is_over() {
            return Ok(payload);
        }
        whole.extend_from_slice(&payload);
    }
}
