//! Holds the clocks of an exchange from outside a future that would not notice them itself.
//!
//! An HTTP/2 response asks for payload only while the client gives it window, so a body can't end itself when its
//! client has stopped reading. This wrapper can: on a verdict it wakes the exchange, so that the body delivers what it
//! has and fails; if it isn't over within [`GRACE`], the future is dropped, which resets the stream.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    clocks::{Clocks, GRACE},
    timer::LazyTimer,
};
use crate::types::clock::Tick;

pin_project! {
    /// A future under the clocks of its exchange.
    pub struct Watchdog<F> {
        #[pin]
        exchange: F,
        clocks: Arc<Clocks>,
        timer: LazyTimer,
        drop_at: Tick,
    }
}

impl<F> Watchdog<F> {
    /// Watches `exchange` by `clocks`.
    pub fn new(exchange: F, clocks: Arc<Clocks>) -> Watchdog<F> {
        let first = clocks.now().after(GRACE * 100);
        Watchdog {
            exchange,
            clocks,
            timer: LazyTimer::new(first),
            drop_at: Tick::NEVER,
        }
    }
}

impl<F: Future> Future for Watchdog<F> {
    /// `None` if the exchange had to be dropped.
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let now = Tick::now();
        this.clocks.stamp(now);
        this.clocks.check();
        if let Poll::Ready(output) = this.exchange.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        loop {
            if this.clocks.verdict().is_some() && *this.drop_at == Tick::NEVER {
                *this.drop_at = now.after(GRACE);
            }
            let due = this.clocks.check().min(*this.drop_at);
            if this.timer.poll(cx, now, due).is_pending() {
                return Poll::Pending;
            }
            if Tick::now() >= *this.drop_at {
                return Poll::Ready(None);
            }
            // A limit or a grant came due while the exchange was polled: it wants to know.
            this.clocks.stamp(Tick::now());
            this.clocks.check();
            if let Poll::Ready(output) = this.exchange.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;
    use crate::{stream::clocks::Limits, types::outcome::Outcome};

    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_ignores_its_verdict_is_dropped_after_the_grace() {
        let clocks = Arc::new(Clocks::default());
        let second = Duration::from_secs(1);
        clocks.open(second, second);
        clocks.call(&Limits {
            deadline: second * 2,
            idle: second * 9,
            client_stall: second,
            upload: second,
        });
        let begun = Tick::now();
        let output: Option<()> = Watchdog::new(pending(), clocks.clone()).await;
        assert_eq!((output, clocks.verdict()), (None, Some(Outcome::Deadline)));
        let waited = Tick::now().since(begun);
        assert!(
            waited >= second * 2 + GRACE && waited < second * 3,
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_exchange_is_polled_when_a_verdict_falls() {
        let clocks = Arc::new(Clocks::default());
        let second = Duration::from_secs(1);
        clocks.open(second, second);
        clocks.call(&Limits {
            deadline: second * 9,
            idle: second,
            client_stall: second,
            upload: second,
        });
        let seen = clocks.clone();
        let exchange = std::future::poll_fn(move |_| match seen.verdict() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        });
        assert_eq!(Watchdog::new(exchange, clocks).await, Some(Outcome::Idle));
    }
}
