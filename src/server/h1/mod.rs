//! An HTTP/1.1 connection, from its first byte to its last.
//!
//! One task does everything: it reads heads through the gate, runs the pipeline, hands request bodies over, polls the
//! response body when the socket has room, watches for a client that leaves, and keeps every clock. Nothing is shared
//! with another task, so nothing is locked and nothing is woken twice.

mod exchange;
mod inbound;
mod reply;

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};

use super::{
    Origin,
    client_stream::{ClientStream, LINGER, MOST_UNWANTED, Prefixed, drained, linger, shut},
    gate::{Judged, Refused, Sizes, judge},
    registry::WELCOME,
};
use crate::{
    gateway::reply::Reply,
    stream::{
        arena::{READ, poll_take},
        clocks::Clocks,
        outbox::Outbox,
        timer::LazyTimer,
    },
    types::{
        clock::Tick,
        fault::{Fault, FaultKind},
    },
};

/// What is read ahead of a request that is being served.
const READ_AHEAD: usize = 16 * 1024;
/// How an HTTP/2 client with prior knowledge begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection being served.
pub struct Connection<S> {
    stream: S,
    origin: Origin,
    /// Bytes that were read and belong to what comes next.
    held: BytesMut,
    out: Outbox,
    timer: LazyTimer,
    clocks: Arc<Clocks>,
    /// The client may still be sending what nobody reads.
    lingers: bool,
    /// Somebody waits for its place, and it has nothing to stay for.
    yields: bool,
    /// What the kernel may hold unsent; 0 for as much as it likes.
    unsent: u32,
}

/// What comes next on a connection.
enum Next {
    Request(Box<Judged>),
    Refuse(Refused),
    Http2,
    Close,
}

/// How an exchange leaves its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The next request may come.
    KeepAlive,
    /// Close in good order.
    Close,
    /// Close without the end of the response.
    Cut,
    /// Reset.
    Reset,
    /// Reset once what was written has left.
    ResetDrained,
}

/// Serves a connection to its end. Gives it back if the client speaks HTTP/2.
pub async fn serve<S: ClientStream>(stream: S, origin: Origin) -> Option<Prefixed<S>> {
    let clocks = origin.handle.clocks().clone();
    clocks.stamp(Tick::now());
    // One task serves the connection from here to its end, so its waker stays the same.
    poll_fn(|cx| {
        origin.handle.register(cx.waker());
        Poll::Ready(())
    })
    .await;
    let timer = LazyTimer::new(clocks.now().after(origin.service.http.first_byte));
    let connection = Connection {
        stream,
        origin,
        held: BytesMut::new(),
        out: Outbox::default(),
        timer,
        clocks,
        lingers: false,
        yields: false,
        unsent: 0,
    };
    let mut run = pin!(connection.run());
    poll_fn(|cx| {
        // The clock is read once for each time the task is woken; all that follows goes by this reading.
        Tick::now();
        run.as_mut().poll(cx)
    })
    .await
}

impl<S: ClientStream> Connection<S> {
    async fn run(mut self) -> Option<Prefixed<S>> {
        let mut is_first = true;
        let after = loop {
            let after = match self.next(is_first).await {
                Next::Request(judged) => self.exchange(*judged).await,
                Next::Refuse(refused) => self.refuse(refused).await,
                Next::Http2 => return Some(Prefixed::new(self.held, self.stream)),
                Next::Close => After::Close,
            };
            if after != After::KeepAlive {
                break after;
            }
            is_first = false;
        };
        self.end(after).await;
        None
    }

    /// Waits for a head.
    async fn next(&mut self, is_first: bool) -> Next {
        let begun = Tick::recent();
        let mut head_begun = if self.held.is_empty() {
            None
        } else {
            Some(begun)
        };
        // Pipelined bytes are judged at once, later ones as they come.
        let mut is_news = !self.held.is_empty();
        self.origin.handle.set_idle(begun);
        let next =
            poll_fn(|cx| self.poll_next(cx, is_first, begun, &mut head_begun, &mut is_news)).await;
        self.origin.handle.set_busy();
        next
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        is_first: bool,
        begun: Tick,
        head_begun: &mut Option<Tick>,
        is_news: &mut bool,
    ) -> Poll<Next> {
        let now = Tick::recent();
        self.clocks.stamp(now);
        loop {
            if std::mem::take(is_news)
                && let Some(next) = self.judge_held(is_first)
            {
                return Poll::Ready(next);
            }
            match poll_take(&mut self.stream, cx, READ) {
                Poll::Pending if self.is_dismissed(is_first) => return Poll::Ready(Next::Close),
                Poll::Pending => break,
                Poll::Ready(Ok(data)) if !data.is_empty() => {
                    head_begun.get_or_insert(now);
                    self.hold(data);
                    *is_news = true;
                }
                Poll::Ready(_) if self.held.is_empty() => return Poll::Ready(Next::Close),
                Poll::Ready(_) => {
                    return Poll::Ready(refusal(
                        FaultKind::BadHead,
                        "the client closed the connection in the middle of a head",
                    ));
                }
            }
        }
        let Origin {
            handle, service, ..
        } = &self.origin;
        let http = &service.http;
        let due = match *head_begun {
            Some(begun) => {
                handle.set_in_head(begun);
                let patience = if handle.is_displaced() {
                    http.head.min(WELCOME)
                } else {
                    http.head
                };
                begun.after(patience)
            }
            None if handle.is_closing() => begun.after(http.first_byte.min(WELCOME)),
            None if is_first => begun.after(http.first_byte),
            None => begun.after(http.keep_alive),
        };
        match self.timer.poll(cx, now, due) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if head_begun.is_none() => Poll::Ready(Next::Close),
            Poll::Ready(()) => {
                self.yields = self.origin.handle.is_displaced();
                Poll::Ready(refusal(
                    FaultKind::HeadTimeout,
                    "the request head wasn't complete in time",
                ))
            }
        }
    }

    /// Whether the connection should end and nothing of a request has come.
    fn is_dismissed(&self, is_first: bool) -> bool {
        !is_first && self.held.is_empty() && self.origin.handle.is_closing()
    }

    fn judge_held(&mut self, is_first: bool) -> Option<Next> {
        if is_first && self.origin.may_be_http2 {
            let common = PREFACE
                .iter()
                .zip(&self.held)
                .take_while(|(a, b)| a == b)
                .count();
            if common == PREFACE.len() {
                return Some(Next::Http2);
            }
            if common == self.held.len() {
                return None;
            }
        }
        let http = &self.origin.service.http;
        match judge(
            &self.held,
            Sizes {
                line: http.request_line,
                fields: http.header,
            },
        ) {
            Ok(None) => None,
            Ok(Some(judged)) => {
                self.held.advance(judged.length);
                self.release_held();
                Some(Next::Request(Box::new(judged)))
            }
            Err(refused) => Some(Next::Refuse(refused)),
        }
    }

    fn hold(&mut self, data: BytesMut) {
        if self.held.is_empty() {
            self.held = data;
        } else {
            self.held.extend_from_slice(&data);
        }
    }

    /// An emptied buffer isn't kept: idle connections hold nothing.
    fn release_held(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    async fn refuse(&mut self, refused: Refused) -> After {
        let Origin { service, peer, .. } = self.origin.clone();
        self.open_exchange();
        let reply = service
            .gateway
            .refuse(*refused.head, peer, self.clocks.clone(), refused.fault);
        self.send_refusal(reply).await
    }

    async fn send_refusal(&mut self, mut reply: Reply) -> After {
        reply.closes = true;
        self.lingers = true;
        let mut inbound = inbound::Inbound::none();
        self.send(reply, http::Version::HTTP_11, false, &mut inbound)
            .await
    }

    fn open_exchange(&mut self) {
        /// Until the route is known.
        const CLIENT_STALL: Duration = Duration::from_secs(60);
        const UPLOAD: Duration = Duration::from_secs(30);
        self.clocks.stamp(Tick::recent());
        self.clocks.open(CLIENT_STALL, UPLOAD);
    }

    async fn end(self, after: After) {
        match after {
            After::KeepAlive | After::Close => self.close().await,
            // Without TLS's close_notify and without the last chunk: nobody can take it for complete.
            After::Cut => {}
            After::Reset => self.stream.reset_on_close(),
            After::ResetDrained => {
                drained(&self.stream).await;
                self.stream.reset_on_close();
            }
        }
    }

    async fn close(mut self) {
        // It may have been sent more than was read.
        if !self.yields && (self.lingers || !self.held.is_empty()) {
            linger(self.stream).await;
        } else {
            shut(&mut self.stream).await;
        }
    }
}

fn refusal(kind: FaultKind, detail: &'static str) -> Next {
    Next::Refuse(Refused::from(Fault::new(kind, detail)))
}
