//! The memory guard: looks every second how much memory is in use, and tells when it becomes too much.
//!
//! What is compared depends on whose limit it is. A control group is killed in when all that counts against it, sockets'
//! buffers in the kernel and processes of functions included, can't be brought below its limit; so that is what counts,
//! without the cache of files, which the kernel gives up before. A limit from the configuration is the gateway's own, and
//! compared with what only the gateway holds: the resident memory of its process.

mod cgroup;

use std::{path::Path, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    telemetry::metrics,
    types::memory::{Amount, Level, Memory},
};
use cgroup::Places;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks after the memory of the process until it is dropped.
#[derive(Debug)]
pub struct Guard {
    limit: Option<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Guard {
    /// Looks at once and from then on, and notes what it finds in `memory`. `limit` is the configuration's own.
    pub fn start(limit: Option<u64>, memory: &Arc<Memory>, control: &Handle) -> Guard {
        look(limit, memory);
        let memory = memory.clone();
        let task = control.spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                look(limit, &memory);
            }
        });
        Guard {
            limit,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Goes by another limit from now on.
    pub fn follow(&mut self, limit: Option<u64>, memory: &Arc<Memory>, control: &Handle) {
        if self.limit != limit {
            *self = Guard::start(limit, memory, control);
        }
    }
}

fn look(limit: Option<u64>, memory: &Memory) {
    let found = found(limit);
    let (before, now) = memory.note(found);
    if before != now {
        tell(before, now, found);
    }
}

/// What is in use, and of how much, if there is a limit.
fn found(limit: Option<u64>) -> Option<Amount> {
    match limit {
        Some(u64::MAX) => None,
        Some(limit) => metrics::resident().map(|used| Amount { used, limit }),
        None => cgroup::amount(&Places {
            process: Path::new("/proc/self"),
            groups: Path::new("/sys/fs/cgroup"),
            machine: Path::new("/proc/meminfo"),
        }),
    }
}

fn tell(before: Level, now: Level, found: Option<Amount>) {
    let Some(amount) = found else {
        tracing::info!("there is no memory limit any more");
        return;
    };
    match (before, now) {
        (_, Level::Short) => tracing::warn!(
            "{amount}: new requests are refused, what has begun goes on, and no idle connections are kept"
        ),
        (Level::Short, Level::Tight) => {
            tracing::info!("{amount}: requests are taken again, no idle connections are kept");
        }
        (_, Level::Tight) => tracing::warn!("{amount}: no idle connections are kept"),
        (_, Level::Ample) => tracing::info!("{amount}: connections are kept again"),
    }
}
