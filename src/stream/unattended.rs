//! Calls that go on without a client, because it went away (`onClientDisconnect: finish`) or never waited (events of the
//! Invoke API): those of this thread's worker, which doesn't end before they do.

use std::{future::Future, pin::pin};

use tokio_util::task::TaskTracker;

thread_local! {
    static CALLS: TaskTracker = TaskTracker::new();
    /// Those of them whose client has gone.
    static UNATTENDED: TaskTracker = TaskTracker::new();
}

/// Runs a call that goes on when its client is gone, which is when `gone` ends.
pub fn run(
    call: impl Future<Output = ()> + Send + 'static,
    gone: impl Future<Output = ()> + Send + 'static,
) {
    let calls = CALLS.with(Clone::clone);
    calls.spawn(async move {
        let mut call = pin!(call);
        tokio::select! {
            biased;
            () = &mut call => return,
            () = gone => {}
        }
        let _counted = UNATTENDED.with(TaskTracker::token);
        call.await;
    });
}

/// How many there are without a client.
pub fn count() -> usize {
    UNATTENDED.with(TaskTracker::len)
}

/// Waits for the end of all there are.
pub async fn ended() {
    let calls = CALLS.with(Clone::clone);
    calls.close();
    calls.wait().await;
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_counts_from_when_its_client_is_gone_and_its_end_is_awaited() {
        let (end, is_over) = oneshot::channel::<()>();
        let (leave, has_left) = oneshot::channel::<()>();
        run(async move { drop(is_over.await) }, async move {
            drop(has_left.await);
        });
        run(ready(()), ready(()));
        tokio::task::yield_now().await;
        assert_eq!(count(), 0);
        drop(leave);
        while count() == 0 {
            tokio::task::yield_now().await;
        }
        let mut ended = pin!(ended());
        assert!(futures_util::poll!(&mut ended).is_pending());
        drop(end);
        ended.await;
        assert_eq!(count(), 0);
    }
}
