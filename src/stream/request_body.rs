//! The request body on its way to an integration, frame by frame as the client sends it.
//!
//! An HTTP/1 connection owns its socket, so a body asks for frames through a [`Slot`] and the connection fills it; the
//! frame is handed over within one poll of the connection's task. An HTTP/2 body is h2's own.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};

use super::clocks::{Clocks, Waiting};
use crate::types::{
    fault::{Fault, FaultKind, with_causes},
    fields::{Fields, is_field_value, is_token},
};

/// A request body within its limits.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    /// Its length, if the client said so.
    length: Option<u64>,
    /// How many more bytes are allowed.
    allowed: u64,
    trailers: Option<Fields>,
}

#[derive(Debug)]
enum Source {
    Empty,
    Whole(Option<Bytes>),
    Slot(Arc<Slot>),
    Http2(RecvStream),
}

impl RequestBody {
    /// No body.
    pub fn empty() -> RequestBody {
        RequestBody {
            source: Source::Empty,
            length: Some(0),
            allowed: 0,
            trailers: None,
        }
    }

    /// A body that has been read whole.
    pub fn whole(data: Bytes) -> RequestBody {
        let length = data.len() as u64;
        let source = Source::Whole(Some(data).filter(|data| !data.is_empty()));
        RequestBody {
            source,
            length: Some(length),
            allowed: u64::MAX,
            trailers: None,
        }
    }

    /// A body that an HTTP/1 connection hands over through `slot`; `length` is `None` for chunks.
    pub fn from_slot(slot: Arc<Slot>, length: Option<u64>) -> RequestBody {
        RequestBody {
            source: Source::Slot(slot),
            length,
            allowed: u64::MAX,
            trailers: None,
        }
    }

    /// An HTTP/2 body; `length` is its `content-length`, if any.
    pub fn from_http2(body: RecvStream, length: Option<u64>) -> RequestBody {
        let ended = body.is_end_stream();
        let source = if ended {
            Source::Empty
        } else {
            Source::Http2(body)
        };
        let length = if ended { Some(0) } else { length };
        RequestBody {
            source,
            length,
            allowed: u64::MAX,
            trailers: None,
        }
    }

    /// Refuses the body beyond `most` bytes; at once if the client announced more.
    pub fn limit(&mut self, most: u64) -> Result<(), Fault> {
        self.allowed = most;
        if self.length.is_some_and(|length| length > most) {
            Err(too_large(most))
        } else {
            Ok(())
        }
    }

    /// The length the client announced; `None` for chunks and for HTTP/2 bodies without a length.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether there is no body at all.
    pub fn is_empty(&self) -> bool {
        self.length == Some(0)
    }

    /// Trailer fields, after the end.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    /// The next bytes of the body; `None` at its end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let polled = match &mut self.source {
            Source::Empty => return Poll::Ready(None),
            Source::Whole(data) => return Poll::Ready(data.take().map(Ok)),
            Source::Slot(slot) => slot.poll_take(cx, &mut self.trailers),
            Source::Http2(body) => poll_http2(body, cx, &mut self.trailers),
        };
        let taken = ready!(polled);
        if let Some(Ok(data)) = &taken {
            let Some(allowed) = self.allowed.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(too_large(self.allowed))));
            };
            self.allowed = allowed;
        }
        Poll::Ready(taken)
    }
}

/// A sender must get this many bytes through in each interval of the upload clock: 256 bytes a second over 30 s.
const LEAST_PER_INTERVAL: u64 = 30 * 256;

/// Judges the speed of an upload: too little is no progress.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes since the upload clock last began anew.
    recently: u64,
}

impl Pace {
    /// Notes that bytes have come.
    pub fn count(&mut self, bytes: u64, clocks: &Clocks) {
        self.recently += bytes;
        if self.recently >= LEAST_PER_INTERVAL {
            self.recently = 0;
            if clocks.waiting() == Waiting::Upload {
                clocks.progress();
            }
        }
    }
}

fn too_large(most: u64) -> Fault {
    Fault::new(
        FaultKind::BodyTooLarge,
        format!("the request body is larger than the {most} bytes that are allowed"),
    )
}

fn poll_http2(
    body: &mut RecvStream,
    cx: &mut Context<'_>,
    trailers: &mut Option<Fields>,
) -> Poll<Option<Result<Bytes, Fault>>> {
    while let Some(data) = ready!(body.poll_data(cx)) {
        match data {
            Ok(data) => {
                // It is taken; whoever takes it sees to it that it is passed on before more is wanted.
                let _ = body.flow_control().release_capacity(data.len());
                if !data.is_empty() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Err(error) => return Poll::Ready(Some(Err(broken(&error)))),
        }
    }
    match ready!(body.poll_trailers(cx)) {
        Ok(map) => {
            *trailers = map.as_ref().map(fields_of).or(trailers.take());
            Poll::Ready(None)
        }
        Err(error) => Poll::Ready(Some(Err(broken(&error)))),
    }
}

fn broken(error: &h2::Error) -> Fault {
    let detail = if error.reason() == Some(Reason::NO_ERROR) {
        "the client reset the stream in the middle of its request body".to_owned()
    } else {
        format!("the request body broke off: {}", with_causes(error))
    };
    Fault::because(FaultKind::BadBody, "upload_broken", detail)
}

/// HTTP/2 fields as [`Fields`], without any that HTTP/1 could not carry.
pub fn fields_of(map: &http::HeaderMap) -> Fields {
    let mut fields = Fields::with_capacity(map.len() * 32);
    for (name, value) in map {
        if is_token(name.as_str().as_bytes()) && is_field_value(value.as_bytes()) {
            fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    fields
}

/// The hand-over between an HTTP/1 connection, which reads, and the body, which is read.
#[derive(Debug, Default)]
pub struct Slot {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    data: Option<Bytes>,
    end: Option<Result<Option<Fields>, Fault>>,
    /// The reader asked for data and waits for it.
    wanted: bool,
    reader: Option<Waker>,
    /// The connection's task, while it isn't being polled.
    connection: Option<Waker>,
    abandoned: bool,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_take(
        &self,
        cx: &mut Context<'_>,
        trailers: &mut Option<Fields>,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        let mut state = self.state();
        if let Some(data) = state.data.take() {
            return Poll::Ready(Some(Ok(data)));
        }
        match state.end.take() {
            Some(Ok(fields)) => {
                *trailers = fields;
                state.end = Some(Ok(None));
                Poll::Ready(None)
            }
            Some(Err(fault)) => {
                state.end = Some(Err(fault.clone()));
                Poll::Ready(Some(Err(fault)))
            }
            None => {
                state.wanted = true;
                if state
                    .reader
                    .as_ref()
                    .is_none_or(|waker| !waker.will_wake(cx.waker()))
                {
                    state.reader = Some(cx.waker().clone());
                }
                state.connection.take().into_iter().for_each(Waker::wake);
                Poll::Pending
            }
        }
    }

    /// Whether the connection should read more of the body now. If not, `cx` is woken when that changes.
    pub fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.wanted && state.data.is_none() && state.end.is_none() && !state.abandoned {
            state.connection = None;
            return Poll::Ready(());
        }
        state.connection = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Hands over a frame.
    pub fn give(&self, data: Bytes) {
        let mut state = self.state();
        state.data = Some(data);
        state.wanted = false;
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Ends the body: with its trailers, or because it broke.
    pub fn finish(&self, end: Result<Option<Fields>, Fault>) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(end);
        }
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Whether nobody will read the body any more.
    pub fn is_abandoned(&self) -> bool {
        self.state().abandoned
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Source::Slot(slot) = &self.source {
            let mut state = slot.state();
            state.abandoned = true;
            state.connection.take().into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn body(slot: &Arc<Slot>) -> RequestBody {
        RequestBody::from_slot(slot.clone(), None)
    }

    #[tokio::test]
    async fn a_frame_is_read_only_once_it_is_wanted() {
        let slot = Arc::new(Slot::default());
        let mut body = body(&slot);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(slot.poll_wanted(&mut cx).is_pending());
        assert!(body.poll_data(&mut cx).is_pending());
        assert!(slot.poll_wanted(&mut cx).is_ready());
        slot.give(Bytes::from_static(b"a"));
        assert!(slot.poll_wanted(&mut cx).is_pending());
        let frame = poll_fn(|cx| body.poll_data(cx)).await.unwrap().unwrap();
        assert_eq!(&frame[..], b"a");
        slot.finish(Ok(None));
        assert!(poll_fn(|cx| body.poll_data(cx)).await.is_none());
        assert!(poll_fn(|cx| body.poll_data(cx)).await.is_none());
    }

    #[tokio::test]
    async fn the_limit_holds_for_chunks_and_for_announced_lengths() {
        let slot = Arc::new(Slot::default());
        let mut chunked = body(&slot);
        chunked.limit(3).unwrap();
        slot.give(Bytes::from_static(b"abc"));
        assert!(poll_fn(|cx| chunked.poll_data(cx)).await.unwrap().is_ok());
        slot.give(Bytes::from_static(b"d"));
        let fault = poll_fn(|cx| chunked.poll_data(cx))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(fault.kind, FaultKind::BodyTooLarge);
        let mut announced = RequestBody::from_slot(slot, Some(4));
        assert_eq!(
            announced.limit(3).unwrap_err().kind,
            FaultKind::BodyTooLarge
        );
    }

    #[test]
    fn a_dropped_body_is_abandoned() {
        let slot = Arc::new(Slot::default());
        drop(body(&slot));
        assert!(slot.is_abandoned());
        assert!(
            slot.poll_wanted(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
}
