//! Sending a reply: the head in one piece with whatever of the body is there, then the body as it comes.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use http::Version;

use super::{
    After, Connection,
    inbound::{Client, Inbound},
};
use crate::{
    gateway::reply::{Length, Reply},
    server::client_stream::ClientStream,
    stream::{
        arena::READ,
        clocks::{GRACE, Waiting},
        source::Cut,
        streamed::verdict,
    },
    types::{clock::Tick, escape, outcome::Outcome},
};

/// What the kernel may hold unsent of a stream that its shaper holds back, so that "accepted" means accepted.
const SHAPED: u32 = 128 * 1024;
/// The same while nobody knows whether the client keeps up: it stalls before reads have grown, and holds little then.
const UNPROVEN: u32 = 512 * 1024;
/// The same once reads have grown, because the client takes what comes: the gateway need not wait for it as often.
const PROVEN: u32 = 2 * 1024 * 1024;
/// A reply of fewer bytes isn't worth the system call that bounds it.
const SHORT: u64 = 64 * 1024;

/// A reply on its way out.
struct Sending {
    reply: Reply,
    is_chunked: bool,
    stage: Stage,
    /// Payload in the outbox.
    queued: usize,
    /// Payload that was written.
    sent: u64,
    /// When a verdict's grace is over.
    drop_at: Tick,
}

/// How far sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The head is queued, and nothing has been written yet.
    Head,
    /// Payload is queued and written as it comes.
    Body,
    /// The end of the body has been queued.
    Ended,
}

/// How sending ended.
enum Sent {
    Whole,
    Cut(Cut),
    /// The gateway has a defect.
    Panicked,
}

impl<S: ClientStream> Connection<S> {
    /// Sends a reply and closes its record. What becomes of the connection.
    pub(super) async fn send(
        &mut self,
        reply: Reply,
        version: Version,
        client_keeps: bool,
        inbound: &mut Inbound,
    ) -> After {
        let is_old = version == Version::HTTP_10;
        let is_close_delimited = is_old && reply.length() == Length::Unknown;
        let keeps = client_keeps
            && !reply.closes
            && !is_close_delimited
            && inbound.can_be_followed()
            && !self.origin.handle.is_closing()
            && !self.origin.service.ends_keep_alive.load(Relaxed);
        let is_chunked = reply.length() == Length::Unknown && !is_old;
        inbound.forget_unless_begun();
        encode_head(self.out.front(), &reply, is_old, is_chunked, keeps);
        let has_body = reply.has_body();
        let mut sending = Sending {
            reply,
            is_chunked: is_chunked && has_body,
            stage: Stage::Head,
            queued: 0,
            sent: 0,
            drop_at: Tick::NEVER,
        };
        let before = self.out.written();
        let sent = poll_fn(|cx| {
            let send = || self.poll_send(cx, &mut sending, inbound);
            catch_unwind(AssertUnwindSafe(send)).unwrap_or(Poll::Ready(Sent::Panicked))
        })
        .await;
        match sent {
            Sent::Whole => {
                sending.reply.complete();
                self.clocks.wait(Waiting::Nobody);
                if keeps && self.discard(inbound).await {
                    return After::KeepAlive;
                }
                self.lingers |= !inbound.is_over();
                After::Close
            }
            Sent::Cut(cut) => {
                sending.reply.cut(&cut);
                self.break_off(is_close_delimited)
            }
            Sent::Panicked => {
                self.account(&mut sending);
                let has_begun = self.out.written() > before;
                sending.reply.panicked(has_begun);
                if has_begun {
                    self.break_off(is_close_delimited)
                } else {
                    self.send_panic(version).await
                }
            }
        }
    }

    /// Forgets what hasn't left of a reply. How its connection must end, so that nobody takes it for complete.
    fn break_off(&mut self, is_close_delimited: bool) -> After {
        let is_stuck = !self.out.is_empty();
        self.out.clear();
        match (is_stuck, is_close_delimited) {
            (true, _) => After::Reset,
            (false, true) => After::ResetDrained,
            (false, false) => After::Cut,
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
        inbound: &mut Inbound,
    ) -> Poll<Sent> {
        loop {
            let now = self.stamp();
            if let Poll::Ready(sent) = self.poll_body(cx, sending) {
                return Poll::Ready(sent);
            }
            match self.poll_inbound(cx, inbound) {
                Poll::Ready(Client::Left) => {
                    self.account(sending);
                    return Poll::Ready(Sent::Cut(Cut::new(
                        Outcome::ClientLeft,
                        "the client closed the connection",
                    )));
                }
                // More of the upload is there, and the body may pass it on.
                Poll::Ready(Client::Present) => continue,
                Poll::Pending => {}
            }
            if let Some(outcome) = self.clocks.verdict() {
                if sending.drop_at == Tick::NEVER {
                    sending.drop_at = now.after(GRACE);
                } else if now >= sending.drop_at {
                    self.account(sending);
                    return Poll::Ready(Sent::Cut(verdict(outcome)));
                }
                if self.timer.poll(cx, now, sending.drop_at).is_pending() {
                    return Poll::Pending;
                }
            } else if self.poll_clocks(cx, now).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Writes what is queued and queues what has arrived, until there is neither room nor payload.
    fn poll_body(&mut self, cx: &mut Context<'_>, sending: &mut Sending) -> Poll<Sent> {
        loop {
            // The first payload leaves with the head if it is there already.
            if sending.stage == Stage::Head {
                sending.stage = Stage::Body;
            } else {
                let before = self.out.written();
                let written = self.out.poll_write(&mut self.stream, cx);
                if self.out.written() > before {
                    self.clocks.progress();
                }
                match written {
                    Poll::Pending => {
                        self.clocks.wait(Waiting::Client);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(_)) => {
                        self.account(sending);
                        return Poll::Ready(Sent::Cut(Cut::new(
                            Outcome::ClientLeft,
                            "the client closed the connection",
                        )));
                    }
                    Poll::Ready(Ok(())) => self.account(sending),
                }
                if sending.stage == Stage::Ended {
                    return self.poll_flush(cx);
                }
            }
            match sending.reply.poll_payload(cx) {
                Poll::Ready(Some(Ok(payload))) => {
                    sending.queued = payload.len();
                    self.bound_unsent(sending);
                    self.queue(sending, payload);
                }
                Poll::Ready(None) => self.queue_end(sending),
                Poll::Ready(Some(Err(cut))) => {
                    return if self.out.is_empty() {
                        Poll::Ready(Sent::Cut(cut))
                    } else {
                        self.flush_then_cut(cx, cut)
                    };
                }
                Poll::Pending if self.out.is_empty() => {
                    self.bound_unsent(sending);
                    let _ = Pin::new(&mut self.stream).poll_flush(cx);
                    return Poll::Pending;
                }
                // The head waits for nobody.
                Poll::Pending => {}
            }
        }
    }

    fn queue(&mut self, sending: &mut Sending, payload: bytes::Bytes) {
        if !sending.is_chunked {
            self.out.payload(payload);
            if sending.reply.is_over() {
                sending.stage = Stage::Ended;
            }
            return;
        }
        let may_have_trailers = sending.reply.client_takes_trailers();
        let is_last = sending.reply.is_over() && !may_have_trailers;
        self.out.chunk(payload, is_last);
        if is_last {
            sending.stage = Stage::Ended;
        }
    }

    fn queue_end(&mut self, sending: &mut Sending) {
        sending.stage = Stage::Ended;
        if sending.is_chunked {
            let trailers = sending
                .reply
                .take_trailers()
                .filter(|_| sending.reply.client_takes_trailers());
            self.out.last_chunk(trailers.as_ref());
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => {
                self.clocks.wait(Waiting::Client);
                Poll::Pending
            }
            Poll::Ready(Ok(())) => Poll::Ready(Sent::Whole),
            Poll::Ready(Err(_)) => Poll::Ready(Sent::Cut(Cut::new(
                Outcome::ClientLeft,
                "the client closed the connection",
            ))),
        }
    }

    /// What has arrived before a cut is delivered, the head at least.
    fn flush_then_cut(&mut self, cx: &mut Context<'_>, cut: Cut) -> Poll<Sent> {
        let _ = self.out.poll_write(&mut self.stream, cx);
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        Poll::Ready(Sent::Cut(cut))
    }

    /// Keeps what the kernel holds for a client in proportion to what the client has taken so far.
    fn bound_unsent(&mut self, sending: &Sending) {
        let bound = if sending.reply.is_limiting() {
            SHAPED
        } else if sending.queued > READ {
            PROVEN
        } else if sending.sent >= SHORT && self.unsent < UNPROVEN {
            UNPROVEN
        } else {
            return;
        };
        if std::mem::replace(&mut self.unsent, bound) != bound {
            self.stream.bound_unsent(bound);
        }
    }

    /// Counts the payload that was written.
    fn account(&mut self, sending: &mut Sending) {
        let left = self.out.payload_left();
        if sending.queued > left {
            let written = (sending.queued - left) as u64;
            sending.reply.sent(written);
            sending.sent += written;
            sending.queued = left;
        }
    }
}

fn encode_head(out: &mut Vec<u8>, reply: &Reply, is_old: bool, is_chunked: bool, keeps: bool) {
    let wire = reply.fields.wire();
    out.reserve(wire.len() + 128);
    out.extend_from_slice(if is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(
        reply
            .status
            .canonical_reason()
            .unwrap_or_default()
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(wire);
    match reply.length() {
        Length::Known(length) => {
            out.extend_from_slice(b"Content-Length: ");
            escape::number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Length::Unknown if is_chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Length::Unknown | Length::None => {}
    }
    match (keeps, is_old) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, false) => {}
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{
        server::testing::{Stage, breaking_after, panics},
        stream::{outbox::Outbox, timer::LazyTimer},
    };

    /// What a client hears of a reply at which the gateway fails after these pieces, whether the connection was reset, and
    /// what was recorded.
    async fn heard(version: Version, pieces: &[&'static str]) -> (String, bool, String) {
        let stage = Stage::new(&format!("{version:?}-{}", pieces.len()).replace('/', "-"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        let mut client = client.unwrap();
        let clocks = stage.entry.handle().clocks().clone();
        let mut connection = Connection {
            stream: accepted.unwrap().0,
            origin: stage.origin.clone(),
            held: bytes::BytesMut::new(),
            out: Outbox::default(),
            timer: LazyTimer::new(Tick::now()),
            clocks: clocks.clone(),
            lingers: false,
            yields: false,
            unsent: 0,
        };
        connection.open_exchange();
        let reply = stage.reply(breaking_after(pieces), version, clocks);
        let mut inbound = Inbound::none();
        let serve = async {
            let after = connection.send(reply, version, true, &mut inbound).await;
            connection.end(after).await;
        };
        let mut heard = Vec::new();
        let (end, ()) = tokio::join!(client.read_to_end(&mut heard), serve);
        let text = String::from_utf8(heard).unwrap();
        (text, end.is_err(), stage.records())
    }

    #[tokio::test]
    async fn a_panic_in_the_middle_of_a_body_is_recorded_and_nobody_takes_it_for_complete() {
        let before = panics();
        let (chunked, _, record) = heard(Version::HTTP_11, &["hello"]).await;
        assert!(chunked.ends_with("\r\n\r\n5\r\nhello\r\n"), "{chunked}");
        assert_eq!(record, "200 refused panicked\n");
        let (unframed, is_reset, record) = heard(Version::HTTP_10, &["hello", " you"]).await;
        assert!(unframed.ends_with("\r\n\r\nhello you"), "{unframed}");
        assert!(is_reset);
        assert_eq!(record, "200 refused panicked\n");
        assert!(panics() >= before + 2);
    }

    #[tokio::test]
    async fn a_panic_before_anything_was_sent_is_answered() {
        let (answer, is_reset, record) = heard(Version::HTTP_11, &[]).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.ends_with(r#"{"message": "Internal server error"}"#));
        assert!(!is_reset);
        assert_eq!(record, "500 refused panicked\n");
    }
}
