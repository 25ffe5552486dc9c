//! Client connections, over all workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static ACCEPTED: AtomicU64 = AtomicU64::new(0);
static CLOSED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// An accepted connection, counted as open until this is dropped.
#[derive(Debug)]
pub struct Open(());

/// Counts an accepted connection.
pub fn accepted() -> Open {
    ACCEPTED.fetch_add(1, Relaxed);
    Open(())
}

/// Counts one that there was no room for.
pub fn refused() {
    REFUSED.fetch_add(1, Relaxed);
}

impl Drop for Open {
    fn drop(&mut self) {
        CLOSED.fetch_add(1, Relaxed);
    }
}

/// How many are open, were accepted, and were refused.
pub fn counts() -> (u64, u64, u64) {
    let closed = CLOSED.load(Relaxed);
    let accepted = ACCEPTED.load(Relaxed);
    (
        accepted.saturating_sub(closed),
        accepted,
        REFUSED.load(Relaxed),
    )
}
