//! A function's execution environments, and the invocations that wait for one.
//!
//! Runtimes take invocations: each open `/next` leaves a taker, and the one that came last is served first, so that
//! environments beyond the need become idle and are reaped. An invocation without a taker waits in a queue and has an
//! environment started for it, up to the function's limit. One lock guards it all; workers hold it for a few steps only.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify, sync::oneshot};

use super::{
    admission::Admission,
    call::{Call, Ends},
    counters::{Counters, Gauges},
    ending::Ending,
    environment::Environment,
    failure::Failure,
    fleet::{Fleet, PATIENCE, Record, Room, Taker},
};
use crate::{
    config::model::{Function, LocalFunction},
    lambda::invocation::{Invocation, Refusal},
    types::clock::Tick,
};

/// A function's environments and queue.
#[derive(Debug)]
pub(super) struct Pool {
    /// The function.
    pub function: Function,
    /// What is said of it as a local one.
    pub local: LocalFunction,
    /// What is counted.
    pub counters: Arc<Counters>,
    control: Handle,
    admitted: Arc<AtomicUsize>,
    fleet: Mutex<Fleet>,
    emptier: Notify,
    own: Weak<Pool>,
}

impl Pool {
    /// A pool without environments.
    pub(super) fn new(
        function: &Function,
        local: &LocalFunction,
        counters: Arc<Counters>,
        control: &Handle,
    ) -> Arc<Pool> {
        Arc::new_cyclic(|own| Pool {
            function: function.clone(),
            local: local.clone(),
            counters,
            control: control.clone(),
            admitted: Arc::default(),
            fleet: Mutex::default(),
            emptier: Notify::new(),
            own: own.clone(),
        })
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an invocation in: a runtime has it at once, or it waits.
    pub(super) fn submit(&self, invocation: Invocation) -> Result<(Arc<Call>, Ends), Refusal> {
        let admission =
            Admission::admit(&self.admitted, self.local.most_invocations).ok_or_else(|| {
                too_many(
                    "Rate Exceeded.",
                    "ReservedFunctionConcurrentInvocationLimitExceeded",
                )
            })?;
        let mut fleet = self.fleet();
        if fleet.is_stopping {
            return Err(stopping());
        }
        let (call, ends) = Call::new(invocation, admission);
        let call = Arc::new(call);
        self.counters.invocations.fetch_add(1, Relaxed);
        if let Some(call) = fleet.offer(call.clone()) {
            if fleet.is_full() {
                return Err(too_many(
                    "Rate Exceeded.",
                    "ConcurrentInvocationLimitExceeded",
                ));
            }
            fleet.queue.push_back(call);
            self.provide(&mut fleet);
        }
        Ok((call, ends))
    }

    /// Takes an invocation out of the queue, if it is still there.
    pub(super) fn forget(&self, call: &Arc<Call>) {
        self.fleet().queue.retain(|other| !Arc::ptr_eq(other, call));
    }

    /// The next invocation for an environment, as soon as there is one; for ever if it gets none any more. `None` if it
    /// asks for more than it may have at a time. What is handed over to nobody goes back to the queue's front.
    pub(super) async fn take(&self, environment: u64) -> Option<Arc<Call>> {
        let mut waiting = {
            let mut fleet = self.fleet();
            let number = fleet.number();
            let room = fleet.make_room(environment, self.local.per_environment);
            if room == Room::None {
                return None;
            }
            if room == Room::Made
                && let Some(call) = fleet.queue.pop_front()
            {
                fleet.hand_over(environment);
                return Some(call);
            }
            let (sender, call) = oneshot::channel();
            let taker = Taker {
                number,
                environment,
                call: sender,
            };
            if room == Room::Made {
                fleet.takers.push(taker);
            }
            Waiting {
                pool: self,
                number,
                environment,
                call,
            }
        };
        match (&mut waiting.call).await {
            Ok(call) => Some(call),
            Err(_) => std::future::pending().await,
        }
    }

    /// Starts what is missing.
    fn provide(&self, fleet: &mut Fleet) {
        if fleet.is_stopped {
            return;
        }
        let most = self.local.most_environments;
        let now = Tick::now();
        while fleet.wants_more(self.local.per_environment, most, now) {
            if now < fleet.retry_at {
                return self.look_again(fleet, fleet.retry_at.since(now));
            }
            let Some(pool) = self.own.upgrade() else {
                return;
            };
            let number = fleet.number();
            let environment = Environment::new(number, pool);
            fleet
                .environments
                .insert(number, Record::new(environment.clone()));
            self.counters.cold_starts.fetch_add(1, Relaxed);
            self.control.spawn(environment.run());
        }
        if !fleet.queue.is_empty() && fleet.expected(now) > 0 {
            self.look_again(fleet, PATIENCE);
        }
    }

    /// Looks after a while whether an environment is missing.
    fn look_again(&self, fleet: &mut Fleet, after: Duration) {
        if std::mem::replace(&mut fleet.is_looked_after, true) {
            return;
        }
        let own = self.own.clone();
        self.control.spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(pool) = own.upgrade() {
                let mut fleet = pool.fleet();
                fleet.is_looked_after = false;
                pool.provide(&mut fleet);
            }
        });
    }

    /// An environment has asked for its first invocation.
    pub(super) fn ready(&self, environment: u64) {
        if let Some(record) = self.fleet().environments.get_mut(&environment) {
            record.is_ready = true;
            record.idle_since = Tick::now();
        }
    }

    /// An invocation of this environment was answered by its runtime, which will come back for the next one.
    pub(super) fn answered(&self, environment: u64) {
        let mut fleet = self.fleet();
        fleet.failures = 0;
        if let Some(record) = fleet.environments.get_mut(&environment) {
            record.returning += 1;
            record.answered = Tick::now();
            record.is_proven = true;
        }
    }

    /// An invocation of this environment was cancelled. Runtimes may take that badly, and exit; it isn't their failure.
    pub(super) fn cancelled(&self, environment: u64) {
        if let Some(record) = self.fleet().environments.get_mut(&environment) {
            record.is_proven = true;
        }
    }

    /// An invocation no longer occupies its environment.
    pub(super) fn release(&self, environment: u64) {
        let mut fleet = self.fleet();
        if let Some(record) = fleet.environments.get_mut(&environment) {
            record.release(Tick::now());
        }
    }

    /// An environment gets no more invocations, and ends with its last one.
    pub(super) fn retire(&self, environment: u64, ending: Ending) {
        let mut fleet = self.fleet();
        fleet.retire(environment, ending);
        self.provide(&mut fleet);
    }

    /// The same for all of them. What waits gets new ones, at once.
    pub(super) fn retire_all(&self, ending: Ending) {
        let mut fleet = self.fleet();
        let numbers: Vec<u64> = fleet.environments.keys().copied().collect();
        for number in numbers {
            fleet.retire(number, ending);
        }
        (fleet.failures, fleet.retry_at) = (0, Tick::default());
        self.provide(&mut fleet);
    }

    /// When an environment will have been idle for too long, if nothing happens.
    pub(super) fn idle_until(&self, environment: u64) -> Tick {
        let fleet = self.fleet();
        let idle_since = match fleet.environments.get(&environment) {
            Some(record) if record.running == 0 => record.idle_since,
            _ => Tick::now(),
        };
        idle_since.after(self.local.idle)
    }

    /// An environment didn't start. If nothing else can serve what waits, that is its answer.
    pub(super) fn not_started(&self, environment: u64, failure: &Failure) {
        self.counters.init_errors.fetch_add(1, Relaxed);
        let mut fleet = self.fleet();
        fleet.back_off(Tick::now());
        fleet.retire(environment, Ending::NotStarted);
        let waiting = if fleet.has_others(environment) {
            Vec::new()
        } else {
            fleet.queue.drain(..).collect()
        };
        drop(fleet);
        for call in waiting {
            self.counters.errors.fetch_add(1, Relaxed);
            call.fail(failure);
        }
    }

    /// One of an environment's processes has ended, although nobody asked it to.
    pub(super) fn crashed(&self, environment: u64) {
        let mut fleet = self.fleet();
        let record = fleet.environments.get(&environment);
        if record.is_some_and(|record| !record.is_proven) {
            fleet.back_off(Tick::now());
        }
        fleet.retire(environment, Ending::Crashed);
        self.provide(&mut fleet);
    }

    /// An environment has gone.
    pub(super) fn gone(&self, environment: u64) {
        let mut fleet = self.fleet();
        fleet.environments.remove(&environment);
        fleet
            .takers
            .retain(|taker| taker.environment != environment);
        self.provide(&mut fleet);
        self.emptier.notify_waiters();
    }

    /// Takes nothing in any more; what runs may end.
    pub(super) fn close(&self) {
        self.fleet().is_stopping = true;
        self.retire_all(Ending::Replaced);
    }

    /// Ends everything, and waits until it has.
    pub(super) async fn stop(&self) {
        let (waiting, environments) = self.abandon_all();
        for environment in environments {
            environment.stop();
        }
        for call in waiting {
            call.refuse(stopping());
        }
        loop {
            let emptier = self.emptier.notified();
            if self.fleet().environments.is_empty() {
                return;
            }
            emptier.await;
        }
    }

    fn abandon_all(&self) -> (Vec<Arc<Call>>, Vec<Arc<Environment>>) {
        let mut fleet = self.fleet();
        (fleet.is_stopping, fleet.is_stopped) = (true, true);
        fleet.takers.clear();
        let records = fleet.environments.values();
        let environments = records.map(|record| record.environment.clone()).collect();
        (fleet.queue.drain(..).collect(), environments)
    }

    /// What there is at present.
    pub(super) fn gauges(&self) -> Gauges {
        self.fleet().gauges()
    }
}

/// A runtime that waits for an invocation.
struct Waiting<'a> {
    pool: &'a Pool,
    number: u64,
    environment: u64,
    call: oneshot::Receiver<Arc<Call>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut fleet = self.pool.fleet();
        fleet.takers.retain(|taker| taker.number != self.number);
        if let Ok(call) = self.call.try_recv() {
            if let Some(record) = fleet.environments.get_mut(&self.environment) {
                record.release(Tick::now());
            }
            if fleet.is_stopped {
                drop(fleet);
                call.refuse(stopping());
            } else if let Some(call) = fleet.offer(call) {
                fleet.queue.push_front(call);
                self.pool.provide(&mut fleet);
            }
        }
    }
}

fn too_many(message: &str, reason: &str) -> Refusal {
    Refusal::new(429, "TooManyRequestsException", message).because(reason)
}

fn stopping() -> Refusal {
    Refusal::new(500, "ServiceException", "the function is being stopped")
}

/// The environments by their numbers.
pub(super) type Environments = HashMap<u64, Record>;

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, poll};

    use super::{super::testing, *};
    use crate::{config::model::TransferMode, types::ids::RequestId};

    fn invocation() -> Invocation {
        Invocation {
            event: bytes::Bytes::from_static(b"{}"),
            mode: TransferMode::Stream,
            request_id: RequestId::random(),
            trace: Box::default(),
            client_context: None,
            function: None,
            qualifier: None,
            wants_log: false,
            runs_on: false,
            source: None,
        }
    }

    /// A pool with one environment that never runs.
    fn pool() -> Arc<Pool> {
        let local = testing::local();
        let pool = Pool::new(
            &testing::function(local.clone()),
            &local,
            Arc::default(),
            &Handle::current(),
        );
        let record = Record::new(Environment::new(1, pool.clone()));
        pool.fleet().environments.insert(1, record);
        pool.ready(1);
        pool
    }

    #[tokio::test]
    async fn what_is_handed_over_to_nobody_goes_back_to_the_queue() {
        let pool = pool();
        let mut first = Box::pin(pool.take(1));
        assert!(poll!(first.as_mut()).is_pending());
        let (call, _ends) = pool.submit(invocation()).unwrap();
        assert_eq!((pool.gauges().busy, pool.gauges().waiting), (1, 0));
        drop(first);
        assert_eq!((pool.gauges().busy, pool.gauges().waiting), (0, 1));
        let taken = pool.take(1).now_or_never().flatten().unwrap();
        assert!(Arc::ptr_eq(&taken, &call));
        assert!(
            pool.take(1).now_or_never().unwrap().is_none(),
            "one at a time"
        );
    }

    #[tokio::test]
    async fn what_is_handed_over_while_all_is_stopped_is_refused_and_starts_nothing() {
        let pool = pool();
        let mut first = Box::pin(pool.take(1));
        assert!(poll!(first.as_mut()).is_pending());
        let (_call, mut ends) = pool.submit(invocation()).unwrap();
        let mut stop = Box::pin(pool.stop());
        assert!(poll!(stop.as_mut()).is_pending());
        drop(first);
        assert!(ends.beginning.try_recv().unwrap().is_err());
        pool.gone(1);
        assert!(poll!(stop.as_mut()).is_ready());
        assert_eq!(pool.counters.read()[1], 0, "cold starts");
    }

    #[tokio::test]
    async fn a_second_wait_takes_the_place_of_the_first() {
        let pool = pool();
        let (mut first, mut second) = (Box::pin(pool.take(1)), Box::pin(pool.take(1)));
        assert!(poll!(first.as_mut()).is_pending());
        assert!(poll!(second.as_mut()).is_pending());
        let (call, _ends) = pool.submit(invocation()).unwrap();
        assert!(poll!(first.as_mut()).is_pending());
        let taken = second.now_or_never().flatten().unwrap();
        assert!(Arc::ptr_eq(&taken, &call));
    }

    #[tokio::test]
    async fn a_retired_environment_gets_nothing_and_ends() {
        let pool = pool();
        let mut waiting = Box::pin(pool.take(1));
        assert!(poll!(waiting.as_mut()).is_pending());
        pool.retire(1, Ending::Idle);
        let (_call, _ends) = pool.submit(invocation()).unwrap();
        assert!(poll!(waiting.as_mut()).is_pending());
        assert_eq!((pool.gauges().ending, pool.gauges().waiting), (1, 1));
    }
}
