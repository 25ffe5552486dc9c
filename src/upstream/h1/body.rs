//! The body of an HTTP/1.1 answer, read from its connection when the client has room for more.

use std::{
    mem,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{Connection, upload::Upload};
use crate::{
    stream::{
        arena::{READ, poll_take},
        framing::Framing,
        source::{Cut, Source},
    },
    types::{clock::Tick, fault::with_causes, fields::Fields, outcome::Outcome},
    upstream::pool,
};

/// A body of which this much has come in full reads is bulk: reads grow.
const BULK_AFTER: u64 = 1 << 20;
/// The largest read.
const MOST_READ: usize = 256 * 1024;
/// A client that takes longer than this for one full read doesn't keep up: reads shrink back, so that it holds little.
const KEEPS_UP: Duration = Duration::from_millis(50);

/// A response body, its connection, and what is left to send of the request.
#[derive(Debug)]
pub struct Body {
    connection: Option<Connection>,
    framing: Framing,
    /// The connection may be used again if the answer ends where it says.
    is_reusable: bool,
    /// What came with the head.
    early: BytesMut,
    /// The rest of the request, while the backend answers before it has all of it.
    upload: Option<Box<Upload>>,
    want: u32,
    in_full_reads: u64,
    last_full: Option<Tick>,
    /// The framing broke behind payload that is still to be passed on.
    broken: Option<Cut>,
}

impl Body {
    pub(super) fn new(
        connection: Option<Connection>,
        framing: Framing,
        keeps_alive: bool,
        early: BytesMut,
        upload: Option<Upload>,
    ) -> Body {
        let upload = upload.filter(|upload| !upload.is_done()).map(Box::new);
        let mut body = Body {
            connection,
            framing,
            is_reusable: keeps_alive,
            early: if early.is_empty() {
                BytesMut::new()
            } else {
                early
            },
            upload,
            want: READ as u32,
            in_full_reads: 0,
            last_full: None,
            broken: None,
        };
        if body.framing.is_over() {
            body.finish();
        }
        body
    }

    /// The answer ended where it said: the connection goes back to the pool if nothing else came or is to be sent.
    fn finish(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.is_reusable && self.upload.is_none() && self.early.is_empty() {
            connection.is_reused = true;
            pool::give(connection, Tick::recent());
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let (Some(upload), Some(connection)) = (&mut self.upload, &mut self.connection) else {
            return;
        };
        match upload.poll_send(&mut connection.stream, cx, None) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            // The answer is what counts now; the connection just can't be used again.
            Poll::Ready(Err(_)) => {
                self.upload = None;
                self.is_reusable = false;
            }
        }
    }

    /// The payload in `data`. What was valid before a fault is passed on before the answer is cut.
    fn decode(&mut self, mut data: BytesMut) -> Bytes {
        match self.framing.decode(&mut data) {
            Ok(None) => {}
            Ok(Some(_)) => self.is_reusable = false,
            Err(fault) => {
                self.broken = Some(truncated(format!(
                    "the integration's chunks are malformed: {fault}"
                )));
            }
        }
        data.freeze()
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<Option<BytesMut>, Cut>> {
        if !self.early.is_empty() {
            // An empty rest would keep its whole read buffer alive for as long as the answer lasts.
            let data = if most < self.early.len() {
                self.early.split_to(most)
            } else {
                mem::take(&mut self.early)
            };
            return Poll::Ready(Ok(Some(data)));
        }
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Ok(None));
        };
        let want = (self.want as usize).min(most);
        let data = match ready!(poll_take(&mut connection.stream, cx, want)) {
            Ok(data) => data,
            Err(error) => {
                let detail = format!(
                    "the integration broke off its answer: {}",
                    with_causes(&error)
                );
                return Poll::Ready(Err(truncated(detail)));
            }
        };
        if !data.is_empty() {
            self.adapt(data.len(), want);
            return Poll::Ready(Ok(Some(data)));
        }
        Poll::Ready(match &self.framing {
            Framing::UntilClose => Ok(None),
            Framing::Length(left) => Err(truncated(format!(
                "the integration closed the connection {left} bytes short of its Content-Length"
            ))),
            Framing::Chunked(_) => Err(truncated(
                "the integration closed the connection before its last chunk".to_owned(),
            )),
        })
    }

    fn adapt(&mut self, read: usize, want: usize) {
        if read < want || want < self.want as usize {
            return;
        }
        self.in_full_reads += read as u64;
        if self.in_full_reads < BULK_AFTER {
            return;
        }
        let now = Tick::now();
        let keeps_up = self.last_full.is_none_or(|last| now.since(last) < KEEPS_UP);
        self.last_full = Some(now);
        if keeps_up {
            self.want = (self.want * 2).min(MOST_READ as u32);
        } else {
            (self.want, self.in_full_reads, self.last_full) = (READ as u32, 0, None);
        }
    }
}

fn truncated(detail: String) -> Cut {
    Cut::new(Outcome::IntegrationTruncated, detail)
}

impl Source for Body {
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        self.poll_upload(cx);
        while !self.framing.is_over() {
            if let Some(cut) = &self.broken {
                return Poll::Ready(Some(Err(cut.clone())));
            }
            let data = match ready!(self.poll_read(cx, most)) {
                Ok(Some(data)) => data,
                Ok(None) => {
                    self.framing = Framing::Length(0);
                    break;
                }
                Err(cut) => return Poll::Ready(Some(Err(cut))),
            };
            let payload = self.decode(data);
            if self.framing.is_over() {
                self.finish();
            }
            if !payload.is_empty() {
                return Poll::Ready(Some(Ok(payload)));
            }
        }
        self.finish();
        Poll::Ready(None)
    }

    fn remaining(&self) -> Option<u64> {
        self.framing.remaining()
    }

    fn is_over(&self) -> bool {
        self.framing.is_over()
    }

    fn take_trailers(&mut self) -> Option<Fields> {
        self.framing.take_trailers()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn the_buffer_that_the_head_came_in_is_let_go_with_its_last_byte() {
        let mut cx = Context::from_waker(Waker::noop());
        for rest in ["", "hello"] {
            let mut input = BytesMut::with_capacity(READ);
            input.extend_from_slice(format!("head{rest}").as_bytes());
            drop(input.split_to(4));
            let mut body = Body::new(None, Framing::Length(100), true, input, None);
            if !rest.is_empty() {
                let Poll::Ready(Some(Ok(payload))) = body.poll_payload(&mut cx, READ) else {
                    panic!("the rest is there");
                };
                assert_eq!(payload, rest);
            }
            assert_eq!(body.early.capacity(), 0);
        }
    }
}
