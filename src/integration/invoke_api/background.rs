//! Invocations that nobody waits for. A worker doesn't end before its own have.

use std::future::{Future, ready};

use tokio_util::task::TaskTracker;

use crate::stream::unattended;

/// Invocations that a worker has open at a time.
const MOST: usize = 1000;

thread_local! {
    static OPEN: TaskTracker = TaskTracker::new();
}

/// Runs an invocation, unless there are too many. Says whether it does.
pub(super) fn run(invocation: impl Future<Output = ()> + Send + 'static) -> bool {
    let has_room = OPEN.with(TaskTracker::len) < MOST;
    if has_room {
        let open = OPEN.with(TaskTracker::token);
        let invocation = async move {
            invocation.await;
            drop(open);
        };
        unattended::run(invocation, ready(()));
    }
    has_room
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn only_so_many_run_and_their_end_can_be_awaited() {
        let (end, ended_one) = tokio::sync::oneshot::channel::<()>();
        assert!(run(async move { drop(ended_one.await) }));
        let rest = std::iter::repeat_with(|| run(pending())).take_while(|it| *it);
        assert_eq!(rest.count(), MOST - 1);
        let _ = end.send(());
        while !run(pending()) {
            tokio::task::yield_now().await;
        }
        assert!(futures_util::poll!(std::pin::pin!(unattended::ended())).is_pending());
    }
}
