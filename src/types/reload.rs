//! Reloads of the configuration: how anybody asks for one, and what came of the last.
//!
//! Whoever asks (a signal, a changed file, the operator's address) sends a request to the one task that reloads, and gets
//! its report. The figures are for whoever shows them.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::{mpsc, oneshot};

use super::clock::Wall;

/// What came of a reload.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of the configuration that is served since: 1 from the start, one more with each that is adopted.
    pub generation: u64,
    /// When.
    pub at: Wall,
    /// Whether the files' configuration is served now; if not, the one from before is.
    pub is_adopted: bool,
    /// Everything found, as people read it; of a reload that went well maybe nothing.
    pub text: String,
}

/// A request for a reload, answered by its report.
pub type Ask = oneshot::Sender<Report>;

/// Takes requests for reloads, and knows what came of them.
#[derive(Debug)]
pub struct Reloads {
    asks: mpsc::UnboundedSender<Ask>,
    adopted: AtomicU64,
    rejected: AtomicU64,
    last: Mutex<Report>,
}

impl Reloads {
    /// Nothing reloaded yet, and where requests will arrive.
    pub fn new() -> (Reloads, mpsc::UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let reloads = Reloads {
            asks,
            adopted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            last: Mutex::new(Report {
                generation: 1,
                at: Wall::now(),
                is_adopted: true,
                text: String::new(),
            }),
        };
        (reloads, asked)
    }

    /// Reloads, and says what came of it; `None` if nothing reloads this gateway.
    pub async fn ask(&self) -> Option<Report> {
        let (ask, report) = oneshot::channel();
        self.asks.send(ask).ok()?;
        report.await.ok()
    }

    /// Notes what came of a reload.
    pub fn note(&self, is_adopted: bool, text: String) -> Report {
        let count = if is_adopted {
            &self.adopted
        } else {
            &self.rejected
        };
        count.fetch_add(1, Relaxed);
        let mut last = self.locked();
        *last = Report {
            generation: last.generation + u64::from(is_adopted),
            at: Wall::now(),
            is_adopted,
            text,
        };
        last.clone()
    }

    /// What came of the last one, or of the start.
    pub fn last(&self) -> Report {
        self.locked().clone()
    }

    /// How many were adopted.
    pub fn adopted(&self) -> u64 {
        self.adopted.load(Relaxed)
    }

    /// How many left the configuration as it was.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    fn locked(&self) -> MutexGuard<'_, Report> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
