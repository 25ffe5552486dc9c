//! The exchanges that are under way now, for whoever wants to watch them or end one.
//!
//! Each thread keeps its own on a shelf; the shelf's lock is contended only in the moment in which somebody looks.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use http::Method;
use slab::Slab;

use crate::{
    stream::clocks::{Clocks, Waiting},
    types::{
        clock::Tick,
        context::Context,
        ids::RequestId,
        outcome::Outcome,
        peer::Peer,
        site::{Resource, Site},
    },
};

/// An exchange that is under way, or was until a moment ago.
#[derive(Debug)]
pub struct LiveStream {
    /// The request's id.
    pub request_id: RequestId,
    /// The method that was routed.
    pub method: Method,
    /// The path as it came, without its query.
    pub path: Box<str>,
    /// The API.
    pub site: Option<Arc<Site>>,
    /// The resource.
    pub resource: Option<Arc<Resource>>,
    /// `BUFFERED` or `STREAMED`.
    pub mode: &'static str,
    /// The client's connection.
    pub peer: Arc<Peer>,
    /// The client's address, if a trusted proxy told it.
    pub told_ip: Option<Box<str>>,
    /// When the request came.
    pub opened: Tick,
    bytes: AtomicU64,
    last_sent: AtomicU64,
    clocks: Arc<Clocks>,
    /// How it ended, plus one, and when.
    end: (AtomicU64, AtomicU64),
}

impl LiveStream {
    fn new(context: &Context, clocks: Arc<Clocks>) -> LiveStream {
        LiveStream {
            request_id: context.request_id,
            method: context.method.clone(),
            path: context.head.target.path().into(),
            site: context.site.clone(),
            resource: context.resource.clone(),
            mode: context.integration.transfer_mode.unwrap_or("-"),
            peer: context.peer.clone(),
            told_ip: context.told_ip.clone(),
            opened: context.opened,
            bytes: AtomicU64::new(0),
            last_sent: AtomicU64::new(0),
            clocks,
            end: (AtomicU64::new(0), AtomicU64::new(0)),
        }
    }

    /// Bytes sent so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When bytes were last sent, if ever.
    pub fn last_sent(&self) -> Option<Tick> {
        let at = self.last_sent.load(Relaxed);
        (at > 0).then_some(Tick::from_micros(at))
    }

    /// Whom it waits for.
    pub fn waiting(&self) -> Waiting {
        self.clocks.waiting()
    }

    /// Microseconds that it has waited for `whom` so far.
    pub fn waited_for(&self, whom: Waiting, now: Tick) -> u64 {
        self.clocks.waited_for(whom, now)
    }

    /// How and when it ended, if it has.
    pub fn outcome(&self) -> Option<(Outcome, Tick)> {
        let at = usize::try_from(self.end.0.load(Relaxed)).ok()?;
        let outcome = Outcome::ALL.get(at.checked_sub(1)?)?;
        Some((*outcome, Tick::from_micros(self.end.1.load(Relaxed))))
    }
}

#[derive(Debug, Default)]
struct Shelf(Mutex<Slab<Arc<LiveStream>>>);

static WATCHED: AtomicBool = AtomicBool::new(false);
static KEEPS_ENDED: AtomicBool = AtomicBool::new(false);
static SHELVES: Mutex<Vec<Arc<Shelf>>> = Mutex::new(Vec::new());
static ENDED: Mutex<Vec<Arc<LiveStream>>> = Mutex::new(Vec::new());
/// Ended streams that wait to be shown once more.
const MOST_ENDED: usize = 64;

thread_local! {
    static OWN: Arc<Shelf> = {
        let shelf = Arc::new(Shelf::default());
        let mut shelves = locked(&SHELVES);
        // Those of threads that have ended, and their last streams with them.
        shelves.retain(|shelf| Arc::strong_count(shelf) > 1);
        shelves.push(shelf.clone());
        shelf
    };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on exchanges are kept track of.
pub fn watch() {
    WATCHED.store(true, Relaxed);
}

/// From now on also those that have ended, until they are taken.
pub fn keep_ended() {
    KEEPS_ENDED.store(true, Relaxed);
}

/// Whether anybody watches.
pub fn is_watched() -> bool {
    WATCHED.load(Relaxed)
}

/// A place on a shelf, until dropped.
#[derive(Debug)]
pub struct Live {
    stream: Arc<LiveStream>,
    shelf: Arc<Shelf>,
    key: usize,
}

impl Live {
    /// Puts a request that has reached its integration on this thread's shelf.
    pub fn new(context: &Context, clocks: Arc<Clocks>) -> Live {
        let stream = Arc::new(LiveStream::new(context, clocks));
        let shelf = OWN.with(Arc::clone);
        let key = locked(&shelf.0).insert(stream.clone());
        Live { stream, shelf, key }
    }

    /// Counts bytes that were sent.
    pub fn sent(&self, bytes: u64) {
        let stream = &self.stream;
        // Nobody else writes it.
        let total = stream.bytes.load(Relaxed) + bytes;
        stream.bytes.store(total, Relaxed);
        stream
            .last_sent
            .store(stream.clocks.now().micros(), Relaxed);
    }

    /// Takes it from the shelf: it has ended.
    pub fn end(self, outcome: Outcome, now: Tick) {
        if KEEPS_ENDED.load(Relaxed) {
            self.stream.end.1.store(now.micros(), Relaxed);
            self.stream.end.0.store(outcome as u64 + 1, Relaxed);
            let mut ended = locked(&ENDED);
            if ended.len() < MOST_ENDED {
                ended.push(self.stream.clone());
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        locked(&self.shelf.0).try_remove(self.key);
    }
}

/// The exchanges that are under way now, the oldest first.
pub fn open() -> Vec<Arc<LiveStream>> {
    let shelves = locked(&SHELVES).clone();
    let mut open = Vec::new();
    for shelf in shelves {
        open.extend(locked(&shelf.0).iter().map(|(_, stream)| stream.clone()));
    }
    open.sort_by_key(|stream| stream.opened);
    open
}

/// Ends what is under way with this id. How many there were: a client may choose its request's id.
pub fn terminate(request_id: &str) -> usize {
    let shelves = locked(&SHELVES).clone();
    let mut count = 0;
    for shelf in shelves {
        // The verdict falls under the lock: an exchange leaves its shelf before the next one on its connection begins,
        // so that it can't be that one's.
        let streams = locked(&shelf.0);
        let named = streams
            .iter()
            .filter(|(_, stream)| stream.request_id.as_str() == request_id);
        for (_, stream) in named {
            stream.clocks.judge(Outcome::Terminated);
            stream.clocks.wake();
            count += 1;
        }
    }
    count
}

/// The exchanges that ended since this was last asked.
pub fn take_ended() -> Vec<Arc<LiveStream>> {
    std::mem::take(&mut locked(&ENDED))
}
