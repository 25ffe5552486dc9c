//! HTTP/2 towards a backend that offers it by ALPN, through hyper's client: one connection per worker and endpoint.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{
    answer::{self, Answer},
    connect::Stream,
    endpoint::Endpoint,
    failure::{Failure, Replay},
    request::Outgoing,
};
use crate::{
    stream::{
        arena::READ,
        request_body::{RequestBody, fields_of},
        source::{Cut, Source},
    },
    types::{
        fault::{Fault, with_causes},
        fields::Fields,
        head::ResponseHead,
        known::Known,
        outcome::Outcome,
    },
};

/// A handle on an HTTP/2 connection, shared by a worker's requests.
#[derive(Clone, Debug)]
pub struct Sender {
    requests: SendRequest<Upload>,
    endpoint: Arc<Endpoint>,
}

impl Sender {
    /// Opens HTTP/2 on a connection whose handshake chose it.
    pub async fn open(stream: Stream, endpoint: Arc<Endpoint>) -> Result<Sender, Failure> {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .handshake(TokioIo::new(stream));
        let (requests, connection) = handshake.await.map_err(|error| {
            let detail = format!("{endpoint} doesn't speak HTTP/2: {}", with_causes(&error));
            Failure::unreachable("http2_failed", detail, Replay::Never)
        })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %with_causes(&error), "an HTTP/2 connection to a backend ended");
            }
        });
        Ok(Sender { requests, endpoint })
    }

    /// Whether it takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Sends `request` and waits for the answer's head. On failure a body that wasn't begun is put back.
    pub async fn exchange(mut self, request: &mut Outgoing) -> Result<Answer, Failure> {
        let has_upload = !request.body.is_empty();
        let body = mem::replace(&mut request.body, RequestBody::empty());
        let message = into_message(request, &self.endpoint, Upload { body })?;
        if let Err(error) = self.requests.ready().await {
            request.body = message.into_body().body;
            return Err(self.failure(&error, Replay::Always));
        }
        match self.requests.try_send_request(message).await {
            Ok(response) => self.into_answer(response, has_upload),
            Err(mut refused) => match refused.take_message() {
                Some(message) => {
                    request.body = message.into_body().body;
                    Err(self.failure(refused.error(), Replay::Always))
                }
                None => Err(self.failure(refused.error(), Replay::Never)),
            },
        }
    }

    fn into_answer(
        self,
        response: http::Response<Incoming>,
        has_upload: bool,
    ) -> Result<Answer, Failure> {
        let (parts, incoming) = response.into_parts();
        if parts.status.as_u16() > 599 {
            return Err(Failure::bad_answer(format!(
                "the answer of {} can't be accepted: its status is outside 100 to 599",
                self.endpoint
            )));
        }
        let head = ResponseHead {
            status: parts.status,
            fields: fields_of(&parts.headers),
        };
        let is_over = incoming.is_end_stream();
        let body = Body {
            incoming,
            early: Bytes::new(),
            is_over,
            has_upload,
            trailers: None,
        };
        Ok(Answer {
            head,
            body: answer::Body::http2(body),
        })
    }

    fn failure(&self, error: &hyper::Error, replay: Replay) -> Failure {
        let causes =
            std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| {
                error.source()
            });
        // The client's own fault travels through hyper as the cause of an aborted stream.
        if let Some(fault) = causes
            .filter_map(|cause| cause.downcast_ref::<Fault>())
            .last()
        {
            return Failure::of_client(fault.clone());
        }
        let is_malformed = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
            error.source()
        })
        .filter_map(|cause| cause.downcast_ref::<h2::Error>())
        .any(h2::Error::is_library);
        if is_malformed || error.is_parse() {
            return Failure::bad_answer(format!(
                "the answer of {} can't be accepted: {}",
                self.endpoint,
                with_causes(error)
            ));
        }
        let detail = format!("{} sent no answer: {}", self.endpoint, with_causes(error));
        Failure::unreachable("closed_without_answer", detail, replay)
    }
}

fn into_message(
    request: &Outgoing,
    endpoint: &Endpoint,
    body: Upload,
) -> Result<Request<Upload>, Failure> {
    let host = request
        .fields
        .get(Known::Host)
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    let uri = Uri::builder()
        .scheme("https")
        .authority(&*host)
        .path_and_query(request.target.as_str())
        .build();
    let uri = uri.map_err(|error| {
        Failure::unresolvable(format!(
            "`{}` can't be sent to {endpoint} over HTTP/2: {error}",
            request.target
        ))
    })?;
    let mut message = Request::new(body);
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = uri;
    *message.version_mut() = Version::HTTP_2;
    let passed = request
        .fields
        .iter()
        .filter(|field| field.known != Known::Host);
    for field in passed {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(field.name),
            HeaderValue::from_bytes(field.value),
        ) {
            message.headers_mut().append(name, value);
        }
    }
    Ok(message)
}

/// A request body as hyper wants it.
#[derive(Debug)]
pub struct Upload {
    body: RequestBody,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match ready!(self.body.poll_data(cx)) {
            Some(data) => Poll::Ready(Some(data.map(Frame::data))),
            None => Poll::Ready(
                self.body
                    .take_trailers()
                    .map(|trailers| Ok(Frame::trailers(allowed(&trailers)))),
            ),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .length()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn allowed(trailers: &Fields) -> HeaderMap {
    let passed = trailers
        .iter()
        .filter(|field| !field.known.is_forbidden_trailer());
    let pairs = passed.filter_map(|field| {
        Some((
            HeaderName::from_bytes(field.name).ok()?,
            HeaderValue::from_bytes(field.value).ok()?,
        ))
    });
    pairs.collect()
}

/// A response body of an HTTP/2 stream.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    /// What one poll may not pass on yet.
    early: Bytes,
    is_over: bool,
    /// The request had a body, which a backend may decline with a reset once it has answered.
    has_upload: bool,
    trailers: Option<Fields>,
}

impl Body {
    /// Whether the end that hyper tells is the answer's own. hyper takes a reset without an error for an end, too; that
    /// is how a backend declines the rest of an upload behind a whole answer (RFC 9113, section 8.1), and otherwise an
    /// answer that was broken off.
    fn is_whole(&self) -> bool {
        let rest = self.incoming.size_hint().exact();
        self.is_over
            || self.trailers.is_some()
            || self.incoming.is_end_stream()
            || rest.map_or(self.has_upload, |rest| rest == 0)
    }
}

impl Source for Body {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        while self.early.is_empty() {
            let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                None if self.is_whole() => {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
                None => {
                    let detail = "the integration reset the stream in the middle of its answer";
                    return Poll::Ready(Some(Err(Cut::new(Outcome::IntegrationTruncated, detail))));
                }
                Some(Err(error)) => {
                    let detail = format!(
                        "the integration broke off its answer: {}",
                        with_causes(&error)
                    );
                    return Poll::Ready(Some(Err(Cut::new(Outcome::IntegrationTruncated, detail))));
                }
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.early = data,
                Err(frame) => self.trailers = frame.into_trailers().ok().map(|map| fields_of(&map)),
            }
        }
        let most = most.min(READ).min(self.early.len());
        let payload = self.early.split_to(most);
        self.is_over = self.early.is_empty() && self.incoming.is_end_stream();
        Poll::Ready(Some(Ok(payload)))
    }

    fn remaining(&self) -> Option<u64> {
        let rest = self.incoming.size_hint().exact()?;
        Some(rest + self.early.len() as u64)
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}
