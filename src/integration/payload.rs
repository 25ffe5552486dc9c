//! A response's payload, whichever integration it comes from.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::invoke_api;
use crate::{
    lambda,
    stream::source::{Cut, Source},
    types::fields::Fields,
    upstream::answer,
};

/// What a response is streamed from. Closed, so that nothing is boxed on the way.
#[derive(Debug)]
pub enum Payload {
    /// An HTTP backend's answer.
    Http(answer::Body),
    /// A function's output, after its prelude.
    Function(lambda::body::Body),
    /// A function's output as the events of the Invoke API.
    Events(invoke_api::Events),
    /// What no integration delivers.
    #[cfg(test)]
    Broken(Broken),
}

/// A payload at whose end the gateway fails.
#[cfg(test)]
#[derive(Debug)]
pub struct Broken(pub std::collections::VecDeque<Bytes>);

#[cfg(test)]
impl Source for Broken {
    fn poll_payload(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Option<Result<Bytes, Cut>>> {
        let payload = self.0.pop_front();
        Poll::Ready(Some(Ok(payload.expect("a defect, on purpose"))))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }

    fn is_over(&self) -> bool {
        false
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        None
    }
}

macro_rules! each {
    ($payload:expr, $body:ident => $do:expr) => {
        match $payload {
            Payload::Http($body) => $do,
            Payload::Function($body) => $do,
            Payload::Events($body) => $do,
            #[cfg(test)]
            Payload::Broken($body) => $do,
        }
    };
}

impl Source for Payload {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        each!(self, body => body.poll_payload(cx, most))
    }

    fn remaining(&self) -> Option<u64> {
        each!(self, body => body.remaining())
    }

    fn is_over(&self) -> bool {
        each!(self, body => body.is_over())
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        each!(self, body => body.take_trailers())
    }
}
