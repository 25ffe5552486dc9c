//! Invocations that nobody waits for: those of this thread's worker, which doesn't end before they do.

use std::future::Future;

use tokio_util::task::TaskTracker;

/// Invocations that a worker has open at a time.
const MOST: usize = 1000;

thread_local! {
    static OPEN: TaskTracker = TaskTracker::new();
}

/// Runs an invocation, unless there are too many. Says whether it does.
pub(super) fn run(invocation: impl Future<Output = ()> + Send + 'static) -> bool {
    let open = OPEN.with(Clone::clone);
    let has_room = open.len() < MOST;
    if has_room {
        open.spawn(invocation);
    }
    has_room
}

/// How many there are.
pub fn count() -> usize {
    OPEN.with(TaskTracker::len)
}

/// Waits for the end of all there are.
pub async fn ended() {
    let open = OPEN.with(Clone::clone);
    open.close();
    open.wait().await;
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
        assert_eq!(count(), MOST);
        assert!(futures_util::poll!(std::pin::pin!(ended())).is_pending());
    }
}
