//! How a serving gateway ends: on which signals, in which phases, and what it says meanwhile.

use std::time::Duration;

use futures_util::FutureExt as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{config::model::Shutdown, server::run::Server, types::lifecycle::Phase};

/// How long open requests have after Ctrl-C at a terminal.
const INTERRUPT_DRAIN: Duration = Duration::from_secs(10);
/// How long after a signal another one is taken for the same.
const ECHO: Duration = Duration::from_millis(300);
/// How often it is said what is waited for.
const NEWS: Duration = Duration::from_secs(5);

/// The signals that end the gateway.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// One of them.
enum Ending {
    Terminate,
    Interrupt,
}

impl Signals {
    /// From now on they are noted, and don't end the process.
    pub(super) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::Terminate,
            _ = self.interrupt.recv() => Ending::Interrupt,
        }
    }
}

/// Waits for SIGTERM or SIGINT. How long the shutdown may take.
pub(super) async fn await_signal(
    signals: &mut Signals,
    server: &Server,
    fixed: Option<Shutdown>,
) -> Shutdown {
    match signals.next().await {
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
            shutdown
        }
        Ending::Interrupt => {
            tracing::info!("SIGINT: shutting down");
            Shutdown {
                pre_stop_delay: Duration::ZERO,
                drain_timeout: INTERRUPT_DRAIN,
            }
        }
    }
}

/// Moves the server through the phases of its end, which a second signal cuts short.
pub(super) async fn end(signals: &mut Signals, server: &Server, patience: Shutdown) {
    let second = async {
        // `timeout` and the like signal a process and then its group: that is one signal, said twice.
        tokio::time::sleep(ECHO).await;
        while signals.next().now_or_never().is_some() {}
        signals.next().await
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
