//! How near the process is to its memory limit, as far as anybody has looked.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::watch;

/// From so many hundredths of the limit on, nothing is kept that isn't in use.
const TIGHT: u64 = 85;
/// From so many on, no more is taken in.
const SHORT: u64 = 95;
/// A level is left only so many hundredths below where it was entered, so that it doesn't come and go.
const SLACK: u64 = 3;

/// What the memory in use leaves room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    #[default]
    Ample,
    /// All that is asked for, but nothing is kept for later: neither connections of clients nor those to backends.
    Tight,
    /// What has begun goes on to its end; new requests are refused.
    Short,
}

impl Level {
    /// The level that follows this one.
    fn after(self, amount: Amount) -> Level {
        let reaches = |level: Level, percent: u64| {
            let slack = if self >= level { SLACK } else { 0 };
            let bound = u128::from(amount.limit) * u128::from(percent - slack);
            u128::from(amount.used) * 100 >= bound
        };
        if reaches(Level::Short, SHORT) {
            Level::Short
        } else if reaches(Level::Tight, TIGHT) {
            Level::Tight
        } else {
            Level::Ample
        }
    }

    /// Its name for operators.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ample => "ample",
            Level::Tight => "tight",
            Level::Short => "short",
        }
    }
}

/// Memory in use, and what there may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// In use.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let (used, limit) = (mib(self.used), mib(self.limit));
        write!(f, "{used:.1} of {limit:.1} MiB of memory are in use")
    }
}

/// Stands for no limit.
const NONE: u64 = u64::MAX;

/// What was last found out about memory, for all who go by it.
#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    limit: AtomicU64,
    level: watch::Sender<Level>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(NONE),
            level: watch::Sender::new(Level::Ample),
        }
    }
}

impl Memory {
    /// Notes what was found; `None` if there is no limit. The level before and now. While memory isn't ample, whoever
    /// subscribes is told each time, since there may be something new to give up.
    pub fn note(&self, found: Option<Amount>) -> (Level, Level) {
        let Amount { used, limit } = found.unwrap_or(Amount {
            used: 0,
            limit: NONE,
        });
        self.used.store(used, Relaxed);
        self.limit.store(limit, Relaxed);
        let before = self.level();
        let now = found.map_or(Level::Ample, |amount| before.after(amount));
        self.level.send_if_modified(|level| {
            *level = now;
            before != now || now > Level::Ample
        });
        (before, now)
    }

    /// What was found last, if there is a limit.
    pub fn amount(&self) -> Option<Amount> {
        let limit = self.limit.load(Relaxed);
        let used = self.used.load(Relaxed);
        (limit != NONE).then_some(Amount { used, limit })
    }

    /// The level now.
    pub fn level(&self) -> Level {
        *self.level.borrow()
    }

    /// To be told of later levels.
    pub fn subscribe(&self) -> watch::Receiver<Level> {
        self.level.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(used: u64) -> Amount {
        Amount { used, limit: 100 }
    }

    #[test]
    fn a_level_is_entered_at_its_bound_and_left_below_it() {
        let memory = Memory::default();
        for (used, level) in [
            (84, Level::Ample),
            (85, Level::Tight),
            (82, Level::Tight),
            (81, Level::Ample),
            (84, Level::Ample),
            (94, Level::Tight),
            (95, Level::Short),
            (92, Level::Short),
            (91, Level::Tight),
            (94, Level::Tight),
            (300, Level::Short),
            (82, Level::Tight),
            (99, Level::Short),
            (0, Level::Ample),
        ] {
            assert_eq!(memory.note(Some(percent(used))).1, level, "{used}");
            assert_eq!(memory.level(), level);
        }
    }

    #[test]
    fn large_numbers_are_compared_and_a_limit_of_nothing_is_reached() {
        let amount = |used, limit| Some(Amount { used, limit });
        let memory = Memory::default();
        assert_eq!(memory.note(amount(1 << 62, 1 << 63)).1, Level::Ample);
        assert_eq!(memory.note(amount(u64::MAX, 1 << 63)).1, Level::Short);
        assert_eq!(memory.note(amount(0, 0)).1, Level::Short);
    }

    #[test]
    fn without_a_limit_there_is_always_enough() {
        let memory = Memory::default();
        assert_eq!(memory.note(Some(percent(99))), (Level::Ample, Level::Short));
        assert_eq!(memory.amount(), Some(percent(99)));
        assert_eq!(memory.note(None), (Level::Short, Level::Ample));
        assert_eq!(memory.amount(), None);
    }

    #[test]
    fn whoever_subscribes_is_told_of_changes_and_again_while_memory_is_tight() {
        let memory = Memory::default();
        let mut levels = memory.subscribe();
        let mut is_told = |used| {
            memory.note(Some(percent(used)));
            let is_told = levels.has_changed().unwrap();
            levels.mark_unchanged();
            is_told
        };
        let told = [10, 20, 90, 90, 10, 10].map(&mut is_told);
        assert_eq!(told, [false, false, true, true, true, false]);
    }

    #[test]
    fn amounts_are_told_in_words() {
        let amount = Amount {
            used: 921 << 20,
            limit: 1 << 30,
        };
        let said = "921.0 of 1024.0 MiB of memory are in use";
        assert_eq!(amount.to_string(), said);
    }
}
