//! The body of an `InvokeWithResponseStream` answer: each piece of payload becomes a frame as it arrives, and the last
//! frame says how the invocation ended. The prelude of a stream is payload here.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};

use crate::{
    integration::function::MOST_STREAMED,
    lambda::{
        event_stream::{invoke_complete, payload_chunk},
        output::{Completion, Output},
    },
    stream::source::{Cut, Source},
    types::fields::Fields,
};

/// A function's output as an event stream.
#[derive(Debug)]
pub struct Events {
    output: Output,
    /// What is left of a frame that didn't leave whole.
    frame: Bytes,
    /// Bytes of payload that may still come.
    allowed: u64,
    has_ended: bool,
}

impl Events {
    /// The events of `output`.
    pub fn new(output: Output) -> Events {
        Events::within(output, MOST_STREAMED)
    }

    fn within(output: Output, allowed: u64) -> Events {
        Events {
            output,
            frame: Bytes::new(),
            allowed,
            has_ended: false,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Bytes, Cut>> {
        let frame = match ready!(self.output.poll_payload(cx, most)) {
            Some(Err(cut)) => return Poll::Ready(Err(cut)),
            Some(Ok(payload)) => match self.allowed.checked_sub(payload.len() as u64) {
                Some(allowed) => {
                    self.allowed = allowed;
                    payload_chunk(&payload)
                }
                None => {
                    self.has_ended = true;
                    too_large()
                }
            },
            None => {
                self.has_ended = true;
                self.output.completion().map_or_else(Bytes::new, last_frame)
            }
        };
        Poll::Ready(Ok(frame))
    }
}

fn last_frame(completion: &Completion) -> Bytes {
    let error = completion.error.as_ref();
    invoke_complete(
        error.map(|error| &*error.code),
        error.map(|error| &*error.details),
        completion.log.as_deref(),
    )
}

fn too_large() -> Bytes {
    let details = format!(
        "Response payload size exceeded maximum allowed payload size ({MOST_STREAMED} bytes)."
    );
    invoke_complete(Some("Function.ResponseSizeTooLarge"), Some(&details), None)
}

impl Source for Events {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        if self.frame.is_empty() {
            if self.has_ended {
                return Poll::Ready(None);
            }
            match ready!(self.poll_frame(cx, most)) {
                Ok(frame) => self.frame = frame,
                Err(cut) => return Poll::Ready(Some(Err(cut))),
            }
        }
        let most = most.min(self.frame.len());
        let payload = self.frame.slice(..most);
        self.frame.advance(most);
        Poll::Ready(Some(Ok(payload)))
    }

    fn remaining(&self) -> Option<u64> {
        self.is_over().then_some(0)
    }

    fn is_over(&self) -> bool {
        self.has_ended && self.frame.is_empty()
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use aws_smithy_eventstream::frame::read_message_from;
    use tokio::sync::mpsc;

    use super::*;
    use crate::lambda::output::{Frame, FunctionError};

    async fn next(events: &mut Events, most: usize) -> Option<Result<Bytes, Cut>> {
        poll_fn(|cx| events.poll_payload(cx, most)).await
    }

    /// The payloads of all frames, or how it was cut.
    async fn read(events: &mut Events, most: usize) -> (Vec<String>, Option<String>) {
        let mut wire = Vec::new();
        let mut cut = None;
        while let Some(piece) = next(events, most).await {
            match piece {
                Ok(piece) => wire.extend_from_slice(&piece),
                Err(error) => {
                    cut = Some(error.to_string());
                    break;
                }
            }
        }
        let mut wire = Bytes::from(wire);
        let mut payloads = Vec::new();
        while !wire.is_empty() {
            let message = read_message_from(&mut wire).unwrap();
            payloads.push(String::from_utf8_lossy(message.payload()).into_owned());
        }
        (payloads, cut)
    }

    fn data(text: &'static str) -> Frame {
        Frame::Data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn each_piece_is_a_frame_before_the_next_one_is_written() {
        let (give, take) = mpsc::channel(1);
        let mut events = Events::new(Output::local(take));
        for piece in ["a", "b"] {
            give.send(data(piece)).await.unwrap();
            let mut frame = next(&mut events, 1024).await.unwrap().unwrap();
            let message = read_message_from(&mut frame).unwrap();
            assert_eq!(message.payload().as_ref(), piece.as_bytes());
        }
        let completion = Completion {
            error: Some(FunctionError {
                code: "Unhandled".into(),
                details: "{}".into(),
            }),
            log: Some("END".into()),
        };
        give.send(Frame::End(completion)).await.unwrap();
        let (last, cut) = read(&mut events, 1024).await;
        assert_eq!(
            (last.concat().as_str(), cut),
            (
                r#"{"ErrorCode":"Unhandled","ErrorDetails":"{}","LogResult":"RU5E"}"#,
                None
            )
        );
        assert!(events.is_over());
    }

    #[tokio::test]
    async fn frames_leave_in_parts_where_little_may_leave() {
        let (give, take) = mpsc::channel(4);
        give.send(data("hello")).await.unwrap();
        give.send(Frame::End(Completion::default())).await.unwrap();
        let mut events = Events::new(Output::local(take));
        let (payloads, cut) = read(&mut events, 3).await;
        assert_eq!((payloads.join("|").as_str(), cut), ("hel|lo|{}", None));
    }

    #[tokio::test]
    async fn an_environment_that_vanishes_cuts_the_stream_without_its_last_frame() {
        let (give, take) = mpsc::channel(4);
        give.send(data("a")).await.unwrap();
        drop(give);
        let mut events = Events::new(Output::local(take));
        let (payloads, cut) = read(&mut events, 1024).await;
        assert_eq!(payloads, ["a"]);
        assert!(cut.unwrap().contains("went away"));
    }

    #[tokio::test]
    async fn a_stream_beyond_the_limit_ends_with_its_error() {
        let (give, take) = mpsc::channel(4);
        give.send(data("ab")).await.unwrap();
        give.send(data("c")).await.unwrap();
        let mut events = Events::within(Output::local(take), 2);
        let (payloads, _) = read(&mut events, 1024).await;
        assert_eq!(payloads.len(), 2);
        assert!(payloads[1].contains("Function.ResponseSizeTooLarge"));
    }
}
