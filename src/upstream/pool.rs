//! Idle connections, kept per worker: no lock, and a connection never changes its thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{endpoint::Endpoint, h1::Connection, h2::Sender};
use crate::types::clock::Tick;

/// Below the 60 s after which many servers close an idle connection.
const IDLE: Duration = Duration::from_secs(55);
/// A connection's life: a name that now means another address takes effect by then.
const LIFE: Duration = Duration::from_secs(300);
/// Idle connections per endpoint and worker. The one used last is used next, so that no more stay than were in use at
/// once within [`IDLE`]: the bound is for backends that break this rhythm, not for bursts of HTTP/2 streams.
const MOST_IDLE: usize = 512;
/// How often a worker looks for idle connections to close.
pub const SWEEP: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Pool {
    idle: Vec<(Tick, Connection)>,
    http2: Option<Sender>,
}

/// Endpoints' ids are counted up by the gateway itself: they need no hashing.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes
            .iter()
            .fold(self.0, |id, byte| id << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, id: u64) {
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 = id | id << 57;
    }
}

struct Pools {
    by_endpoint: HashMap<u64, Pool, BuildHasherDefault<Identity>>,
    counts: Arc<Counts>,
}

/// What one worker's pools do.
#[derive(Debug, Default)]
struct Counts {
    idle: AtomicU64,
    reused: AtomicU64,
    opened: AtomicU64,
}

static COUNTS: Mutex<Vec<Arc<Counts>>> = Mutex::new(Vec::new());

impl Default for Pools {
    fn default() -> Self {
        let counts = Arc::new(Counts::default());
        COUNTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(counts.clone());
        Pools {
            by_endpoint: HashMap::default(),
            counts,
        }
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        self.counts.idle.store(0, Relaxed);
    }
}

thread_local! {
    static POOLS: RefCell<Pools> = RefCell::default();
}

/// What the pools of all workers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Idle HTTP/1.1 connections.
    pub idle: u64,
    /// Requests that went out on a connection that had been idle.
    pub reused: u64,
    /// Connections that were opened.
    pub opened: u64,
}

/// What the pools of all workers do.
pub fn totals() -> Totals {
    let counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    counts
        .iter()
        .fold(Totals::default(), |totals, counts| Totals {
            idle: totals.idle + counts.idle.load(Relaxed),
            reused: totals.reused + counts.reused.load(Relaxed),
            opened: totals.opened + counts.opened.load(Relaxed),
        })
}

/// Counts what only this worker counts, so that it need not be locked against others.
fn count(counter: &AtomicU64, change: i64) {
    counter.store(counter.load(Relaxed).saturating_add_signed(change), Relaxed);
}

/// Counts a connection that this worker has opened.
pub fn count_opened() {
    POOLS.with_borrow(|pools| count(&pools.counts.opened, 1));
}

/// The connection used last that is still open and silent.
pub fn take(endpoint: &Endpoint, now: Tick) -> Option<Connection> {
    POOLS.with_borrow_mut(|pools| {
        let Pools {
            by_endpoint,
            counts,
        } = pools;
        let idle = &mut by_endpoint.get_mut(&endpoint.id)?.idle;
        while let Some((since, mut connection)) = idle.pop() {
            count(&counts.idle, -1);
            if is_fresh(since, &connection, now) && connection.is_quiet() {
                count(&counts.reused, 1);
                return Some(connection);
            }
        }
        None
    })
}

/// Gives back a connection whose last answer ended exactly.
pub fn give(connection: Connection, now: Tick) {
    if now.since(connection.opened()) > LIFE {
        return;
    }
    POOLS.with_borrow_mut(|pools| {
        let by_endpoint = &mut pools.by_endpoint;
        let pool = by_endpoint.entry(connection.endpoint().id).or_default();
        if pool.idle.len() < MOST_IDLE {
            pool.idle.push((now, connection));
            count(&pools.counts.idle, 1);
        }
    });
}

/// The worker's HTTP/2 connection to an endpoint, while it takes requests.
pub fn http2(endpoint: &Arc<Endpoint>) -> Option<Sender> {
    POOLS.with_borrow_mut(|pools| {
        let shared = &mut pools.by_endpoint.get_mut(&endpoint.id)?.http2;
        if shared.as_ref().is_some_and(Sender::is_closed) {
            *shared = None;
        }
        shared.clone()
    })
}

/// Shares an HTTP/2 connection with the worker's later requests.
pub fn share(endpoint: &Endpoint, sender: Sender) {
    POOLS.with_borrow_mut(|pools| {
        pools.by_endpoint.entry(endpoint.id).or_default().http2 = Some(sender);
    });
}

/// Closes what has been idle for too long or was closed by the backend.
pub fn sweep(now: Tick) {
    POOLS.with_borrow_mut(|pools| {
        let mut idle = 0;
        pools.by_endpoint.retain(|_, pool| {
            pool.idle.retain_mut(|(since, connection)| {
                is_fresh(*since, connection, now) && connection.is_quiet()
            });
            if pool.http2.as_ref().is_some_and(Sender::is_closed) {
                pool.http2 = None;
            }
            idle += pool.idle.len() as u64;
            !pool.idle.is_empty() || pool.http2.is_some()
        });
        pools.counts.idle.store(idle, Relaxed);
    });
}

/// Closes all idle HTTP/1.1 connections. Of HTTP/2 there is one to an endpoint, which may be in use.
pub fn clear() {
    POOLS.with_borrow_mut(|pools| {
        let all = pools.by_endpoint.values_mut();
        all.for_each(|pool| pool.idle = Vec::new());
        pools.counts.idle.store(0, Relaxed);
    });
}

/// How many idle connections this worker holds.
pub fn idle_count() -> usize {
    POOLS.with_borrow(|pools| pools.by_endpoint.values().map(|pool| pool.idle.len()).sum())
}

fn is_fresh(since: Tick, connection: &Connection, now: Tick) -> bool {
    now.since(since) < IDLE && now.since(connection.opened()) < LIFE
}
