//! A histogram that one worker fills without a lock: one counter per bucket, and the sum.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::add;

/// Buckets with an upper bound; one more takes the rest.
const BUCKETS: usize = 16;

/// Upper bounds in microseconds, ascending.
pub type Bounds = [u64; BUCKETS];

/// From a millisecond to the idle timeout: answers, milestones, gaps.
pub const LATENCY: Bounds = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// From a tenth of a second to the longest that a stream may take.
pub const STREAM: Bounds = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    20_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    180_000_000,
    300_000_000,
    450_000_000,
    600_000_000,
    900_000_000,
];

/// Counts of durations.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    counts: [AtomicU64; BUCKETS],
    beyond: AtomicU64,
    sum: AtomicU64,
}

/// What several histograms with the same bounds come to.
#[derive(Debug)]
pub struct Sum {
    /// Upper bounds in microseconds.
    pub bounds: &'static Bounds,
    /// How many durations each bucket has, those of smaller ones not included.
    pub counts: [u64; BUCKETS],
    /// How many were longer than the last bound.
    pub beyond: u64,
    /// All durations together, in microseconds.
    pub micros: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(bounds: &'static Bounds) -> Histogram {
        Histogram {
            bounds,
            counts: Default::default(),
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a duration.
    pub fn observe(&self, micros: u64) {
        let at = self.bounds.iter().position(|bound| micros <= *bound);
        let count = at.and_then(|at| self.counts.get(at));
        add(count.unwrap_or(&self.beyond), 1);
        add(&self.sum, micros);
    }
}

impl Sum {
    /// The sum of `histograms`, all with the bounds of the first; `None` if no duration was counted.
    pub fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Option<Sum> {
        let mut histograms = histograms.peekable();
        let mut sum = Sum {
            bounds: histograms.peek()?.bounds,
            counts: [0; BUCKETS],
            beyond: 0,
            micros: 0,
        };
        for histogram in histograms {
            for (total, count) in sum.counts.iter_mut().zip(&histogram.counts) {
                *total += count.load(Relaxed);
            }
            sum.beyond += histogram.beyond.load(Relaxed);
            sum.micros += histogram.sum.load(Relaxed);
        }
        (sum.count() > 0).then_some(sum)
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_belongs_to_the_first_bucket_that_holds_it() {
        let (one, other) = (Histogram::new(&LATENCY), Histogram::new(&LATENCY));
        assert!(Sum::of([&one, &other].into_iter()).is_none());
        one.observe(0);
        one.observe(1_000);
        other.observe(1_001);
        other.observe(u64::from(u32::MAX));
        let sum = Sum::of([&one, &other].into_iter()).unwrap();
        assert_eq!(
            (sum.counts[0], sum.counts[1], sum.beyond, sum.count()),
            (2, 1, 1, 4)
        );
        assert_eq!(sum.micros, 2_001 + u64::from(u32::MAX));
    }

    #[test]
    fn bounds_ascend() {
        assert!(LATENCY.is_sorted_by(|a, b| a < b) && STREAM.is_sorted_by(|a, b| a < b));
    }
}
