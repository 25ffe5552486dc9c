//! How a serving gateway ends: on which signals, in which phases, and what it says meanwhile.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::{config::model::Shutdown, server::run::Server, types::lifecycle::Phase};

/// How long open requests have after Ctrl-C at a terminal.
const INTERRUPT_DRAIN: Duration = Duration::from_secs(10);
/// How long after a signal another one is taken for the same.
const ECHO: Duration = Duration::from_millis(300);
/// How often it is said what is waited for.
const NEWS: Duration = Duration::from_secs(5);

/// A signal that ends the gateway.
enum Ending {
    Terminate,
    Interrupt,
}

async fn any_signal() -> std::io::Result<Ending> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(Ending::Terminate),
        _ = interrupt.recv() => Ok(Ending::Interrupt),
    }
}

/// Waits for SIGTERM or SIGINT. How long the shutdown may take.
pub(super) async fn await_signal(
    server: &Server,
    fixed: Option<Shutdown>,
) -> std::io::Result<Shutdown> {
    match any_signal().await? {
        Ending::Terminate => {
            let shutdown = fixed.unwrap_or_else(|| server.shutdown());
            let delay = shutdown.pre_stop_delay.as_secs_f64();
            if shutdown.pre_stop_delay.is_zero() {
                tracing::info!("SIGTERM: shutting down");
            } else {
                tracing::info!(
                    "SIGTERM: not ready from now on, closing in {delay} s (shutdown.preStopDelayInMillis)"
                );
            }
            Ok(shutdown)
        }
        Ending::Interrupt => {
            tracing::info!("SIGINT: shutting down");
            Ok(Shutdown {
                pre_stop_delay: Duration::ZERO,
                drain_timeout: INTERRUPT_DRAIN,
            })
        }
    }
}

/// Moves the server through the phases of its end, which a second signal cuts short.
pub(super) async fn end(server: &Server, patience: Shutdown) {
    let second = async {
        // `timeout` and the like signal a process and then its group: that is one signal, said twice.
        tokio::time::sleep(ECHO).await;
        any_signal().await
    };
    tokio::select! {
        () = drain(server, patience) => {}
        _ = second => tracing::warn!("second signal: stopping at once"),
    }
    let requests = server.exchanges().await;
    if requests > 0 {
        tracing::warn!(requests, "cutting what is still under way");
    }
    server.conductor().advance(Phase::Cut);
}

async fn drain(server: &Server, shutdown: Shutdown) {
    server.conductor().advance(Phase::Unready);
    tokio::time::sleep(shutdown.pre_stop_delay).await;
    server.conductor().advance(Phase::Draining);
    let telling = async {
        loop {
            tell_open(server).await;
            tokio::time::sleep(NEWS).await;
        }
    };
    let _ = tokio::time::timeout(shutdown.drain_timeout, telling).await;
}

/// Says how many requests are still waited for.
async fn tell_open(server: &Server) {
    let (requests, connections) = (server.exchanges().await, server.permits().open());
    if requests > 0 {
        tracing::info!(requests, connections, "waiting for open requests to end");
        let status = format!("waiting for {requests} open requests to end");
        let _ = sd_notify::notify(&[NotifyState::Status(&status)]);
    }
}
