//! The streamed body: polls its integration in place, meters and shapes what arrives, and obeys the clocks.
//!
//! There is no task and no channel between the integration's socket and the client's: whoever writes to the client
//! polls this body when it has room, and what has arrived by then leaves. While the shaper holds the stream back, or the
//! client does not read, the integration isn't read either, so backpressure reaches the backend.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    arena::READ,
    clocks::{Clocks, Waiting},
    shaper::{Bandwidth, Grant, Shaper},
    source::{Cut, Source},
};
use crate::types::{clock::Tick, context::Transfer, fields::Fields, outcome::Outcome};

/// The largest frame of a bulk body.
const BULK: usize = 256 * 1024;

/// A response body on its way to the client.
#[derive(Debug)]
pub struct StreamedBody<S> {
    source: S,
    shaper: Shaper,
    /// Another limiter that the stream has to pass, too.
    second: Option<Box<Shaper>>,
    clocks: Arc<Clocks>,
    transfer: Transfer,
    last_arrival: Tick,
}

impl<S: Source> StreamedBody<S> {
    /// Streams `source` under `bandwidth` and the clocks of its exchange.
    pub fn new(source: S, bandwidth: Bandwidth, clocks: Arc<Clocks>) -> StreamedBody<S> {
        let now = clocks.now();
        StreamedBody {
            source,
            shaper: Shaper::new(bandwidth, now),
            second: None,
            clocks,
            transfer: Transfer::default(),
            last_arrival: now,
        }
    }

    /// Lets the stream pass a second limiter.
    #[must_use]
    pub fn also_within(mut self, bandwidth: Bandwidth) -> StreamedBody<S> {
        self.second = Some(Box::new(Shaper::new(bandwidth, self.clocks.now())));
        self
    }

    fn grant(&mut self) -> Grant {
        let now = self.clocks.now();
        let first = self.shaper.grant(now);
        let Some(second) = &mut self.second else {
            return first;
        };
        match (first, second.grant(now)) {
            (Grant::Now(one), Grant::Now(other)) => Grant::Now(one.min(other)),
            (Grant::At(one), Grant::At(other)) => Grant::At(one.max(other)),
            (Grant::At(at), _) | (_, Grant::At(at)) => Grant::At(at),
        }
    }

    /// What may leave now; an error once the response has to be cut.
    pub fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if let Some(outcome) = self.clocks.verdict() {
            return Poll::Ready(Some(Err(verdict(outcome))));
        }
        let most = match self.grant() {
            Grant::Now(most) => usize::try_from(most).unwrap_or(usize::MAX),
            Grant::At(at) => {
                self.clocks.pace_until(at);
                return Poll::Pending;
            }
        };
        let frame = if self.is_limiting() { READ } else { BULK };
        let polled = self.source.poll_payload(cx, most.min(frame));
        if polled.is_pending() {
            self.clocks.wait(Waiting::Integration);
        }
        let payload = ready!(polled);
        self.clocks.progress();
        if let Some(Ok(payload)) = &payload {
            self.arrived(payload.len() as u64);
        }
        Poll::Ready(payload)
    }

    fn arrived(&mut self, bytes: u64) {
        let now = self.clocks.now();
        self.shaper.spend(bytes);
        if let Some(second) = &mut self.second {
            second.spend(bytes);
        }
        self.transfer.chunks += 1;
        if self.transfer.first_content.is_some() {
            let gap = now.since(self.last_arrival).as_micros() as u64;
            self.transfer.longest_gap = self.transfer.longest_gap.max(gap);
        }
        self.transfer.first_content.get_or_insert(now);
        self.last_arrival = now;
    }

    /// Whether the stream is beyond its free bytes, and is being held back.
    pub fn is_limiting(&self) -> bool {
        self.shaper.is_limiting() || self.second.as_ref().is_some_and(|it| it.is_limiting())
    }

    /// Arrivals so far. Bytes are counted where they leave.
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// How many bytes are still to come, if the integration said so.
    pub fn remaining(&self) -> Option<u64> {
        self.source.remaining()
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.source.is_over()
    }

    /// Trailer fields, after the end.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.source.take_trailers()
    }

    /// The integration's end of the stream, for whoever wants to read it to its end without the client.
    pub fn into_source(self) -> S {
        self.source
    }
}

/// What a limit's verdict means for a response that had begun.
pub fn verdict(outcome: Outcome) -> Cut {
    let detail = match outcome {
        Outcome::Deadline => "the response was still streaming when `timeoutInMillis` ran out",
        Outcome::Idle => "the integration sent nothing for the idle timeout",
        Outcome::ClientStalled => "the client accepted nothing for the client stall timeout",
        Outcome::Drained => "the gateway shut down and its drain timeout ran out",
        Outcome::Terminated => "an operator ended the request",
        _ => "the response was cut",
    };
    Cut::new(outcome, detail)
}
