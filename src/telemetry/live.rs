//! The streams that are open now, for whoever wants to watch them. Costs nothing until somebody does.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use crate::{
    stream::clocks::{Clocks, Waiting},
    types::{clock::Tick, context::Context, outcome::Outcome},
};

/// A stream that is open, or was until a moment ago.
#[derive(Debug)]
pub struct LiveStream {
    /// The request's id.
    pub request_id: Box<str>,
    /// Method and path.
    pub request: Box<str>,
    /// The client's address.
    pub client: Box<str>,
    /// When the request came.
    pub opened: Tick,
    bytes: AtomicU64,
    last_sent: AtomicU64,
    clocks: Arc<Clocks>,
    outcome: Mutex<Option<(Outcome, Tick)>>,
}

impl LiveStream {
    /// A request that has reached its integration.
    pub fn new(context: &Context, clocks: Arc<Clocks>) -> LiveStream {
        LiveStream {
            request_id: context.request_id.as_str().into(),
            request: format!("{} {}", context.method, context.head.target.path()).into(),
            client: context.source_ip().into(),
            opened: context.opened,
            bytes: AtomicU64::new(0),
            last_sent: AtomicU64::new(context.opened.micros()),
            clocks,
            outcome: Mutex::default(),
        }
    }

    /// Counts bytes that were sent.
    pub fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.last_sent.store(self.clocks.now().micros(), Relaxed);
    }

    /// Bytes sent so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When bytes were last sent.
    pub fn last_sent(&self) -> Tick {
        Tick::from_micros(self.last_sent.load(Relaxed))
    }

    /// Whom it waits for.
    pub fn waiting(&self) -> Waiting {
        self.clocks.waiting()
    }

    /// How and when it ended, if it has.
    pub fn outcome(&self) -> Option<(Outcome, Tick)> {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static WATCHED: AtomicBool = AtomicBool::new(false);
static OPEN: Mutex<Vec<Arc<LiveStream>>> = Mutex::new(Vec::new());
static ENDED: Mutex<Vec<Arc<LiveStream>>> = Mutex::new(Vec::new());
/// Ended streams that wait to be shown once more.
const MOST_ENDED: usize = 64;

/// From now on streams are kept track of.
pub fn watch() {
    WATCHED.store(true, Relaxed);
}

/// Whether anybody watches.
pub fn is_watched() -> bool {
    WATCHED.load(Relaxed)
}

/// Adds a stream.
pub fn add(stream: &Arc<LiveStream>) {
    OPEN.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(stream.clone());
}

/// Removes a stream that has ended.
pub fn remove(stream: &Arc<LiveStream>, outcome: Outcome) {
    *stream
        .outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some((outcome, Tick::now()));
    OPEN.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|open| !Arc::ptr_eq(open, stream));
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    if ended.len() < MOST_ENDED {
        ended.push(stream.clone());
    }
}

/// The streams that are open now.
pub fn open() -> Vec<Arc<LiveStream>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The streams that ended since this was last asked.
pub fn take_ended() -> Vec<Arc<LiveStream>> {
    std::mem::take(&mut ENDED.lock().unwrap_or_else(PoisonError::into_inner))
}
