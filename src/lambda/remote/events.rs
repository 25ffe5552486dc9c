//! The answer to `InvokeWithResponseStream`, event by event as its frames arrive.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    lambda::{
        event_stream::{Decoder, Event},
        output::Frame,
    },
    stream::{
        arena::READ,
        source::{Cut, Source as _},
    },
    types::outcome::Outcome,
    upstream::answer::Body,
};

/// How long an answer whose last event has come has to end, so that its connection can be used again.
const LINGER: Duration = Duration::from_secs(1);

/// The events of an `InvokeWithResponseStream` answer. Dropping it before its end closes the connection.
#[derive(Debug)]
pub struct EventStream {
    /// `None` after the end.
    body: Option<Body>,
    decoder: Decoder,
}

impl EventStream {
    /// The events that `body` holds.
    pub fn new(body: Body) -> EventStream {
        EventStream {
            body: Some(body),
            decoder: Decoder::default(),
        }
    }

    /// The next payload or the end. At most `most` bytes are read at a time, though never less than a small frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Frame, Cut>> {
        loop {
            match self.decoder.next() {
                Ok(None) => {}
                Ok(Some(Event::Payload(payload))) => return Poll::Ready(Ok(Frame::Data(payload))),
                Ok(Some(Event::Complete(completion))) => {
                    self.finish();
                    return Poll::Ready(Ok(Frame::End(completion)));
                }
                Ok(Some(Event::Failed(error))) => {
                    return self.cut(format!("the function's event stream reports {error}"));
                }
                Err(fault) => {
                    return self.cut(format!(
                        "the function's event stream is malformed: it has {fault}"
                    ));
                }
            }
            let Some(body) = &mut self.body else {
                return self.cut("the function's event stream has ended".to_owned());
            };
            match ready!(body.poll_payload(cx, most.max(READ))) {
                Some(Ok(bytes)) => self.decoder.push(bytes),
                Some(Err(cut)) => return Poll::Ready(Err(cut)),
                None => return self.truncated(),
            }
        }
    }

    fn truncated(&mut self) -> Poll<Result<Frame, Cut>> {
        let place = if self.decoder.is_empty() {
            "without `InvokeComplete`"
        } else {
            "in the middle of a frame"
        };
        self.cut(format!("the function's event stream ended {place}"))
    }

    fn cut(&mut self, detail: String) -> Poll<Result<Frame, Cut>> {
        self.body = None;
        Poll::Ready(Err(Cut::new(Outcome::IntegrationTruncated, detail)))
    }

    /// Lets the answer end, if it does so at once and in good order.
    fn finish(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_over()) else {
            return;
        };
        let Ok(worker) = tokio::runtime::Handle::try_current() else {
            return;
        };
        worker.spawn(async move {
            let end = poll_fn(|cx| body.poll_payload(cx, READ));
            let _ = tokio::time::timeout(LINGER, end).await;
        });
    }
}
