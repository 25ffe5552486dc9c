//! `sluicegate serve`.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::UnboundedReceiver,
};

use super::{
    args::{self, Serve},
    check::summary,
    complain,
    shutdown::{Signals, await_signal, end},
    upgrade,
};
use crate::{
    admin::{Admin, Current},
    config::{
        build::{Loaded, Overrides, TracingVariables},
        codes::Severity,
        diagnostics::Diagnostics,
        model::{Model, Shutdown},
        render::render,
    },
    server::{
        listen::Inherited,
        reload::{Reloader, Source},
        run::{Server, StartFault},
    },
    telemetry::{live, log, writer},
    types::reload::{Ask, Reloads},
};

pub(super) fn run(serve: &Serve) -> ExitCode {
    if serve.config.as_os_str() == args::DEFAULT_CONFIG && !serve.config.exists() {
        complain(&format!(
            "error: there is no `{0}` here\n\
             hint: name a configuration or an OpenAPI document (`sluicegate serve openapi.yaml`), or see one run with `sluicegate demo`\n",
            args::DEFAULT_CONFIG
        ));
        return ExitCode::from(1);
    }
    log::start();
    let mut inherited = Inherited::from_env();
    let source = Source {
        path: serve.config.clone(),
        overrides: Overrides {
            listen: serve.listen.clone(),
            admin: std::env::var("SLUICEGATE_ADMIN")
                .ok()
                .filter(|it| !it.is_empty()),
            workers: serve.workers.map(|count| count as usize),
            watch: serve.watch,
            tracing: TracingVariables::from_env(),
        },
        is_strict: serve.strict,
        is_for_people: stdout().is_terminal(),
    };
    let Loaded { model, diagnostics } = source.load();
    tell(&diagnostics);
    let Some(model) = model else {
        complain(&format!(
            "{}: the gateway was not started\n",
            summary(&diagnostics)
        ));
        return ExitCode::from(1);
    };
    let started = start_on(&mut inherited, &model).and_then(|mut running| {
        running.keep_at(source, diagnostics, model.watch)?;
        Ok(running)
    });
    let code = match started {
        Ok(running) => {
            if let Some(mut ready) = inherited.close_unclaimed() {
                let _ = ready.write_all(b"1");
            }
            let _ = sd_notify::notify(&[NotifyState::Ready]);
            running.until_stopped(None)
        }
        Err(fault) => {
            complain(&fault.told());
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

/// A gateway that runs.
pub(super) struct Running {
    server: Arc<Server>,
    control: tokio::runtime::Runtime,
    reloads: Arc<Reloads>,
    asked: Option<UnboundedReceiver<Ask>>,
    operator: Option<Operator>,
    signals: Signals,
    upgrades: Signal,
}

/// The operator's address: what stands behind it, and its socket.
struct Operator {
    admin: Arc<Admin>,
    socket: TcpListener,
}

/// Starts a gateway and tells where it listens.
pub(super) fn start(model: &Model) -> Result<Running, StartFault> {
    start_on(&mut Inherited::default(), model)
}

fn start_on(inherited: &mut Inherited, model: &Model) -> Result<Running, StartFault> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| StartFault::new(format!("can't start the control thread: {error}")))?;
    if model.admin.is_some() {
        live::watch();
    }
    let server = Arc::new(Server::start_on(inherited, model, control.handle())?);
    // Before anybody can know that it runs; not before it does, or nothing could end a start that hangs.
    let inside = control.enter();
    let deaf = |error| StartFault::new(format!("can't await signals: {error}"));
    let signals = Signals::listen().map_err(deaf)?;
    let upgrades = signal(SignalKind::user_defined2()).map_err(deaf)?;
    drop(inside);
    let (reloads, asked) = Reloads::new();
    let reloads = Arc::new(reloads);
    let open = |address| {
        let _inside = control.enter();
        let admin = Admin::new(
            server.conductor().clone(),
            reloads.clone(),
            current(&server),
        );
        open_operator(inherited, address, admin).map_err(|error| {
            let what = format!("can't listen on the admin address {address}: {error}");
            StartFault::new(what)
                .hint("choose another address under `admin:` or with SLUICEGATE_ADMIN")
        })
    };
    let operator = model.admin.map(open).transpose()?;
    announce(model, &server);
    Ok(Running {
        server,
        control,
        reloads,
        asked: Some(asked),
        operator,
        signals,
        upgrades,
    })
}

/// What the operator is told of.
fn current(server: &Server) -> Current {
    Current::new(Arc::new(server.model()), server.shared())
}

fn open_operator(
    inherited: &mut Inherited,
    address: SocketAddr,
    admin: Arc<Admin>,
) -> std::io::Result<Operator> {
    let socket = match inherited.claim(address).pop() {
        Some(socket) => socket,
        None => TcpListener::bind(address)?,
    };
    socket.set_nonblocking(true)?;
    admin.clone().start(socket.try_clone()?)?;
    Ok(Operator { admin, socket })
}

/// Says what is served, and where.
fn announce(model: &Model, server: &Server) {
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
        let scheme = if is_tls { "https" } else { "http" };
        tracing::info!(
            workers = server.workers(),
            "listening on {scheme}://{address}"
        );
    }
}

impl Running {
    /// Where it listens first of all.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.server.addresses().first().map(|(address, _)| *address)
    }

    /// From now on it serves what `source` says, whenever it is asked to look.
    fn keep_at(
        &mut self,
        source: Source,
        known: Diagnostics,
        is_watching: bool,
    ) -> Result<(), StartFault> {
        let Some(asked) = self.asked.take() else {
            return Ok(());
        };
        let (server, reloads) = (self.server.clone(), self.reloads.clone());
        let operator = self
            .operator
            .as_ref()
            .map(|operator| operator.admin.clone());
        let adopted = move |server: &Server| {
            if let Some(admin) = &operator {
                admin.now_serves(current(server));
            }
        };
        let reloader = Reloader::new(source, server, reloads, known, is_watching);
        let reloader = reloader.telling(adopted);
        let _inside = self.control.enter();
        let run = reloader.run(asked);
        let run = run.map_err(|error| StartFault::new(format!("can't await SIGHUP: {error}")))?;
        self.control.spawn(run);
        Ok(())
    }

    /// Serves until Ctrl-C, and then not much longer.
    pub(super) fn until_interrupted(self) -> ExitCode {
        self.until_stopped(Some(Shutdown {
            pre_stop_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
        }))
    }

    /// Serves until a signal stops it, or a new process has taken over. `fixed` is how, whatever the configuration says.
    fn until_stopped(self, fixed: Option<Shutdown>) -> ExitCode {
        let (server, operator) = (self.server.clone(), self.operator);
        let (mut signals, mut upgrades) = (self.signals, self.upgrades);
        self.control.spawn(async move {
            let patience = match fixed {
                Some(_) => stopping(await_signal(&mut signals, &server, fixed).await),
                None => await_end(&mut signals, &mut upgrades, &server, operator.as_ref()).await,
            };
            end(&mut signals, &server, patience).await;
        });
        self.server.join();
        self.control.block_on(self.server.shared().stop());
        tracing::info!("stopped");
        ExitCode::SUCCESS
    }
}

/// Tells systemd.
fn stopping(shutdown: Shutdown) -> Shutdown {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    shutdown
}

/// Waits for a signal that ends the gateway, or for a new process to take over. How long the end may take.
async fn await_end(
    signals: &mut Signals,
    upgrades: &mut Signal,
    server: &Server,
    operator: Option<&Operator>,
) -> Shutdown {
    loop {
        let successor = async {
            upgrades.recv().await;
            upgrade(server, operator).await
        };
        tokio::select! {
            shutdown = await_signal(signals, server, None) => return stopping(shutdown),
            () = server.conductor().asked_to_stop() => return stopping(server.shutdown()),
            is_over = successor => if is_over {
                return server.shutdown();
            },
        }
    }
}

/// Hands over to a new process. Whether there is one now.
async fn upgrade(server: &Server, operator: Option<&Operator>) -> bool {
    tracing::info!("SIGUSR2: starting a new process on the same sockets");
    match upgrade::hand_over(server, operator.map(|operator| &operator.socket)).await {
        Ok(successor) => {
            if let Some(operator) = operator {
                operator.admin.leave();
            }
            let _ = sd_notify::notify(&[NotifyState::MainPid(successor)]);
            let delay = server.shutdown().pre_stop_delay.as_secs_f64();
            tracing::info!(
                successor,
                "the new process serves: this one closes in {delay} s"
            );
            true
        }
        Err(error) => {
            tracing::error!(%error, "no new process took over, this one goes on");
            false
        }
    }
}
