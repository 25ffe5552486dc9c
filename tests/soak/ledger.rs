//! What the clients did, to be compared with what the gateway says.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Requests by kind (the first segment of the path) and outcome.
pub type Table = BTreeMap<(String, String), u64>;

/// The requests that were made.
#[derive(Default)]
pub struct Ledger {
    total: AtomicU64,
    entries: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Ledger {
    /// So many requests of a kind ended this way.
    pub fn note(&self, kind: &'static str, outcome: &'static str, count: u64) {
        *self
            .entries
            .lock()
            .unwrap()
            .entry((kind, outcome))
            .or_default() += count;
        self.total.fetch_add(count, Relaxed);
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    pub fn table(&self) -> Table {
        let entries = self.entries.lock().unwrap();
        entries
            .iter()
            .map(|((kind, outcome), count)| (((*kind).into(), (*outcome).into()), *count))
            .collect()
    }
}

/// Sums by the outcome alone.
pub fn by_outcome(table: &Table) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for ((_, outcome), count) in table {
        *sums.entry(outcome.clone()).or_default() += count;
    }
    sums
}
