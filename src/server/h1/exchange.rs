//! One request and its reply.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::Version;

use super::{
    After, Connection,
    inbound::{Client, Inbound},
};
use crate::{
    gateway::{Request, reply::Reply},
    server::{client_stream::ClientStream, gate::Judged},
    types::clock::Tick,
};

/// How often a client is asked for whose bytes are no longer read.
const ASK: Duration = Duration::from_millis(50);

/// What came of the pipeline.
enum Served {
    Reply(Box<Reply>),
    ClientLeft,
    Panicked,
}

impl<S: ClientStream> Connection<S> {
    pub(super) async fn exchange(&mut self, judged: Judged) -> After {
        let Judged {
            head,
            framing,
            expects_continue,
            keeps_alive,
            ..
        } = judged;
        let version = head.version;
        let (mut inbound, body) = Inbound::new(framing, expects_continue);
        self.open_exchange();
        let gateway = self.origin.service.gateway.clone();
        let request = Request {
            head,
            body,
            peer: self.origin.peer.clone(),
            clocks: self.clocks.clone(),
        };
        let served = {
            let mut serving = pin!(gateway.serve(request));
            poll_fn(|cx| self.poll_serve(cx, serving.as_mut(), &mut inbound)).await
        };
        match served {
            Served::Reply(reply) => self.send(*reply, version, keeps_alive, &mut inbound).await,
            // Dropping the pipeline has cancelled the integration and closed the record.
            Served::ClientLeft => After::Close,
            Served::Panicked => self.send_panic(version).await,
        }
    }

    fn poll_serve<F: Future<Output = Reply>>(
        &mut self,
        cx: &mut Context<'_>,
        mut serving: Pin<&mut F>,
        inbound: &mut Inbound,
    ) -> Poll<Served> {
        loop {
            let now = self.stamp();
            let polled = catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx)));
            match polled {
                Ok(Poll::Ready(reply)) => return Poll::Ready(Served::Reply(Box::new(reply))),
                Ok(Poll::Pending) => {}
                Err(_) => return Poll::Ready(Served::Panicked),
            }
            match self.poll_inbound(cx, inbound) {
                Poll::Ready(Client::Left) => return Poll::Ready(Served::ClientLeft),
                Poll::Ready(Client::Present) => continue,
                Poll::Pending => {}
            }
            if self.poll_clocks(cx, now).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Notes the present, and what is due by now.
    pub(super) fn stamp(&mut self) -> Tick {
        let now = Tick::recent();
        self.clocks.stamp(now);
        self.clocks.check();
        now
    }

    /// Ready if a limit or a grant comes due just now.
    pub(super) fn poll_clocks(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<()> {
        let mut due = self.clocks.check();
        if self.must_ask_for_client() {
            due = due.min(now.after(ASK));
        }
        self.timer.poll(cx, now, due)
    }

    /// The pipeline has a defect; its record was closed on the way out.
    pub(super) async fn send_panic(&mut self, version: Version) -> After {
        let head = format!(
            "{version:?} 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\
             x-amzn-ErrorType: InternalServerErrorException\r\nConnection: close\r\n\r\n{{\"message\": \"Internal server error\"}}"
        );
        self.out.clear();
        self.out.front().extend_from_slice(head.as_bytes());
        let _ = tokio::time::timeout(
            super::LINGER,
            poll_fn(|cx| self.out.poll_write(&mut self.stream, cx)),
        )
        .await;
        After::Close
    }
}
