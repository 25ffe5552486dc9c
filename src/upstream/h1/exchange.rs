//! One request and the head of its answer, both directions at once: a backend may answer before it has read all.

use std::{
    future::poll_fn,
    mem,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use http::{Method, StatusCode};

use super::{
    Connection,
    body::Body,
    head::{Head, parse},
    upload::{Stopped, Upload},
};
use crate::{
    stream::{
        arena::{READ, poll_take},
        clocks::{Clocks, Waiting},
        request_body::RequestBody,
    },
    types::{fault::with_causes, head::ResponseHead},
    upstream::{
        answer::{self, Answer},
        failure::{Failure, Replay},
        request::Outgoing,
    },
};

/// Interim responses before the final one.
const MOST_INTERIM: u8 = 32;

/// Sends `request` and reads the answer's head. On failure an untouched body is put back into `request`.
pub async fn exchange(
    connection: Connection,
    request: &mut Outgoing,
    clocks: &Clocks,
) -> Result<Answer, Failure> {
    let head = encode(request);
    let is_doubtful =
        matches!(request.method, Method::GET | Method::HEAD) && !request.body.is_empty();
    let body = mem::replace(&mut request.body, RequestBody::empty());
    let mut exchange = Exchange {
        upload: Some(Upload::new(head, body)),
        connection: Some(connection),
        input: BytesMut::new(),
        interim: 0,
        is_doubtful,
    };
    let result = poll_fn(|cx| exchange.poll_head(cx, &request.method, clocks)).await;
    match result {
        Ok(head) => Ok(exchange.into_answer(head)),
        Err(failure) => {
            if let Some(upload) = exchange.upload.take().filter(Upload::is_untouched) {
                request.body = upload.into_body();
            }
            Err(failure)
        }
    }
}

fn encode(request: &Outgoing) -> Vec<u8> {
    let mut head = Vec::with_capacity(request.target.len() + request.fields.wire().len() + 64);
    for part in [
        request.method.as_str(),
        " ",
        &request.target,
        " HTTP/1.1\r\n",
    ] {
        head.extend_from_slice(part.as_bytes());
    }
    head.extend_from_slice(request.fields.wire());
    match request.body.length() {
        Some(length) => {
            head.extend_from_slice(b"Content-Length: ");
            crate::types::escape::number(&mut head, length);
            head.extend_from_slice(b"\r\n\r\n");
        }
        None => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
    }
    head
}

struct Exchange {
    /// `None` once the backend has stopped taking the request.
    upload: Option<Upload>,
    connection: Option<Connection>,
    input: BytesMut,
    interim: u8,
    /// The request has a body where some backends expect none, and would take it for the next request.
    is_doubtful: bool,
}

impl Exchange {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        clocks: &Clocks,
    ) -> Poll<Result<Head, Failure>> {
        self.poll_upload(cx, clocks)?;
        loop {
            match parse(&self.input, method) {
                Err(fault) => return Poll::Ready(Err(self.bad_answer(&fault.to_string()))),
                Ok(Some((head, length))) => {
                    self.input.advance(length);
                    if !head.status.is_informational() {
                        return Poll::Ready(Ok(head));
                    }
                    self.interim(head.status)?;
                }
                Ok(None) => ready!(self.poll_more(cx, clocks))?,
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>, clocks: &Clocks) -> Result<(), Failure> {
        let (Some(upload), Some(connection)) = (&mut self.upload, &mut self.connection) else {
            return Ok(());
        };
        match upload.poll_send(&mut connection.stream, cx, Some(clocks)) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                clocks.wait(Waiting::Integration);
                Ok(())
            }
            Poll::Ready(Err(Stopped::ByClient(fault))) => Err(Failure::of_client(fault)),
            Poll::Ready(Err(Stopped::ByBackend(error))) => {
                // Whoever answers early may close before it has read all: the answer is worth waiting for.
                if upload.is_unsent() {
                    return Err(self.closed(&error.to_string()));
                }
                clocks.wait(Waiting::Integration);
                Ok(())
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, clocks: &Clocks) -> Poll<Result<(), Failure>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Err(self.closed("no connection")));
        };
        match ready!(poll_take(&mut connection.stream, cx, READ)) {
            Err(error) => Poll::Ready(Err(self.closed(&with_causes(&error)))),
            Ok(more) if more.is_empty() => {
                Poll::Ready(Err(self.closed("it closed the connection")))
            }
            Ok(more) => {
                clocks.progress();
                if self.input.is_empty() {
                    self.input = more;
                } else {
                    self.input.extend_from_slice(&more);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn interim(&mut self, status: StatusCode) -> Result<(), Failure> {
        self.interim += 1;
        if self.interim > MOST_INTERIM {
            return Err(self.bad_answer(&format!(
                "it sent more than {MOST_INTERIM} interim responses ({status})"
            )));
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.connection
            .as_ref()
            .map_or_else(String::new, |connection| connection.endpoint.to_string())
    }

    fn bad_answer(&self, why: &str) -> Failure {
        Failure::bad_answer(format!(
            "the answer of {} can't be accepted: {why}",
            self.name()
        ))
    }

    /// The connection ended before the head was complete.
    fn closed(&self, how: &str) -> Failure {
        if !self.input.is_empty() {
            return self.bad_answer(&format!("it broke off in the middle of the head: {how}"));
        }
        let is_reused = self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.is_reused);
        let upload = self.upload.as_ref();
        let replay = match (
            upload.is_some_and(Upload::is_unsent),
            upload.is_some_and(Upload::is_untouched),
        ) {
            (true, _) => Replay::Always,
            (false, true) if is_reused && self.interim == 0 => Replay::IfIdempotent,
            _ => Replay::Never,
        };
        let detail = format!("{} sent no answer: {how}", self.name());
        Failure::unreachable("closed_without_answer", detail, replay)
    }

    fn into_answer(self, head: Head) -> Answer {
        let Head {
            status,
            fields,
            framing,
            keeps_alive,
        } = head;
        let body = Body::new(
            self.connection,
            framing,
            keeps_alive && !self.is_doubtful,
            self.input,
            self.upload,
        );
        Answer {
            head: ResponseHead { status, fields },
            body: answer::Body::http1(body),
        }
    }
}
