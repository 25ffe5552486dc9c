//! A function's payload as the body of a response: it ends properly only if the invocation did.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::output::Output;
use crate::{
    stream::source::{Cut, Source},
    types::{fields::Fields, outcome::Outcome},
};

/// A streamed response body of a function.
#[derive(Debug)]
pub struct Body {
    output: Output,
    /// How many bytes its `Content-Length` still allows, if it has one.
    left: Option<u64>,
    /// How many more bytes it may have at all.
    allowed: u64,
    /// It was told that there is more than it announced.
    is_told: bool,
    has_ended: bool,
}

impl Body {
    /// What is left of `output`; `length` is the announced one, `most` the limit in bytes.
    pub fn new(output: Output, length: Option<u64>, most: u64) -> Body {
        Body {
            output,
            left: length,
            allowed: most,
            is_told: false,
            has_ended: false,
        }
    }

    /// What a function says beyond its own `Content-Length` would be taken for the next response: it is dropped.
    fn within_length(&mut self, payload: Bytes) -> Bytes {
        let Some(left) = &mut self.left else {
            return payload;
        };
        let mine = (*left).min(payload.len() as u64);
        *left -= mine;
        if mine < payload.len() as u64 && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(target: "execution", "a function's payload is longer than its own Content-Length: the rest is dropped");
        }
        payload.slice(..mine as usize)
    }

    fn end(&mut self) -> Result<(), Cut> {
        let error = self.output.completion().and_then(|it| it.error.as_ref());
        if let Some(error) = error {
            let detail = format!("the function failed in the middle of its response: {error}");
            return Err(Cut::new(Outcome::IntegrationTruncated, detail));
        }
        if let Some(left) = self.left.filter(|left| *left > 0) {
            let detail = format!("the function ended {left} bytes short of its own Content-Length");
            return Err(Cut::new(Outcome::IntegrationTruncated, detail));
        }
        self.has_ended = true;
        Ok(())
    }
}

impl Source for Body {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        while !self.has_ended {
            let payload = match ready!(self.output.poll_payload(cx, most)) {
                Some(Ok(payload)) => payload,
                Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                None => {
                    if let Err(cut) = self.end() {
                        return Poll::Ready(Some(Err(cut)));
                    }
                    break;
                }
            };
            let Some(allowed) = self.allowed.checked_sub(payload.len() as u64) else {
                let detail = "the function's response is larger than a streamed response may be";
                return Poll::Ready(Some(Err(Cut::new(Outcome::Limit, detail))));
            };
            self.allowed = allowed;
            let payload = self.within_length(payload);
            if !payload.is_empty() {
                return Poll::Ready(Some(Ok(payload)));
            }
        }
        Poll::Ready(None)
    }

    fn remaining(&self) -> Option<u64> {
        if self.has_ended { Some(0) } else { self.left }
    }

    fn is_over(&self) -> bool {
        self.has_ended
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        None
    }
}

/// A function's payload as it is, an error's description included; how the invocation ended is the reader's business.
#[derive(Debug)]
pub struct Raw(pub Output);

impl Source for Raw {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        self.0.poll_payload(cx, most)
    }

    fn remaining(&self) -> Option<u64> {
        None
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::mpsc;

    use super::*;
    use crate::lambda::output::{Completion, Frame, FunctionError};

    async fn read(frames: Vec<Frame>, length: Option<u64>, most: u64) -> (Vec<u8>, Option<Cut>) {
        let (give, take) = mpsc::channel(16);
        for frame in frames {
            give.send(frame).await.unwrap();
        }
        drop(give);
        let mut body = Body::new(Output::local(take), length, most);
        let mut whole = Vec::new();
        loop {
            match poll_fn(|cx| body.poll_payload(cx, 4)).await {
                None => return (whole, None),
                Some(Ok(payload)) => whole.extend_from_slice(&payload),
                Some(Err(cut)) => return (whole, Some(cut)),
            }
        }
    }

    fn data(text: &'static str) -> Frame {
        Frame::Data(Bytes::from_static(text.as_bytes()))
    }

    fn end() -> Frame {
        Frame::End(Completion::default())
    }

    #[tokio::test]
    async fn a_body_ends_properly_only_with_its_invocation() {
        let (whole, cut) = read(vec![data("hello"), data(" you"), end()], None, 100).await;
        assert_eq!((whole.as_slice(), cut.is_none()), (&b"hello you"[..], true));
        let (whole, cut) = read(vec![data("hello")], None, 100).await;
        assert_eq!(whole, b"hello");
        assert_eq!(cut.unwrap().outcome, Outcome::IntegrationTruncated);
        let error = FunctionError {
            code: "Unhandled".into(),
            details: "boom".into(),
        };
        let failed = Frame::End(Completion {
            error: Some(error),
            log: None,
        });
        let (_, cut) = read(vec![data("hello"), failed], None, 100).await;
        assert!(cut.unwrap().detail.contains("Unhandled: boom"));
    }

    #[tokio::test]
    async fn its_own_length_is_kept_and_its_limit_too() {
        let (whole, cut) = read(vec![data("hello"), end()], Some(3), 100).await;
        assert_eq!((whole.as_slice(), cut.is_none()), (&b"hel"[..], true));
        let (_, cut) = read(vec![data("hello"), end()], Some(7), 100).await;
        assert!(cut.unwrap().detail.contains("2 bytes short"));
        let (_, cut) = read(vec![data("hello"), end()], None, 4).await;
        assert_eq!(cut.unwrap().outcome, Outcome::Limit);
    }
}
