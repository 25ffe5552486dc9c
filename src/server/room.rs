//! Asking all workers for a connection to close, so that another one finds room.
//!
//! A worker knows only its own connections. One that has none to spare asks the others; the first that has one answers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{broadcast, oneshot};

use super::registry::{Rank, close_oldest_idle};
use crate::types::clock::Tick;

/// Questions that a worker may leave unread.
const UNREAD: usize = 64;
/// How long an answer is waited for: a worker may be busy for a moment.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whoever has a connection to spare takes the answer's sender, and says so.
#[derive(Debug)]
struct Question {
    last: Rank,
    say: Mutex<Option<oneshot::Sender<()>>>,
}

/// The workers as those who ask see them.
#[derive(Debug)]
pub struct Room(broadcast::Sender<Arc<Question>>);

impl Default for Room {
    fn default() -> Self {
        Room(broadcast::Sender::new(UNREAD))
    }
}

impl Room {
    /// Answers all who ask, on a worker's thread.
    pub async fn answer(&self) {
        let mut questions = self.0.subscribe();
        loop {
            match questions.recv().await {
                Ok(question) => question.consider(),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Whether a worker has asked one of its connections to close that doesn't rank behind `last`.
    pub async fn ask(&self, last: Rank) -> bool {
        let (say, said) = oneshot::channel();
        let say = Mutex::new(Some(say));
        let question = Question { last, say };
        // Once the last of them has passed it over, it is gone, and so is the answer.
        self.0.send(Arc::new(question)).is_ok()
            && matches!(tokio::time::timeout(PATIENCE, said).await, Ok(Ok(())))
    }
}

impl Question {
    fn consider(&self) {
        let mut say = self.say.lock().unwrap_or_else(PoisonError::into_inner);
        if say.as_ref().is_some_and(|say| !say.is_closed())
            && close_oldest_idle(Tick::now(), self.last)
            && let Some(say) = say.take()
        {
            let _ = say.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::registry::{Entry, NO_DOOR};

    #[tokio::test]
    async fn one_worker_that_can_makes_room_and_who_finds_none_is_told() {
        let room = Arc::new(Room::default());
        assert!(!room.ask(Rank::Kept).await);
        let (tell, told) = std::sync::mpsc::channel();
        let workers: Vec<_> = [0, 2, 2]
            .map(|count| {
                let (room, tell) = (room.clone(), tell.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async {
                        let idle: Vec<Entry> = std::iter::repeat_with(|| {
                            let entry = Entry::new(Arc::default(), NO_DOOR);
                            entry.handle().set_busy();
                            entry.handle().set_idle(Tick::now());
                            entry
                        })
                        .take(count)
                        .collect();
                        tell.send(()).unwrap();
                        room.answer().await;
                        drop(idle);
                    });
                })
            })
            .into();
        for _ in &workers {
            told.recv().unwrap();
        }
        while room.0.receiver_count() < workers.len() {
            tokio::task::yield_now().await;
        }
        for is_met in [true, true, true, true, false, false] {
            assert_eq!(room.ask(Rank::Kept).await, is_met);
        }
    }
}
