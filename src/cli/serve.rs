//! `sluicegate serve`.

use std::{
    io::{IsTerminal as _, stderr, stdout},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    args::{self, Serve},
    check::summary,
    complain,
};
use crate::{
    admin::{Admin, Current},
    config::{
        build::Overrides,
        codes::Severity,
        diagnostics::Diagnostics,
        load,
        model::{Model, Shutdown},
        render::render,
    },
    server::run::{Server, StartFault},
    telemetry::{live, log, writer},
    types::lifecycle::{Conductor, Phase},
};

/// How long open requests have after Ctrl-C at a terminal.
const INTERRUPT_DRAIN: Duration = Duration::from_secs(10);

pub(super) fn run(serve: &Serve) -> ExitCode {
    let overrides = Overrides {
        listen: serve.listen.clone(),
        workers: serve.workers.map(|count| count as usize),
    };
    if serve.config.as_os_str() == args::DEFAULT_CONFIG && !serve.config.exists() {
        complain(&format!(
            "error: there is no `{0}` here\n\
             hint: name a configuration or an OpenAPI document (`sluicegate serve openapi.yaml`), or see one run with `sluicegate demo`\n",
            args::DEFAULT_CONFIG
        ));
        return ExitCode::from(1);
    }
    let mut loaded = load(&serve.config, &overrides);
    if let Some(model) = loaded.model.as_mut().filter(|_| stdout().is_terminal()) {
        model.read_by_people();
    }
    tell(&loaded.diagnostics);
    let is_refused = serve.strict && loaded.diagnostics.errors() > 0;
    let Some(model) = loaded.model.filter(|_| !is_refused) else {
        complain(&format!(
            "{}: the gateway was not started\n",
            summary(&loaded.diagnostics)
        ));
        return ExitCode::from(1);
    };
    log::start();
    let code = match start(&model) {
        Ok(running) => running.until_stopped(model.shutdown),
        Err(fault) => {
            let hint = fault
                .hint
                .as_ref()
                .map_or(String::new(), |hint| format!("hint: {hint}\n"));
            complain(&format!("error: {fault}\n{hint}"));
            ExitCode::from(1)
        }
    };
    writer::flush(Duration::from_secs(2));
    code
}

/// Shows all findings, and at the end what they come to.
fn tell(diagnostics: &Diagnostics) {
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    complain(&render(diagnostics, colour));
    let methods = diagnostics.count(Severity::MethodError);
    if methods > 0 && !diagnostics.is_fatal() {
        complain(&format!(
            "{}: what they concern isn't served as written, all else is\n",
            summary(diagnostics)
        ));
    }
}

/// How long after a signal another one is taken for the same.
const ECHO: Duration = Duration::from_millis(300);

/// A gateway that runs.
pub(super) struct Running {
    server: Server,
    control: tokio::runtime::Runtime,
}

/// Starts a gateway and tells where it listens.
pub(super) fn start(model: &Model) -> Result<Running, StartFault> {
    let fault = |error: std::io::Error| StartFault {
        message: format!("can't start the control thread: {error}"),
        hint: None,
    };
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(fault)?;
    if model.admin.is_some() {
        live::watch();
    }
    let server = Server::start(model, control.handle())?;
    if let Some(address) = model.admin {
        let current = Current::new(Arc::new(model.clone()), server.shared().clone());
        let admin = Admin::new(server.conductor().clone(), current);
        control
            .block_on(admin.start(address))
            .map_err(|error| StartFault {
                message: format!("can't listen on the admin address {address}: {error}"),
                hint: Some("choose another address under `admin:`".to_owned()),
            })?;
    }
    crate::server::health::start(&control, model, server.shared());
    for api in &model.apis {
        let (site, routes) = (&api.site, api.methods.len());
        let base = if site.base_path.is_empty() {
            "/"
        } else {
            &site.base_path
        };
        tracing::info!(
            "serving `{}`, stage `{}`, at {base} ({routes} routes)",
            site.api_name,
            site.stage
        );
    }
    for (address, is_tls) in server.addresses() {
        let scheme = if *is_tls { "https" } else { "http" };
        tracing::info!(
            workers = server.workers(),
            "listening on {scheme}://{address}"
        );
    }
    Ok(Running { server, control })
}

impl Running {
    /// Where it listens first of all.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.server.addresses().first().map(|(address, _)| *address)
    }

    /// Serves until Ctrl-C, and then not much longer.
    pub(super) fn until_interrupted(self) -> ExitCode {
        self.until_stopped(Shutdown {
            pre_stop_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
        })
    }

    /// Serves until a signal stops it.
    fn until_stopped(self, shutdown: Shutdown) -> ExitCode {
        let conductor = self.server.conductor().clone();
        let permits = self.server.permits().clone();
        self.control.spawn(async move {
            let patience = tokio::select! {
                signal = await_signal(shutdown) => match signal {
                    Ok(patience) => patience,
                    Err(_) => return,
                },
                () = conductor.asked_to_stop() => shutdown,
            };
            let announcing = announce_open(permits);
            let second = async {
                // `timeout` and the like signal a process and then its group: that is one signal, said twice.
                tokio::time::sleep(ECHO).await;
                await_signal(shutdown).await
            };
            tokio::select! {
                () = drain(&conductor, patience) => {}
                _ = second => tracing::warn!("second signal: stopping at once"),
                () = announcing => {}
            }
            conductor.advance(Phase::Cut);
        });
        let shared = self.server.shared().clone();
        self.server.join();
        self.control.block_on(shared.stop());
        tracing::info!("stopped");
        ExitCode::SUCCESS
    }
}

/// Waits for SIGTERM or SIGINT. How long the shutdown may take.
async fn await_signal(shutdown: Shutdown) -> std::io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {
            let delay = shutdown.pre_stop_delay.as_secs_f64();
            if shutdown.pre_stop_delay.is_zero() {
                tracing::info!("SIGTERM: shutting down");
            } else {
                tracing::info!("SIGTERM: not ready from now on, closing in {delay} s (shutdown.preStopDelayInMillis)");
            }
            Ok(shutdown)
        }
        _ = interrupt.recv() => {
            tracing::info!("SIGINT: shutting down");
            Ok(Shutdown { pre_stop_delay: Duration::ZERO, drain_timeout: INTERRUPT_DRAIN })
        }
    }
}

async fn drain(conductor: &Conductor, shutdown: Shutdown) {
    conductor.advance(Phase::Unready);
    tokio::time::sleep(shutdown.pre_stop_delay).await;
    conductor.advance(Phase::Draining);
    tokio::time::sleep(shutdown.drain_timeout).await;
}

/// Says now and then how many connections are still waited for.
async fn announce_open(permits: Arc<crate::server::accept::Permits>) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let connections = permits.open();
        if connections > 0 {
            tracing::info!(connections, "waiting for open connections to end");
        }
    }
}
