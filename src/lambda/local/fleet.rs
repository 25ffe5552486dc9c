//! What a pool's lock guards: who waits for whom, and whether environments are missing.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    call::Call, counters::Gauges, ending::Ending, environment::Environment, pool::Environments,
};
use crate::types::clock::Tick;

/// Invocations that wait at most.
const LONGEST_QUEUE: usize = 1000;
/// How long a waiting invocation trusts that an environment comes back that has just answered.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// The pause after a second failed start in a row; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The state of a pool.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// What waits for an environment, oldest first.
    pub queue: VecDeque<Arc<Call>>,
    /// Runtimes that wait for an invocation, latest last.
    pub takers: Vec<Taker>,
    /// All environments, from their start until they are gone.
    pub environments: Environments,
    /// Starts that failed in a row.
    pub failures: u32,
    /// Nothing is started before.
    pub retry_at: Tick,
    /// Whether somebody will look again what is missing.
    pub is_looked_after: bool,
    /// Nothing is taken in any more.
    pub is_stopping: bool,
    /// And nothing is started.
    pub is_stopped: bool,
    last: u64,
}

/// A runtime that waits for an invocation.
#[derive(Debug)]
pub(super) struct Taker {
    /// Tells it from others.
    pub number: u64,
    /// Its environment.
    pub environment: u64,
    /// Takes the invocation.
    pub call: oneshot::Sender<Arc<Call>>,
}

/// Whether an environment may ask for an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Made,
    /// It has as many as it may have.
    None,
    /// It gets no more.
    Never,
}

/// What is known of an environment.
#[derive(Debug)]
pub(super) struct Record {
    /// The environment.
    pub environment: Arc<Environment>,
    /// It has asked for an invocation.
    pub is_ready: bool,
    /// It has answered one, or was kept from it: should it exit, it isn't the start that failed.
    pub is_proven: bool,
    /// Invocations that occupy it.
    pub running: usize,
    /// Those of them that it has answered and will soon come back from.
    pub returning: usize,
    /// When it last answered one.
    pub answered: Tick,
    /// Since when none occupies it.
    pub idle_since: Tick,
    ending: Option<Ending>,
}

impl Record {
    /// An environment that has just been started.
    pub(super) fn new(environment: Arc<Environment>) -> Record {
        Record {
            environment,
            is_ready: false,
            is_proven: false,
            running: 0,
            returning: 0,
            answered: Tick::default(),
            idle_since: Tick::now(),
            ending: None,
        }
    }

    /// One invocation less occupies it.
    pub(super) fn release(&mut self, now: Tick) {
        self.running = self.running.saturating_sub(1);
        self.returning = self.returning.saturating_sub(1);
        if self.running == 0 {
            self.idle_since = now;
            if let Some(ending) = self.ending {
                self.environment.end(ending);
            }
        }
    }

    /// Whether it takes a place among those that a function may have.
    fn counts(&self) -> bool {
        !self.ending.is_some_and(Ending::frees_its_place)
    }

    /// Those that it will soon be back from: who hasn't come for a while may take longer.
    fn expected(&self, now: Tick) -> usize {
        let is_late = self.ending.is_some() || now >= self.answered.after(PATIENCE);
        if is_late { 0 } else { self.returning }
    }

    fn is_starting(&self) -> bool {
        !self.is_ready && self.ending.is_none()
    }
}

impl Fleet {
    /// A number that wasn't given before.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether nothing more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= LONGEST_QUEUE
    }

    /// Gives an invocation to the taker that came last; gives it back if there is none.
    pub(super) fn offer(&mut self, mut call: Arc<Call>) -> Option<Arc<Call>> {
        while let Some(taker) = self.takers.pop() {
            match taker.call.send(call) {
                Ok(()) => {
                    self.hand_over(taker.environment);
                    return None;
                }
                Err(back) => call = back,
            }
        }
        Some(call)
    }

    /// An invocation goes to an environment.
    pub(super) fn hand_over(&mut self, environment: u64) {
        if let Some(record) = self.environments.get_mut(&environment) {
            record.running += 1;
        }
    }

    /// Lets an environment ask once more. Beyond `most` at a time, the oldest of its takers goes: its connection is
    /// dead, or its runtime is about to give it up.
    pub(super) fn make_room(&mut self, environment: u64, most: usize) -> Room {
        let record = match self.environments.get(&environment) {
            Some(record) if record.ending.is_none() => record,
            _ => return Room::Never,
        };
        let own = |taker: &Taker| taker.environment == environment;
        let waiting = self.takers.iter().filter(|taker| own(taker)).count();
        if record.running + waiting >= most {
            match self.takers.iter().position(own) {
                Some(oldest) => drop(self.takers.remove(oldest)),
                None => return Room::None,
            }
        }
        Room::Made
    }

    /// Whether what waits needs another environment, and may have one.
    pub(super) fn wants_more(&self, per_environment: usize, most: usize, now: Tick) -> bool {
        let records = || self.environments.values();
        let starting = records().filter(|record| record.is_starting()).count();
        let supply = starting * per_environment + self.expected(now);
        let count = records().filter(|record| record.counts()).count();
        self.queue.len() > supply && count < most
    }

    /// Invocations whose environments have answered and will soon ask again.
    pub(super) fn expected(&self, now: Tick) -> usize {
        let records = self.environments.values();
        records.map(|record| record.expected(now)).sum()
    }

    /// An environment gets no more invocations, and ends with its last one.
    pub(super) fn retire(&mut self, environment: u64, ending: Ending) {
        self.takers.retain(|taker| taker.environment != environment);
        let Some(record) = self.environments.get_mut(&environment) else {
            return;
        };
        record.ending.get_or_insert(ending);
        if record.running == 0 {
            record.environment.end(ending);
        }
    }

    /// Whether another environment serves, or may soon.
    pub(super) fn has_others(&self, environment: u64) -> bool {
        self.environments
            .iter()
            .any(|(number, record)| *number != environment && record.ending.is_none())
    }

    /// A start has failed: the next one waits for a while, unless it was the first to fail.
    pub(super) fn back_off(&mut self, now: Tick) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.after(pause(self.failures));
    }

    /// What there is at present.
    pub(super) fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            waiting: self.queue.len(),
            ..Gauges::default()
        };
        for record in self.environments.values() {
            match record {
                Record {
                    ending: Some(_), ..
                } => gauges.ending += 1,
                Record {
                    is_ready: false, ..
                } => gauges.starting += 1,
                Record { running: 0, .. } => gauges.warm += 1,
                _ => gauges.busy += 1,
            }
        }
        gauges
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE
            .saturating_mul(1 << (more - 2).min(16))
            .min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_some_seconds() {
        let millis = [0, 1, 2, 3, 4, 8, 100].map(|failures| pause(failures).as_millis());
        assert_eq!(millis, [0, 0, 100, 200, 400, 5000, 5000]);
    }
}
