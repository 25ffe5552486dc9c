//! The request body of an exchange, read from the connection as the integration wants it.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;

use super::{Connection, READ_AHEAD};
use crate::{
    server::client_stream::ClientStream,
    stream::{
        arena::{READ, poll_take},
        framing::Framing,
        request_body::{RequestBody, Slot},
    },
    types::fault::{Fault, FaultKind},
};

/// A request body that is being read.
pub(super) struct Inbound {
    /// `None` if the request has no body, or nobody will ever want it.
    slot: Option<Arc<Slot>>,
    framing: Framing,
    /// The client waits for `100 Continue`.
    awaits_continue: bool,
    /// Where the body ends can't be known any more, so nothing behind it may be taken for a request.
    is_broken: bool,
}

/// What reading told about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Present,
    Left,
}

impl Inbound {
    /// No body.
    pub(super) fn none() -> Inbound {
        Inbound {
            slot: None,
            framing: Framing::Length(0),
            awaits_continue: false,
            is_broken: false,
        }
    }

    /// A body, and the connection's end of it.
    pub(super) fn new(framing: Option<Framing>, awaits_continue: bool) -> (Inbound, RequestBody) {
        let Some(framing) = framing else {
            return (Inbound::none(), RequestBody::empty());
        };
        let slot = Arc::new(Slot::default());
        let body = RequestBody::from_slot(slot.clone(), framing.remaining());
        (
            Inbound {
                slot: Some(slot),
                framing,
                awaits_continue,
                is_broken: false,
            },
            body,
        )
    }

    /// Whether all of the body has been read.
    pub(super) fn is_over(&self) -> bool {
        self.framing.is_over()
    }

    /// The reply begins: a client that still waits for leave to send its body doesn't get it any more.
    pub(super) fn forget_unless_begun(&mut self) {
        if self.awaits_continue {
            self.break_off(&Fault::new(
                FaultKind::BadBody,
                "the reply came before the request body was asked for",
            ));
        }
    }

    /// How many bytes are still to come, if that is known.
    fn remaining(&self) -> Option<u64> {
        self.framing.remaining()
    }

    fn break_off(&mut self, fault: &Fault) {
        self.slot
            .iter()
            .for_each(|slot| slot.finish(Err(fault.clone())));
        self.slot = None;
        self.is_broken = true;
    }

    /// Whether another request may follow this body on its connection: it was read to its end, or can be.
    pub(super) fn can_be_followed(&self) -> bool {
        let unwanted = self.slot.as_ref().is_none_or(|slot| slot.is_abandoned());
        let is_long = self
            .remaining()
            .is_some_and(|left| left > super::MOST_UNWANTED as u64);
        !(self.is_broken || self.awaits_continue || unwanted && is_long)
    }

    /// Takes this body's part of `data` and returns the rest.
    fn take(&mut self, mut data: BytesMut) -> Result<BytesMut, Fault> {
        match self.framing.decode(&mut data) {
            Ok(rest) => {
                if let Some(slot) = &self.slot {
                    if !data.is_empty() {
                        slot.give(data.freeze());
                    }
                    if self.framing.is_over() {
                        slot.finish(Ok(self.framing.take_trailers()));
                    }
                }
                Ok(rest.unwrap_or_default())
            }
            Err(fault) => Err(Fault::because(
                FaultKind::BadBody,
                "bad_chunk",
                format!("the request body is malformed: {fault}"),
            )),
        }
    }
}

impl Drop for Inbound {
    /// Nobody reads from the connection any more. A call that outlives its client must not wait for the rest.
    fn drop(&mut self) {
        if !self.is_over() {
            self.break_off(&Fault::new(
                FaultKind::ClientLeft,
                "the client closed the connection in the middle of its request body",
            ));
        }
    }
}

impl<S: ClientStream> Connection<S> {
    /// Reads what is wanted of the body, and otherwise watches whether the client is still there. Ready when the
    /// pipeline has something new to look at, or the client has left.
    pub(super) fn poll_inbound(
        &mut self,
        cx: &mut Context<'_>,
        inbound: &mut Inbound,
    ) -> Poll<Client> {
        let Some(slot) = inbound.slot.clone().filter(|_| !inbound.is_over()) else {
            return self.poll_watch(cx);
        };
        if slot.poll_wanted(cx).is_pending() {
            return self.poll_watch(cx);
        }
        if inbound.awaits_continue {
            self.out
                .front()
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            inbound.awaits_continue = false;
            // What can't be written at once is written before the reply.
            let _ = self.out.poll_write(&mut self.stream, cx);
            let _ = std::pin::Pin::new(&mut self.stream).poll_flush(cx);
        }
        let data = if self.held.is_empty() {
            match ready!(poll_take(&mut self.stream, cx, READ)) {
                Ok(data) if !data.is_empty() => data,
                _ => {
                    inbound.break_off(&Fault::new(
                        FaultKind::ClientLeft,
                        "the client closed the connection in the middle of its request body",
                    ));
                    return Poll::Ready(Client::Present);
                }
            }
        } else {
            std::mem::take(&mut self.held)
        };
        match inbound.take(data) {
            Ok(rest) => self.held = rest,
            Err(fault) => inbound.break_off(&fault),
        }
        Poll::Ready(Client::Present)
    }

    /// Notices a client that leaves. What it sends ahead is held, within bounds.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Client> {
        while self.held.len() < READ_AHEAD {
            match ready!(poll_take(
                &mut self.stream,
                cx,
                READ_AHEAD - self.held.len()
            )) {
                Ok(data) if !data.is_empty() => self.hold(data),
                _ => return Poll::Ready(Client::Left),
            }
        }
        // No more is read, so the end of the input is only seen by asking.
        if self.stream.is_closed_by_client() {
            Poll::Ready(Client::Left)
        } else {
            Poll::Pending
        }
    }

    /// Whether the client must be asked for by time, because nothing more is read from it.
    pub(super) fn must_ask_for_client(&self) -> bool {
        self.held.len() >= READ_AHEAD
    }

    /// Reads what is left of a body that nobody wants. Whether the connection is fit for another request.
    pub(super) async fn discard(&mut self, inbound: &mut Inbound) -> bool {
        inbound.slot = None;
        if inbound.is_over() {
            return !inbound.is_broken;
        }
        if !inbound.can_be_followed() {
            return false;
        }
        let reading = async {
            let mut taken = 0;
            while !inbound.is_over() && taken < super::MOST_UNWANTED {
                if self.held.is_empty() {
                    match std::future::poll_fn(|cx| poll_take(&mut self.stream, cx, READ)).await {
                        Ok(data) if !data.is_empty() => self.held = data,
                        _ => return false,
                    }
                }
                taken += self.held.len();
                match inbound.take(std::mem::take(&mut self.held)) {
                    Ok(rest) => self.held = rest,
                    Err(_) => return false,
                }
            }
            inbound.is_over()
        };
        tokio::time::timeout(super::LINGER, reading)
            .await
            .unwrap_or(false)
    }
}
