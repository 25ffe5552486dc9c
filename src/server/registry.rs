//! A worker's open connections and HTTP/2 streams, so that they can be told to end.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use slab::Slab;

use crate::{
    stream::clocks::Clocks,
    types::{clock::Tick, outcome::Outcome},
};

/// The door of a stream: its connection is the one that is asked to end.
pub const NO_DOOR: u64 = u64::MAX;

/// How long a client that has just connected may take to begin its first request while its listener closes, or while others
/// want its place.
pub const WELCOME: Duration = Duration::from_secs(2);

/// What others may know of a connection or stream, and tell it.
#[derive(Debug)]
pub struct Handle {
    clocks: Arc<Clocks>,
    /// The listener it came in by.
    door: u64,
    /// It is a connection whose exchanges are registered themselves.
    is_carrier: AtomicBool,
    /// When it became idle; 0 while it is busy.
    idle_since: AtomicU64,
    /// When the head began that it waits for the rest of; 0 if none has.
    head_since: AtomicU64,
    /// It has had a request, or at least its chance of one.
    has_begun: AtomicBool,
    is_closing: AtomicBool,
    is_displaced: AtomicBool,
}

impl Handle {
    /// The clocks of its exchanges.
    pub fn clocks(&self) -> &Arc<Clocks> {
        &self.clocks
    }

    /// It waits for a request.
    pub fn set_idle(&self, now: Tick) {
        self.head_since.store(0, Relaxed);
        self.idle_since.store(now.micros(), Relaxed);
    }

    /// It waits for the rest of a head.
    pub fn set_in_head(&self, begun: Tick) {
        self.head_since.store(begun.micros(), Relaxed);
    }

    /// It serves one.
    pub fn set_busy(&self) {
        self.idle_since.store(0, Relaxed);
        self.has_begun.store(true, Relaxed);
    }

    /// It is a connection, and its exchanges are registered themselves.
    pub fn set_carrier(&self) {
        self.is_carrier.store(true, Relaxed);
    }

    /// Whether it is an exchange under way.
    fn is_exchange(&self) -> bool {
        self.idle_since.load(Relaxed) == 0 && !self.is_carrier.load(Relaxed)
    }

    /// Whether it should end as soon as it can.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Relaxed)
    }

    /// Whether somebody else waits for its place.
    pub fn is_displaced(&self) -> bool {
        self.is_displaced.load(Relaxed)
    }

    /// Notes how its task is woken.
    pub fn register(&self, waker: &Waker) {
        self.clocks.register(waker);
    }

    /// Asks it to end after what it is doing.
    pub fn close(&self) {
        self.is_closing.store(true, Relaxed);
        self.clocks.wake();
    }

    /// Asks it to make room.
    fn displace(&self) {
        self.is_displaced.store(true, Relaxed);
        self.close();
    }

    /// How ready it is to make room, least first; `None` if it isn't at all.
    fn rank(&self, now: Tick) -> Option<(Rank, Tick)> {
        let [idle, head] = [&self.idle_since, &self.head_since]
            .map(|since| Tick::from_micros(since.load(Relaxed)));
        if idle == Tick::default() || self.is_closing() {
            return None;
        }
        let (rank, since) = if head > Tick::default() {
            (Rank::InHead, head)
        } else if self.has_begun.load(Relaxed) {
            (Rank::Kept, idle)
        } else {
            (Rank::Silent, idle)
        };
        (rank == Rank::Kept || now.since(since) >= WELCOME).then_some((rank, since))
    }

    /// Ends what it is doing.
    pub fn cut(&self) {
        self.is_closing.store(true, Relaxed);
        self.clocks.judge(Outcome::Drained);
        self.clocks.wake();
    }
}

/// What a connection without an exchange does, those first that can be spared most easily.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It waits for the next request.
    Kept,
    /// It has said nothing yet.
    Silent,
    /// It takes its time over a head.
    InHead,
}

thread_local! {
    static HANDLES: RefCell<Slab<Arc<Handle>>> = const { RefCell::new(Slab::new()) };
}

/// A place in the registry, until dropped.
#[derive(Debug)]
pub struct Entry {
    key: usize,
    handle: Arc<Handle>,
}

impl Entry {
    /// Registers a connection or stream with `clocks` on this worker, which came in by the listener `door`.
    pub fn new(clocks: Arc<Clocks>, door: u64) -> Entry {
        let handle = Arc::new(Handle {
            clocks,
            door,
            is_carrier: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            is_displaced: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
        });
        let key = HANDLES.with_borrow_mut(|handles| handles.insert(handle.clone()));
        Entry { key, handle }
    }

    /// Its handle.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // A worker's thread may be ending, and its registry with it.
        let _ = HANDLES.try_with(|handles| {
            if let Ok(mut handles) = handles.try_borrow_mut() {
                handles.try_remove(self.key);
            }
        });
    }
}

fn all() -> Vec<Arc<Handle>> {
    HANDLES.with_borrow(|handles| handles.iter().map(|(_, handle)| handle.clone()).collect())
}

/// Asks all to end after what they are doing.
pub fn close_all() {
    for handle in all() {
        handle.close();
    }
}

/// Asks those that came in by a listener to end after what they are doing.
pub fn close_door(door: u64) {
    for handle in all().into_iter().filter(|handle| handle.door == door) {
        handle.close();
    }
}

/// How many exchanges are under way.
pub fn exchanges() -> usize {
    HANDLES.with_borrow(|handles| {
        handles
            .iter()
            .filter(|(_, handle)| handle.is_exchange())
            .count()
    })
}

/// Ends whatever all are doing.
pub fn cut_all() {
    for handle in all() {
        handle.cut();
    }
}

/// Asks the connection that has been idle for longest to close. One that hasn't had its first request, or is in the middle
/// of a head, is asked only if there is no other, and if it had time enough for it: it would serve a request that has just
/// come, and make no room. None is asked that ranks behind `last`. Whether there was one.
pub fn close_oldest_idle(now: Tick, last: Rank) -> bool {
    let oldest = HANDLES.with_borrow(|handles| {
        handles
            .iter()
            .filter_map(|(_, handle)| Some((handle.rank(now)?, handle.clone())))
            .filter(|((rank, _), _)| *rank <= last)
            .min_by_key(|(rank, _)| *rank)
    });
    oldest.map(|(_, handle)| handle.displace()).is_some()
}

/// Asks all to close that wait for a request.
pub fn close_idle(now: Tick) {
    let waits = |handle: &Arc<Handle>| {
        let rank = handle.rank(now);
        rank.is_some_and(|(rank, _)| rank != Rank::InHead)
    };
    for handle in all().into_iter().filter(waits) {
        handle.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_between_requests_make_room_before_new_ones_that_say_nothing_and_slow_heads_last()
    {
        let entry = |since: u64, has_begun: bool| {
            let entry = Entry::new(Arc::default(), 0);
            if has_begun {
                entry.handle().set_busy();
            }
            entry.handle().set_idle(Tick::from_micros(since));
            entry
        };
        let now = Tick::from_micros(1_000).after(WELCOME);
        let [silent, late, newest] = [1, 1_000, 1_001].map(|since| entry(since, false));
        let [kept, older] = [3_000, 2_000].map(|since| entry(since, true));
        let [slow, fresh] = [900, 1_001].map(|since| {
            let entry = entry(1, true);
            entry.handle().set_in_head(Tick::from_micros(since));
            entry
        });
        let busy = Entry::new(Arc::default(), 0);
        let closing = |entry: &Entry| entry.handle().is_closing();
        let close_oldest_idle = |now| close_oldest_idle(now, Rank::InHead);
        for next in [&older, &kept, &silent, &late, &slow] {
            assert!(!closing(next));
            assert!(close_oldest_idle(now));
            assert!(closing(next));
        }
        assert!(!close_oldest_idle(now));
        assert!(!closing(&newest) && !closing(&fresh) && !closing(&busy));
        fresh.handle().set_idle(Tick::from_micros(2));
        assert!(close_oldest_idle(now));
        assert!(closing(&fresh));
        let silent = entry(1, false);
        assert!(!super::close_oldest_idle(now, Rank::Kept) && !closing(&silent));
    }
}
