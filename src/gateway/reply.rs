//! A reply on its way to the client: head, body, and the record that ends with it.

use std::{
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::{
    integration::{http_proxy::finish_without_client, payload::Payload},
    stream::{clocks::Clocks, source::Cut, streamed::StreamedBody},
    telemetry::record::Record,
    types::{
        clock::Tick,
        context::{Context, Transfer},
        fields::Fields,
        known::Known,
        outcome::Outcome,
    },
};

/// How long the rest of an answer is read that isn't sent: Lambda's longest timeout.
const LONGEST_UNSENT: Duration = Duration::from_secs(900);

/// What a route answers, before the gateway's own fields are added.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    fields: Fields,
    body: Body,
    /// `Content-Length` where the body doesn't tell it: HEAD.
    announced: Option<u64>,
    /// How long the backend's answer is read on if the client leaves.
    finishes_within: Option<Duration>,
    /// Whether an API has answered.
    is_of_api: bool,
}

#[derive(Debug)]
enum Body {
    Whole(Bytes),
    Stream(Box<StreamedBody<Payload>>),
    Over,
}

impl Answer {
    /// An answer whose body is there.
    pub fn whole(status: StatusCode, fields: Fields, body: Bytes) -> Answer {
        Answer {
            status,
            fields,
            body: Body::Whole(body),
            announced: None,
            finishes_within: None,
            is_of_api: true,
        }
    }

    /// An answer whose body is streamed.
    pub fn streamed(status: StatusCode, fields: Fields, body: StreamedBody<Payload>) -> Answer {
        Answer {
            status,
            fields,
            body: Body::Stream(Box::new(body)),
            announced: None,
            finishes_within: None,
            is_of_api: true,
        }
    }

    /// It is the answer of a function that was reached without an API.
    #[must_use]
    pub fn without_api(mut self) -> Answer {
        self.is_of_api = false;
        self
    }

    /// Announces a length that the body doesn't have, as an answer to HEAD does.
    #[must_use]
    pub fn announcing(mut self, length: Option<u64>) -> Answer {
        self.announced = length;
        self
    }

    /// Reads the backend's answer to its end, for at most `limit`, if the client leaves.
    #[must_use]
    pub fn finishing_within(mut self, limit: Option<Duration>) -> Answer {
        self.finishes_within = limit;
        self
    }
}

/// How long a reply's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// It can't have one (204, 304).
    None,
    /// So many bytes.
    Known(u64),
    /// That is seen when it ends.
    Unknown,
}

/// A reply, ready to be sent.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// All fields but those of the framing.
    pub fields: Fields,
    /// Whether the connection must be closed after it.
    pub closes: bool,
    length: Length,
    has_body: bool,
    body: Body,
    record: Record,
    clocks: Arc<Clocks>,
    /// How long the backend's answer is read on if the client leaves.
    finishes_within: Option<Duration>,
    /// What the record says if all of it is sent.
    outcome: Outcome,
    is_ended: bool,
}

impl Reply {
    /// A reply with an integration's answer.
    pub fn answer(record: Record, answer: Answer, clocks: Arc<Clocks>) -> Reply {
        Reply::new(record, answer, clocks, Outcome::Complete)
    }

    /// A reply with the gateway's own answer.
    pub fn refused(record: Record, answer: Answer, clocks: Arc<Clocks>, outcome: Outcome) -> Reply {
        clocks.detach();
        Reply::new(record, answer, clocks, outcome)
    }

    fn new(mut record: Record, answer: Answer, clocks: Arc<Clocks>, outcome: Outcome) -> Reply {
        let Answer {
            status,
            mut fields,
            mut body,
            announced,
            finishes_within,
            is_of_api,
        } = answer;
        let context = record.context_mut();
        context.status = Some(status.as_u16());
        let is_head = context.head.method == Method::HEAD;
        let is_bodyless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = match &body {
            _ if is_bodyless => Length::None,
            _ if announced.is_some() => announced.map_or(Length::Unknown, Length::Known),
            Body::Whole(bytes) => Length::Known(bytes.len() as u64),
            Body::Stream(stream) if is_head => stream
                .remaining()
                .filter(|left| *left > 0)
                .map_or(Length::Unknown, Length::Known),
            Body::Stream(stream) => stream.remaining().map_or(Length::Unknown, Length::Known),
            Body::Over => Length::Known(0),
        };
        if is_head || is_bodyless {
            read_unsent(std::mem::replace(&mut body, Body::Over));
        }
        add_own(&mut fields, context, is_bodyless, is_of_api);
        Reply {
            status,
            fields,
            closes: false,
            length,
            has_body: !(is_head || is_bodyless),
            body,
            record,
            clocks,
            finishes_within,
            outcome,
            is_ended: false,
        }
    }

    /// How long the body is.
    pub fn length(&self) -> Length {
        self.length
    }

    /// Whether a body follows the head: not for HEAD, 204 and 304, whatever the length says.
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// The next payload; an error once the reply has to be cut.
    pub fn poll_payload(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        match &mut self.body {
            Body::Over => Poll::Ready(None),
            Body::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.body = Body::Over;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Body::Stream(stream) => stream.poll_payload(cx),
        }
    }

    /// Whether all payload has been taken.
    pub fn is_over(&self) -> bool {
        match &self.body {
            Body::Over => true,
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Stream(stream) => stream.is_over(),
        }
    }

    /// Whether the stream is being held back by its bandwidth.
    pub fn is_limiting(&self) -> bool {
        matches!(&self.body, Body::Stream(stream) if stream.is_limiting())
    }

    /// Trailer fields that may be passed on, after the end.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        let Body::Stream(stream) = &mut self.body else {
            return None;
        };
        let mut trailers = stream.take_trailers()?;
        trailers.retain(|field| !field.known.is_forbidden_trailer());
        Some(trailers).filter(|trailers| !trailers.is_empty())
    }

    /// The clocks of the exchange.
    pub fn clocks(&self) -> &Arc<Clocks> {
        &self.clocks
    }

    /// Whether the client takes trailer fields.
    pub fn client_takes_trailers(&self) -> bool {
        self.record.context().head.takes_trailers()
    }

    /// Counts payload bytes that were given to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.record.sent(bytes);
    }

    /// Everything was given to the client.
    pub fn complete(mut self) {
        let outcome = self.outcome;
        self.end(outcome);
    }

    /// The reply was broken off.
    pub fn cut(mut self, cut: &Cut) {
        let facts = &mut self.record.context_mut().integration;
        facts.error.get_or_insert_with(|| cut.detail.clone());
        self.end(cut.outcome);
    }

    /// The gateway failed at the reply. Whether the client has seen its head by then is `has_begun`.
    pub fn panicked(mut self, has_begun: bool) {
        self.end_panicked(has_begun);
    }

    fn end_panicked(&mut self, has_begun: bool) {
        if !self.is_ended {
            let outcome = self.record.note_panic(has_begun);
            self.end(outcome);
        }
    }

    /// Closes the record, once, and lets go of the integration.
    fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        let context = self.record.context_mut();
        if let Body::Stream(stream) = std::mem::replace(&mut self.body, Body::Over) {
            context.transfer = Transfer {
                bytes: context.transfer.bytes,
                ..*stream.transfer()
            };
            let left = outcome == Outcome::ClientLeft && !stream.is_over();
            if let Some(limit) = self.finishes_within.filter(|_| left) {
                finish_without_client(stream.into_source(), limit);
            }
        }
        self.clocks.settle(&mut context.transfer);
        self.record.close(outcome);
    }
}

impl Drop for Reply {
    /// A reply that is dropped before its end is one whose client left, or whose verdict nobody waited for; or the gateway
    /// failed before any of it was sent.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return self.end_panicked(false);
        }
        self.end(self.clocks.verdict().unwrap_or(Outcome::ClientLeft));
    }
}

/// A stream that isn't sent, for there is no body: a function still ends its answer, and isn't cancelled for the want of a
/// reader.
fn read_unsent(body: Body) {
    if let Body::Stream(stream) = body
        && !stream.is_over()
    {
        finish_without_client(stream.into_source(), LONGEST_UNSENT);
    }
}

/// The fields that the gateway says itself in every reply.
fn add_own(fields: &mut Fields, context: &Context, is_bodyless: bool, is_of_api: bool) {
    if !is_bodyless && !fields.has(Known::ContentType) {
        fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
    }
    let now = context
        .opened_wall
        .after(Tick::recent().since(context.opened));
    fields.push_with(Known::Date, b"Date", |text| now.write_imf_fixdate(text));
    let (id, extended) = (&context.request_id, &context.extended_id);
    fields.push_known(Known::XAmznRequestId, b"x-amzn-RequestId", id.as_bytes());
    if is_of_api {
        fields.push_known(Known::XAmzApigwId, b"x-amz-apigw-id", extended.as_bytes());
    }
}
