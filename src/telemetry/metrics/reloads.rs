//! Reloads of the configuration: how many there were, and what the last one found.

use std::sync::Mutex;

use super::locked;
use crate::types::clock::Wall;

/// Reloads so far.
#[derive(Clone, Debug)]
pub struct Reloads {
    /// Which configuration is served: 1 from the start, one more with each reload.
    pub generation: u64,
    /// Reloads that changed the configuration.
    pub succeeded: u64,
    /// Reloads that left it as it was.
    pub failed: u64,
    /// The last one.
    pub last: Option<Reload>,
}

/// A reload.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When.
    pub at: Wall,
    /// Why it left the configuration as it was, if it did; anybody may read it.
    pub finding: Option<String>,
}

static RELOADS: Mutex<Reloads> = Mutex::new(Reloads {
    generation: 1,
    succeeded: 0,
    failed: 0,
    last: None,
});

/// Notes a reload, or what kept it from happening, in words without secrets.
pub fn reload(result: Result<(), String>) {
    let mut reloads = locked(&RELOADS);
    match result {
        Ok(()) => {
            reloads.generation += 1;
            reloads.succeeded += 1;
        }
        Err(_) => reloads.failed += 1,
    }
    reloads.last = Some(Reload {
        at: Wall::now(),
        finding: result.err(),
    });
}

/// Reloads so far.
pub fn so_far() -> Reloads {
    locked(&RELOADS).clone()
}
