//! Memory and descriptors over time.

use std::time::Duration;

/// Samples in the order of time.
#[derive(Default)]
pub struct Gauges {
    samples: Vec<Sample>,
}

struct Sample {
    at: Duration,
    resident_kib: f64,
    descriptors: usize,
}

/// Before that, memory may grow as it likes.
const SETTLED: Duration = Duration::from_secs(10 * 60);

/// KiB in 10 minutes.
const MOST_GROWTH: f64 = 1024.0;

impl Gauges {
    pub fn note(&mut self, at: Duration, resident_kib: u64, descriptors: usize) {
        let resident_kib = resident_kib as f64;
        self.samples.push(Sample {
            at,
            resident_kib,
            descriptors,
        });
    }

    pub fn last(&self) -> String {
        let last = self.samples.last().unwrap();
        format!(
            "{:6.1} MiB  {:4} descriptors",
            last.resident_kib / 1024.0,
            last.descriptors
        )
    }

    /// Memory doesn't grow.
    pub fn are_level(&self) {
        let growth = self.growth();
        println!("resident memory grew by {growth:.0} KiB in 10 minutes");
        assert!(growth < MOST_GROWTH, "{growth}");
    }

    /// KiB in 10 minutes: the slope of the line through the settled samples that fits them best.
    fn growth(&self) -> f64 {
        let settled: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|sample| sample.at >= SETTLED)
            .map(|sample| (sample.at.as_secs_f64() / 600.0, sample.resident_kib))
            .collect();
        let count = settled.len() as f64;
        let mean_at = settled.iter().map(|(at, _)| at).sum::<f64>() / count;
        let mean = settled.iter().map(|(_, kib)| kib).sum::<f64>() / count;
        let along: f64 = settled
            .iter()
            .map(|(at, kib)| (at - mean_at) * (kib - mean))
            .sum();
        let spread: f64 = settled.iter().map(|(at, _)| (at - mean_at).powi(2)).sum();
        along / spread
    }
}
