//! What is counted of a local function.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the start, whatever settings the function had.
#[derive(Debug, Default)]
pub struct Counters {
    /// Invocations taken in.
    pub invocations: AtomicU64,
    /// Execution environments started.
    pub cold_starts: AtomicU64,
    /// Starts that failed.
    pub init_errors: AtomicU64,
    /// Invocations that ended with an error, timeouts among them.
    pub errors: AtomicU64,
    /// Invocations that ran out of time.
    pub timeouts: AtomicU64,
    /// Invocations that were cancelled because nobody took their output any more.
    pub cancelled: AtomicU64,
}

impl Counters {
    /// The counts of invocations, cold starts, failed starts, errors, timeouts and cancelled invocations.
    pub fn read(&self) -> [u64; 6] {
        [
            &self.invocations,
            &self.cold_starts,
            &self.init_errors,
            &self.errors,
            &self.timeouts,
            &self.cancelled,
        ]
        .map(|counter| counter.load(Relaxed))
    }
}

/// What there is at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Environments that haven't asked for an event yet.
    pub starting: usize,
    /// Environments that wait for an event.
    pub warm: usize,
    /// Environments that run an invocation.
    pub busy: usize,
    /// Environments that get no more invocations.
    pub ending: usize,
    /// Invocations that wait for an environment.
    pub waiting: usize,
}
