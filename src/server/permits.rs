//! Places for client connections, counted over all workers.
//!
//! There are never more connections than places: one that is asked to make room keeps its place until it has gone, and
//! whoever waits for it meanwhile, or is being told that there is none, has a seat in a lobby. The lobby is bounded, too,
//! because its guests hold descriptors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::room::Room;
use crate::config::model::Http;

/// Connections without a place that are dealt with at a time. The descriptors that most connections leave to everything
/// else are twice as many.
const SEATS: usize = 64;
/// How long a connection waits for the place of one that was asked to make room: it may have got a request just then.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many client connections there are, and may be.
#[derive(Debug)]
pub struct Permits {
    free: Semaphore,
    most: AtomicUsize,
    /// Places that were taken away while they were in use.
    owed: AtomicUsize,
    lobby: Arc<Semaphore>,
    room: Room,
}

impl Permits {
    /// At most `most` connections.
    pub fn new(most: usize) -> Permits {
        let most = most.min(Semaphore::MAX_PERMITS);
        Permits {
            free: Semaphore::new(most),
            most: AtomicUsize::new(most),
            owed: AtomicUsize::new(0),
            lobby: Arc::new(Semaphore::new(SEATS)),
            room: Room::default(),
        }
    }

    /// Changes how many there may be; those that are too many stay to their end. Only one thread at a time may call it.
    pub fn allow(&self, most: usize) {
        let most = most.min(Semaphore::MAX_PERMITS);
        let before = self.most.swap(most, Relaxed);
        if let Some(fewer) = before.checked_sub(most) {
            let gone = self.free.forget_permits(fewer);
            self.owed.fetch_add(fewer - gone, Relaxed);
            return;
        }
        let more = most - before;
        let paid = self
            .owed
            .fetch_update(Relaxed, Relaxed, |owed| Some(owed.saturating_sub(more)));
        let paid = paid.unwrap_or_default().min(more);
        self.free.add_permits(more - paid);
    }

    /// How many there may be.
    pub fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// How many connections have a place.
    pub fn open(&self) -> usize {
        let places = self.most() + self.owed.load(Relaxed);
        places.saturating_sub(self.free.available_permits())
    }

    /// A place, if one is free and nobody waits for it.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        self.free.try_acquire().ok()?.forget();
        Some(Place(self.clone()))
    }

    /// The next place that becomes free, if one does soon.
    pub async fn wait(self: &Arc<Self>) -> Option<Place> {
        let waited = tokio::time::timeout(PATIENCE, self.free.acquire()).await;
        waited.ok()?.ok()?.forget();
        Some(Place(self.clone()))
    }

    /// Where a place can be asked for that is in use.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// A seat in the lobby, if one is free.
    pub fn seat(&self) -> Option<OwnedSemaphorePermit> {
        self.lobby.clone().try_acquire_owned().ok()
    }
}

/// A connection's place, until dropped.
#[derive(Debug)]
pub struct Place(Arc<Permits>);

impl Drop for Place {
    fn drop(&mut self) {
        let Permits { free, owed, .. } = &*self.0;
        let is_owed = owed
            .fetch_update(Relaxed, Relaxed, |owed| owed.checked_sub(1))
            .is_ok();
        if !is_owed {
            free.add_permits(1);
        }
    }
}

/// How many client connections a configuration allows. Each may need another one to a backend; some descriptors are kept
/// for logs and the operator.
pub(super) fn most_connections(http: &Http) -> usize {
    const KEPT: u64 = 128;
    // Whoever says how many there may be needs the descriptors for them, too.
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    http.max_connections.unwrap_or_else(|| {
        usize::try_from(limit.saturating_sub(KEPT) / 2)
            .unwrap_or(usize::MAX)
            .max(16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(permits: &Arc<Permits>) -> Vec<Place> {
        std::iter::from_fn(|| permits.take()).collect()
    }

    #[test]
    fn there_are_as_many_places_as_are_allowed_however_often_that_changes() {
        let permits = Arc::new(Permits::new(5));
        let mut places = all(&permits);
        assert_eq!((places.len(), permits.open()), (5, 5));
        permits.allow(2);
        assert_eq!(permits.open(), 5);
        places.truncate(2);
        assert!(permits.take().is_none());
        assert_eq!(permits.open(), 2);
        places.pop();
        places.extend(all(&permits));
        assert_eq!(places.len(), 2);
        // Places are taken away and come back before their connections have gone.
        permits.allow(1);
        permits.allow(4);
        places.extend(all(&permits));
        assert_eq!((places.len(), permits.open()), (4, 4));
        places.clear();
        assert_eq!(permits.open(), 0);
        permits.allow(usize::MAX);
        assert!(permits.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_is_for_whoever_waits_and_not_for_who_comes_later() {
        let permits = Arc::new(Permits::new(1));
        let place = permits.take();
        let waiting = permits.clone();
        let waiting = tokio::spawn(async move { waiting.wait().await });
        tokio::task::yield_now().await;
        drop(place);
        assert!(permits.take().is_none());
        assert!(waiting.await.unwrap().is_some());
        let _place = permits.take();
        assert!(permits.wait().await.is_none());
    }
}
