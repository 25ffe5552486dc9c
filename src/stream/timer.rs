//! One timer for an exchange, moved only when it must be.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep_until};

use crate::types::clock::Tick;

/// A sleep that is re-armed when it fires or when something earlier comes up, never for bytes that pass.
pub struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
    armed: Tick,
    /// Whether the sleep holds the task's waker for its present time.
    registered: bool,
}

impl LazyTimer {
    /// A timer first armed for `at`.
    pub fn new(at: Tick) -> LazyTimer {
        LazyTimer {
            sleep: Box::pin(sleep_until(at.instant())),
            armed: at,
            registered: false,
        }
    }

    /// Ready once `due` has come; else the task is woken by then at the latest.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Tick, due: Tick) -> Poll<()> {
        if now >= due {
            return Poll::Ready(());
        }
        if due < self.armed {
            self.arm(due);
        }
        while !self.registered || self.sleep.is_elapsed() {
            if self.sleep.is_elapsed() {
                self.arm(due);
            }
            self.registered = true;
            if self.sleep.as_mut().poll(cx).is_ready() {
                // It fired for a time that has passed; the loop arms it for `due`.
                self.registered = false;
                if Tick::now() >= due {
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }

    fn arm(&mut self, at: Tick) {
        self.sleep.as_mut().reset(at.instant());
        self.armed = at;
        self.registered = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_when_due_however_its_time_was_moved() {
        let begun = Tick::now();
        let mut timer = LazyTimer::new(begun.after(Duration::from_secs(10)));
        for (due, expected) in [(20, 20), (25, 25), (26, 26), (300, 300)] {
            let due = begun.after(Duration::from_secs(due));
            poll_fn(|cx| timer.poll(cx, Tick::now(), due)).await;
            let waited = Tick::now().since(begun).as_secs_f64();
            assert!((waited - f64::from(expected)).abs() < 0.01, "{waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_time_moves_it_forward() {
        let begun = Tick::now();
        let mut timer = LazyTimer::new(begun.after(Duration::from_secs(300)));
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            timer.poll(cx, Tick::now(), begun.after(Duration::from_secs(2)))
        })
        .await;
        assert!(Tick::now().since(begun) < Duration::from_secs(3));
        assert!(polls < 5);
    }
}
