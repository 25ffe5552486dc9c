//! A gateway among clients and backends that do whatever goes wrong in the world, all at once: every request is
//! accounted for, and nothing of it is left.
//!
//! Each client does one deed after the other (`soak/deeds.rs`) and says how many requests it made of which kind and how
//! they must have ended. In the end the access log and the metrics must say exactly the same. Meanwhile the gateway is
//! reloaded, and its metrics are read.
//!
//! A few seconds as a test. For longer, best with an optimised program:
//! `SOAK_MINUTES=60 SLUICEGATE_TEST_BINARY=$PWD/target/release/sluicegate cargo test --test soak -- --nocapture`.
//! From 25 minutes on memory is judged, too: it must not grow by more than 1 MiB in 10 minutes.

#![cfg(target_os = "linux")]
#![expect(unreachable_pub, reason = "a test binary has no public interface")]
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::print_stdout,
    clippy::format_collect,
    reason = "a test that is wrong about its world should stop at once"
)]

#[path = "it/support/mod.rs"]
mod support;

#[path = "reload/process.rs"]
mod process;

#[path = "soak/backend.rs"]
mod backend;

#[path = "soak/deeds.rs"]
mod deeds;

#[path = "soak/functions.rs"]
mod functions;

#[path = "soak/gauges.rs"]
mod gauges;

#[path = "soak/http2.rs"]
mod http2;

#[path = "soak/ledger.rs"]
mod ledger;

#[path = "soak/stage.rs"]
mod stage;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use gauges::Gauges;
use ledger::Ledger;
use stage::Stage;
use tokio::time::{Instant, sleep};

const CLIENTS: usize = 24;

/// Without `SOAK_MINUTES`.
const SHORT: Duration = Duration::from_secs(8);

/// From here on memory is judged. The first minutes fill what is kept for reuse.
const LONG: Duration = Duration::from_secs(25 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_every_request_is_accounted_for_and_nothing_is_left() {
    let minutes = env::var("SOAK_MINUTES")
        .ok()
        .map(|text| text.parse::<f64>().unwrap());
    let time = minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(60.0 * minutes));
    let mut stage = Stage::start().await;
    let ledger = Arc::new(Ledger::default());
    // Everything has happened once before anything is counted on to be as before.
    for deed in deeds::ALL {
        deed.run(&stage, &ledger).await;
    }
    stage.remember_memory();
    let (stage, is_over) = (Arc::new(stage), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(stage.clone(), ledger.clone(), is_over.clone())))
        .collect();
    let gauges = look_after(&stage, &ledger, time, || {
        clients.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    is_over.store(true, Relaxed);
    for client in clients {
        client
            .await
            .expect("a client saw something it didn't expect");
    }
    stage.is_quiet().await;
    stage.agrees_with(&ledger).await;
    if time >= LONG {
        gauges.are_level();
        stage.is_as_before().await;
    }
    stage.ends_well().await;
}

/// One deed after the other, as they come.
async fn client(stage: Arc<Stage>, ledger: Arc<Ledger>, is_over: Arc<AtomicBool>) {
    while !is_over.load(Relaxed) {
        deeds::any().run(&stage, &ledger).await;
    }
}

/// Reloads, reads the metrics and notes the gauges until the time is over, or a client has failed.
async fn look_after(
    stage: &Stage,
    ledger: &Ledger,
    time: Duration,
    has_failed: impl Fn() -> bool,
) -> Gauges {
    let begun = Instant::now();
    let mut gauges = Gauges::default();
    let pause = (time / 8).min(Duration::from_secs(10));
    let mut told = begun;
    while begun.elapsed() < time && !has_failed() {
        sleep(pause).await;
        stage.reload().await;
        gauges.note(begun.elapsed(), stage.resident_kib(), stage.descriptors());
        if told.elapsed() >= Duration::from_secs(60) {
            told = Instant::now();
            println!(
                "{:5} s  {:9} requests  {}",
                begun.elapsed().as_secs(),
                ledger.total(),
                gauges.last()
            );
        }
    }
    gauges
}
