//! Spans that were sent, and those that were lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::page::{Kind, Page};

static SENT: AtomicU64 = AtomicU64::new(0);
static LOST_IN_QUEUE: AtomicU64 = AtomicU64::new(0);
static LOST_AT_COLLECTOR: AtomicU64 = AtomicU64::new(0);

/// Where a span is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There was no room for it.
    Queue,
    /// The collector didn't take it.
    Collector,
}

/// Counts spans that the collector took.
pub fn sent(count: usize) {
    SENT.fetch_add(count as u64, Relaxed);
}

/// Counts spans that are lost.
pub fn lost(loss: Loss, count: usize) {
    let counter = match loss {
        Loss::Queue => &LOST_IN_QUEUE,
        Loss::Collector => &LOST_AT_COLLECTOR,
    };
    counter.fetch_add(count as u64, Relaxed);
}

pub(super) fn write(page: &mut Page) {
    let help = "Spans that the collector took.";
    page.family("sluicegate_spans_sent_total", Kind::Counter, help)
        .value(&[], SENT.load(Relaxed));
    let help = "Spans that were dropped: the queue was full, or the collector didn't take them.";
    page.family("sluicegate_spans_lost_total", Kind::Counter, help)
        .value(&[("reason", "queue")], LOST_IN_QUEUE.load(Relaxed))
        .value(&[("reason", "collector")], LOST_AT_COLLECTOR.load(Relaxed));
}
