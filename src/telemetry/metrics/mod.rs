//! Counts of everything that happens, for Prometheus.
//!
//! A worker counts in shards of its own, which it has been given before the first request comes: a request adds to a few
//! atomics that no other thread writes, takes no lock, allocates nothing and builds no label. What the shards of all
//! workers come to is added up when somebody asks. Labels are bounded by the configuration: a request is counted under
//! the template of its resource, never under its path.

pub mod connections;
pub mod handshakes;
pub mod histogram;
pub mod page;
mod process;
pub mod reloads;
pub mod spans;
mod write;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed},
            fence,
        },
    },
};

use crate::types::{
    context::{BILLED_UNIT, Context},
    fault::Fault,
    outcome::{Outcome, Side},
    site::{Resource, Site},
};
use histogram::{Histogram, LATENCY, STREAM};
pub use process::resident;
pub use reloads::reload;
pub use write::write;

/// What the requests of one route are counted under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The API's title, or its id if it has none.
    pub api: Box<str>,
    /// The stage.
    pub stage: Box<str>,
    /// The resource's path template.
    pub resource: Box<str>,
    /// The resource's method: `ANY`, or one.
    pub method: Box<str>,
}

impl Route {
    /// Stands where a request has no API, no resource or no method.
    const NONE: &str = "none";

    /// A method of a resource.
    pub fn new(site: &Site, resource: &Resource, verb: &str) -> Route {
        Route {
            resource: resource.path.clone(),
            method: verb.into(),
            ..Route::unmatched(site)
        }
    }

    /// Whatever reaches an API but none of its routes.
    pub fn unmatched(site: &Site) -> Route {
        let name = if site.api_name.is_empty() {
            &site.api_id
        } else {
            &site.api_name
        };
        Route {
            api: name.clone(),
            stage: site.stage.clone(),
            ..Route::stray()
        }
    }

    /// A function that is called without an API: `resource` is the path that leads to it.
    pub fn direct(resource: &str, verb: &str) -> Route {
        Route {
            resource: resource.into(),
            method: verb.into(),
            ..Route::stray()
        }
    }

    /// Whatever reaches no API.
    pub fn stray() -> Route {
        let none = || Box::from(Route::NONE);
        Route {
            api: none(),
            stage: none(),
            resource: none(),
            method: none(),
        }
    }
}

/// The counts of one route, as far as one worker has made them.
#[derive(Debug)]
pub struct Shard {
    /// By the status's first digit, and then by the other two.
    statuses: [OnceLock<Box<[AtomicU64; 100]>>; 5],
    /// Requests whose client left before there was a status.
    unanswered: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    streams_opened: AtomicU64,
    streams_closed: AtomicU64,
    time_to_headers: Histogram,
    time_to_first_content: Histogram,
    request_duration: Histogram,
    integration_duration: Histogram,
    stream_duration: Histogram,
    longest_gap: Histogram,
    response_bytes: AtomicU64,
    billed_units: AtomicU64,
    throttled: AtomicU64,
    blocked_on_client: AtomicU64,
    blocked_on_integration: AtomicU64,
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            statuses: Default::default(),
            unanswered: AtomicU64::new(0),
            outcomes: Default::default(),
            streams_opened: AtomicU64::new(0),
            streams_closed: AtomicU64::new(0),
            time_to_headers: Histogram::new(&LATENCY),
            time_to_first_content: Histogram::new(&LATENCY),
            request_duration: Histogram::new(&LATENCY),
            integration_duration: Histogram::new(&LATENCY),
            stream_duration: Histogram::new(&STREAM),
            longest_gap: Histogram::new(&LATENCY),
            response_bytes: AtomicU64::new(0),
            billed_units: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            blocked_on_client: AtomicU64::new(0),
            blocked_on_integration: AtomicU64::new(0),
        }
    }
}

static ROUTES: Mutex<BTreeMap<Route, Vec<Arc<Shard>>>> = Mutex::new(BTreeMap::new());
static FAULTS: Mutex<Vec<Arc<Faults>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shard in which one worker counts the requests of a route.
///
/// One that nobody counts in any more, because its snapshot was replaced, is given out again: counts go on from where they
/// were, and reloads add nothing to them.
pub fn shard(route: Route) -> Arc<Shard> {
    free_or_new(locked(&ROUTES).entry(route).or_default())
}

fn free_or_new<T: Default>(all: &mut Vec<Arc<T>>) -> Arc<T> {
    // Only the list holds it, and the list is locked: nobody can come to hold it meanwhile.
    if let Some(free) = all.iter().find(|one| Arc::strong_count(one) == 1) {
        // What its last holder has counted on another thread is seen from here on.
        fence(Acquire);
        return free.clone();
    }
    let new = Arc::new(T::default());
    all.push(new.clone());
    new
}

impl Shard {
    /// A stream begins.
    pub fn stream_opened(&self) {
        add(&self.streams_opened, 1);
    }

    /// A stream has ended.
    pub fn stream_closed(&self) {
        add(&self.streams_closed, 1);
    }

    /// Counts a request that has ended.
    pub fn count(&self, context: &Context) {
        let Some((outcome, end)) = context.end else {
            return;
        };
        add(self.status(context.status), 1);
        if let Some(count) = self.outcomes.get(outcome as usize) {
            add(count, 1);
        }
        let facts = &context.integration;
        let transfer = &context.transfer;
        let spent = |since| end.since(since).as_micros() as u64;
        if let Some(started) = facts.started {
            let after = |tick: crate::types::clock::Tick| tick.since(started).as_micros() as u64;
            if let Some(headers) = facts.all_headers {
                self.time_to_headers.observe(after(headers));
            }
            if let Some(content) = transfer.first_content {
                self.time_to_first_content.observe(after(content));
            }
            if let Some(ended) = facts.ended.filter(|_| !context.is_streamed()) {
                self.integration_duration.observe(after(ended));
            }
        }
        if context.is_streamed() {
            self.stream_duration.observe(spent(context.opened));
            if transfer.chunks > 1 {
                self.longest_gap.observe(transfer.longest_gap);
            }
        } else {
            self.request_duration.observe(spent(context.opened));
        }
        add(&self.response_bytes, transfer.bytes);
        add(
            &self.billed_units,
            transfer.bytes.div_ceil(BILLED_UNIT).max(1),
        );
        add(&self.throttled, transfer.throttled);
        add(&self.blocked_on_client, transfer.blocked_on_client);
        add(
            &self.blocked_on_integration,
            transfer.blocked_on_integration,
        );
        if let Some(fault) = &context.fault {
            count_fault(fault, context.resource.is_none());
        }
    }

    fn status(&self, status: Option<u16>) -> &AtomicU64 {
        let place = status.and_then(|status| {
            let class = usize::from(status / 100).checked_sub(1)?;
            let counts = self
                .statuses
                .get(class)?
                .get_or_init(|| Box::new([const { AtomicU64::new(0) }; 100]));
            counts.get(usize::from(status % 100))
        });
        place.unwrap_or(&self.unanswered)
    }

    /// The statuses that were sent, with their counts; 0 stands for none.
    fn counted_statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        let classes = (1..).zip(&self.statuses);
        let counts = classes.flat_map(|(class, counts)| {
            let counts = counts.get().into_iter().flat_map(|counts| counts.iter());
            (class * 100..).zip(counts)
        });
        std::iter::once((0, &self.unanswered))
            .chain(counts)
            .map(|(status, count)| (status, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}

/// Adds to a counter that no other thread writes, so that it need not be locked against any. Many requests have nothing to
/// add to some counters: not touching them is cheapest.
fn add(counter: &AtomicU64, amount: u64) {
    if amount > 0 {
        counter.store(counter.load(Relaxed) + amount, Relaxed);
    }
}

/// Faults by their reason, as far as one thread has counted them. There are few, and nobody but a reader of the metrics
/// ever waits for the lock.
#[derive(Debug, Default)]
struct Faults(Mutex<Vec<FaultCount>>);

#[derive(Clone, Debug)]
struct FaultCount {
    reason: &'static str,
    side: Side,
    /// Whether the request had reached no route.
    is_early: bool,
    count: u64,
}

thread_local! {
    static OWN_FAULTS: Arc<Faults> = free_or_new(&mut locked(&FAULTS));
}

fn count_fault(fault: &Fault, is_early: bool) {
    // A thread that ends has no more of its own; then there is nothing left to serve, either.
    let _ = OWN_FAULTS.try_with(|own| {
        let mut counts = locked(&own.0);
        let known = counts
            .iter_mut()
            .find(|known| known.reason == fault.reason && known.is_early == is_early);
        match known {
            Some(known) => known.count += 1,
            None => counts.push(FaultCount {
                reason: fault.reason,
                side: fault.kind.row().side,
                is_early,
                count: 1,
            }),
        }
    });
}

/// How many streams are open now.
pub fn open_streams() -> u64 {
    locked(&ROUTES).values().map(|shards| open(shards)).sum()
}

fn open(shards: &[Arc<Shard>]) -> u64 {
    // Closed ones are read first: what is opened meanwhile can't make the difference negative.
    let closed: u64 = sum(shards, |shard| &shard.streams_closed);
    sum(shards, |shard| &shard.streams_opened).saturating_sub(closed)
}

fn sum(shards: &[Arc<Shard>], counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
    shards
        .iter()
        .map(|shard| counter(shard).load(Relaxed))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> Route {
        Route {
            api: name.into(),
            ..Route::stray()
        }
    }

    #[test]
    fn a_shard_is_given_out_again_once_nobody_counts_in_it() {
        let (one, other) = (shard(route("a")), shard(route("a")));
        assert!(!Arc::ptr_eq(&one, &other));
        one.stream_opened();
        let address = Arc::as_ptr(&one);
        drop(one);
        let again = shard(route("a"));
        assert_eq!(Arc::as_ptr(&again), address);
        assert_eq!(again.streams_opened.load(Relaxed), 1);
        assert_eq!(locked(&ROUTES).get(&route("a")).unwrap().len(), 2);
    }

    #[test]
    fn every_status_has_its_own_count_and_odd_ones_count_as_none() {
        let shard = Shard::default();
        for status in [
            Some(200),
            Some(200),
            Some(599),
            Some(100),
            None,
            Some(7),
            Some(999),
        ] {
            add(shard.status(status), 1);
        }
        let counted: Vec<(u16, u64)> = shard.counted_statuses().collect();
        assert_eq!(counted, [(0, 3), (100, 1), (200, 2), (599, 1)]);
    }
}
