//! Notices that a client is gone without a word: one that has been silent is asked, and must say something.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};

use super::wire::Wire;
use crate::{stream::timer::LazyTimer, types::clock::Tick};

/// How long a client may be silent before it is asked.
const SILENCE: Duration = Duration::from_secs(30);

/// How long it has to say something then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks by PING frames whether a client is there. Whatever it sends is an answer.
pub(super) struct KeepAlive {
    pings: PingPong,
    wire: Arc<Wire>,
    asked: Option<Tick>,
    timer: LazyTimer,
}

impl KeepAlive {
    /// On the connection with this wire.
    pub(super) fn new(pings: PingPong, wire: Arc<Wire>, now: Tick) -> KeepAlive {
        KeepAlive {
            pings,
            wire,
            asked: None,
            timer: LazyTimer::new(now.after(SILENCE)),
        }
    }

    /// Ready once the client has been asked in vain.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Tick) -> Poll<()> {
        let heard = self.wire.heard();
        self.asked = self.asked.filter(|asked| heard < *asked);
        if let Some(asked) = self.asked {
            return self.timer.poll(cx, now, asked.after(PATIENCE));
        }
        ready!(self.timer.poll(cx, now, heard.after(SILENCE)));
        // A client that spoke otherwise may owe the answer to the last one; it isn't asked twice.
        let _ = self.pings.poll_pong(cx);
        let _ = self.pings.send_ping(Ping::opaque());
        self.asked = Some(now);
        self.timer.poll(cx, now, now.after(PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future as _, poll_fn},
        pin::pin,
    };

    use super::{super::wire::Watched, *};

    /// How long it takes until a client that is silent counts as gone; `None` if it doesn't within ten minutes.
    async fn gone_after(client_answers: bool) -> Option<Duration> {
        let (near, far) = tokio::io::duplex(65_536);
        let (near, wire) = Watched::new(near);
        let (server, client) =
            tokio::join!(h2::server::handshake(near), h2::client::handshake(far));
        let mut server = server.unwrap();
        let (_requests, connection) = client.unwrap();
        let (driven, parked) = if client_answers {
            (Some(tokio::spawn(connection)), None)
        } else {
            (None, Some(connection))
        };
        let begun = Tick::now();
        let pings = server.ping_pong().unwrap();
        let mut keep_alive = KeepAlive::new(pings, wire, begun);
        let gone = poll_fn(|cx| {
            let gone = keep_alive.poll(cx, Tick::now());
            assert!(pin!(server.accept()).poll(cx).is_pending());
            gone
        });
        let is_gone = tokio::time::timeout(Duration::from_secs(600), gone).await;
        drop((driven, parked));
        is_gone.ok().map(|()| Tick::now().since(begun))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_doesnt_answer_is_gone_after_forty_seconds() {
        let waited = gone_after(false).await.unwrap();
        assert_eq!(waited.as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_may_be_silent_otherwise() {
        assert_eq!(gone_after(true).await, None);
    }
}
