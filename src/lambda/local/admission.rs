//! How many invocations of a function there are, against its reserved concurrency.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Counts one invocation for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Admission {
    count: Arc<AtomicUsize>,
}

impl Admission {
    /// One more, if there are fewer than `most`.
    pub(super) fn admit(count: &Arc<AtomicUsize>, most: Option<usize>) -> Option<Admission> {
        let most = most.unwrap_or(usize::MAX);
        count
            .fetch_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1))
            .ok()?;
        Some(Admission {
            count: count.clone(),
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // One that was never counted, as tests make it, has nothing to take back.
        let _ = self
            .count
            .fetch_update(Relaxed, Relaxed, |now| now.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_admitted_than_are_reserved() {
        let count = Arc::new(AtomicUsize::new(0));
        let first = Admission::admit(&count, Some(1));
        assert!(first.is_some());
        assert!(Admission::admit(&count, Some(1)).is_none());
        drop(first);
        assert!(Admission::admit(&count, Some(1)).is_some());
        assert!(Admission::admit(&count, Some(0)).is_none());
        assert_eq!(count.load(Relaxed), 0);
    }
}
