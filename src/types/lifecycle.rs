//! How a gateway comes to its end, in phases that every worker sees.

use tokio::sync::{Notify, watch};

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes requests.
    Running,
    /// It still takes them, but says that it won't for long.
    Unready,
    /// It takes no new connections, and ends the ones it has as they become idle.
    Draining,
    /// What is still open is cut.
    Cut,
}

/// Gives the phase.
#[derive(Debug)]
pub struct Conductor {
    phase: watch::Sender<Phase>,
    asked: Notify,
}

impl Default for Conductor {
    fn default() -> Self {
        Conductor {
            phase: watch::Sender::new(Phase::Running),
            asked: Notify::new(),
        }
    }
}

impl Conductor {
    /// Moves on to a later phase; never back.
    pub fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let is_later = to > *phase;
            *phase = to.max(*phase);
            is_later
        });
    }

    /// Asks whoever runs the gateway to end it in good order.
    pub fn ask_to_stop(&self) {
        self.asked.notify_one();
    }

    /// Waits until somebody asks for that. One may wait at a time.
    pub async fn asked_to_stop(&self) {
        self.asked.notified().await;
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// To be told of later phases.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

/// Waits until a phase is reached, or the conductor is gone.
pub async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = phases.wait_for(|now| *now >= phase).await;
}
