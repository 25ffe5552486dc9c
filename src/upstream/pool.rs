//! Idle connections, kept per worker: no lock, and a connection never changes its thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
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

type Pools = HashMap<u64, Pool, BuildHasherDefault<Identity>>;

thread_local! {
    static POOLS: RefCell<Pools> = RefCell::default();
}

/// The connection used last that is still open and silent.
pub fn take(endpoint: &Endpoint, now: Tick) -> Option<Connection> {
    POOLS.with_borrow_mut(|pools| {
        let idle = &mut pools.get_mut(&endpoint.id)?.idle;
        while let Some((since, mut connection)) = idle.pop() {
            if is_fresh(since, &connection, now) && connection.is_quiet() {
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
        let pool = pools.entry(connection.endpoint().id).or_default();
        if pool.idle.len() < MOST_IDLE {
            pool.idle.push((now, connection));
        }
    });
}

/// The worker's HTTP/2 connection to an endpoint, while it takes requests.
pub fn http2(endpoint: &Arc<Endpoint>) -> Option<Sender> {
    POOLS.with_borrow_mut(|pools| {
        let shared = &mut pools.get_mut(&endpoint.id)?.http2;
        if shared.as_ref().is_some_and(Sender::is_closed) {
            *shared = None;
        }
        shared.clone()
    })
}

/// Shares an HTTP/2 connection with the worker's later requests.
pub fn share(endpoint: &Endpoint, sender: Sender) {
    POOLS.with_borrow_mut(|pools| pools.entry(endpoint.id).or_default().http2 = Some(sender));
}

/// Closes what has been idle for too long or was closed by the backend.
pub fn sweep(now: Tick) {
    POOLS.with_borrow_mut(|pools| {
        pools.retain(|_, pool| {
            pool.idle.retain_mut(|(since, connection)| {
                is_fresh(*since, connection, now) && connection.is_quiet()
            });
            if pool.http2.as_ref().is_some_and(Sender::is_closed) {
                pool.http2 = None;
            }
            !pool.idle.is_empty() || pool.http2.is_some()
        });
    });
}

/// How many idle connections this worker holds.
pub fn idle_count() -> usize {
    POOLS.with_borrow(|pools| pools.values().map(|pool| pool.idle.len()).sum())
}

fn is_fresh(since: Tick, connection: &Connection, now: Tick) -> bool {
    now.since(since) < IDLE && now.since(connection.opened()) < LIFE
}
