//! What a function says: its payload as it arrives, and then how the invocation ended.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use super::remote;
use crate::stream::source::{Cut, Source as _};
use crate::types::outcome::Outcome;

/// How an invocation ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The function's error, if it failed. What it had said by then stands in the payload.
    pub error: Option<FunctionError>,
    /// The last 4 KB of its log, if they were wanted.
    pub log: Option<Box<str>>,
}

/// A function's error, from its runtime or from the one who ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// The kind, such as `Unhandled`, `Runtime.ExitError` or `Sandbox.Timedout`.
    pub code: Box<str>,
    /// The error's text, or its JSON (`{"errorMessage": …, "errorType": …}`).
    pub details: Box<str>,
}

impl std::fmt::Display for FunctionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.details)
    }
}

/// A part of a local function's output.
#[derive(Debug)]
pub enum Frame {
    /// Payload.
    Data(Bytes),
    /// The end, always the last frame.
    End(Completion),
}

/// An invocation that has begun to answer.
#[derive(Debug)]
pub struct Invoked {
    /// The content type under which the runtime streams; `None` if the function answered whole, or isn't local.
    pub content_type: Option<Box<str>>,
    /// `X-Amz-Executed-Version`.
    pub version: Box<str>,
    /// The payload.
    pub output: Output,
}

/// A function's payload, read piece by piece.
#[derive(Debug)]
pub struct Output {
    wire: Wire,
    /// What has been received and not yet been taken.
    early: Bytes,
    received: u64,
    completion: Option<Completion>,
}

#[derive(Debug)]
enum Wire {
    /// A local function's, from the thread that runs it.
    Local(mpsc::Receiver<Frame>),
    /// The answer to `Invoke`, and how it ends, which its head says.
    Whole(Box<crate::upstream::answer::Body>, Option<Completion>),
    /// The answer to `InvokeWithResponseStream`.
    Stream(Box<remote::EventStream>),
}

impl Output {
    /// The output of a local function. Dropping it before [`Frame::End`] tells the function's side.
    pub fn local(frames: mpsc::Receiver<Frame>) -> Output {
        Output::of(Wire::Local(frames))
    }

    /// The answer to an `Invoke` call, whose head told the completion.
    pub fn whole(body: crate::upstream::answer::Body, completion: Completion) -> Output {
        Output::of(Wire::Whole(Box::new(body), Some(completion)))
    }

    /// The answer to an `InvokeWithResponseStream` call.
    pub fn stream(events: remote::EventStream) -> Output {
        Output::of(Wire::Stream(Box::new(events)))
    }

    fn of(wire: Wire) -> Output {
        Output {
            wire,
            early: Bytes::new(),
            received: 0,
            completion: None,
        }
    }

    /// How the invocation ended, once its payload has.
    pub fn completion(&self) -> Option<&Completion> {
        self.completion.as_ref()
    }

    /// Bytes of payload received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Puts back what was taken too much.
    pub fn put_back(&mut self, payload: Bytes) {
        debug_assert!(self.early.is_empty());
        self.early = payload;
    }

    /// The payload that has arrived, at most `most` bytes; `None` at its end, when [`Output::completion`] is known. A
    /// function's own error is no error here; an output that broke off without an end is.
    pub fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        while self.early.is_empty() {
            if self.completion.is_some() {
                return Poll::Ready(None);
            }
            match ready!(self.poll_frame(cx, most)) {
                Ok(Frame::Data(data)) => {
                    self.received += data.len() as u64;
                    self.early = data;
                }
                Ok(Frame::End(completion)) => self.completion = Some(completion),
                Err(cut) => return Poll::Ready(Some(Err(cut))),
            }
        }
        let most = most.min(self.early.len());
        let payload = self.early.slice(..most);
        self.early.advance(most);
        Poll::Ready(Some(Ok(payload)))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Frame, Cut>> {
        match &mut self.wire {
            Wire::Local(frames) => Poll::Ready(ready!(frames.poll_recv(cx)).ok_or_else(vanished)),
            Wire::Whole(body, completion) => match ready!(body.poll_payload(cx, most)) {
                Some(data) => Poll::Ready(data.map(Frame::Data)),
                None => Poll::Ready(Ok(Frame::End(completion.take().unwrap_or_default()))),
            },
            Wire::Stream(events) => events.poll_frame(cx, most),
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.completion.is_some() && self.early.is_empty()
    }
}

fn vanished() -> Cut {
    Cut::new(
        Outcome::IntegrationTruncated,
        "the function's execution environment went away in the middle of its response",
    )
}
