//! Lines of the program's log for what may happen a thousand times a second: the first is told at once, and then one now
//! and then says how many there were.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::types::clock::Tick;

/// How much time lies between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// What happened since it was last told.
#[derive(Debug, Default)]
pub struct Seldom {
    untold: AtomicU64,
    /// When it may be told again, in ticks' microseconds.
    due: AtomicU64,
}

impl Seldom {
    /// Nothing has happened yet.
    pub const fn new() -> Seldom {
        Seldom {
            untold: AtomicU64::new(0),
            due: AtomicU64::new(0),
        }
    }

    /// Counts one. If it is time for a line, how many that line is about.
    pub fn count(&self, now: Tick) -> Option<u64> {
        self.count_many(1, now)
    }

    /// Counts several.
    pub fn count_many(&self, count: u64, now: Tick) -> Option<u64> {
        self.untold.fetch_add(count, Relaxed);
        self.rest(now)
    }

    /// The same for what has been counted before, so that the last ones are told, too.
    pub fn rest(&self, now: Tick) -> Option<u64> {
        let due = self.due.load(Relaxed);
        if now.micros() < due || self.untold.load(Relaxed) == 0 {
            return None;
        }
        // Of several threads, one tells.
        let next = now.after(PAUSE).micros();
        self.due
            .compare_exchange(due, next, Relaxed, Relaxed)
            .ok()?;
        Some(self.untold.swap(0, Relaxed)).filter(|untold| *untold > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together_and_none_twice() {
        let lines = Seldom::new();
        let first = Tick::now();
        assert_eq!(lines.rest(first), None);
        assert_eq!(lines.count(first), Some(1));
        for _ in 0..5 {
            assert_eq!(lines.count(first), None);
        }
        let later = first.after(PAUSE);
        assert_eq!(lines.rest(Tick::from_micros(later.micros() - 1)), None);
        assert_eq!(lines.rest(later), Some(5));
        let much_later = later.after(PAUSE);
        assert_eq!(lines.rest(much_later), None);
        assert_eq!(lines.count(much_later), Some(1));
    }
}
