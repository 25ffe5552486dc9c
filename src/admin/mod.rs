//! The operator's address: health, metrics, what is served and how, the streams that are open, and a few things to do.
//!
//! It has no password. What changes something is done only for clients on this machine, and what tells how the gateway is
//! configured isn't told to web pages that were lured here (`access.rs`). Nothing told here is a secret (`config.rs`).

mod access;
mod answer;
mod config;
mod metrics;
mod routes;
mod status;
mod streams;

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    config::model::Model,
    gateway::snapshot::Shared,
    route::Router,
    telemetry::log,
    types::{
        lifecycle::Conductor,
        reload::{Reloads, Report},
    },
};
use answer::Answer;

/// How long the one client has that is served out of turn, while no descriptors are left for others.
const OUT_OF_TURN: Duration = Duration::from_secs(1);
/// Bytes that a request to the operator's address may carry.
const MOST_BODY: usize = 4096;

/// The configuration that is being served.
#[derive(Debug)]
pub struct Current {
    model: Arc<Model>,
    router: Router,
    shared: Arc<Shared>,
}

impl Current {
    /// What is told of `model`.
    pub fn new(model: Arc<Model>, shared: Arc<Shared>) -> Current {
        Current {
            router: Router::new(&model.apis),
            model,
            shared,
        }
    }
}

/// The operator's address and what stands behind it.
#[derive(Debug)]
pub struct Admin {
    conductor: Arc<Conductor>,
    reloads: Arc<Reloads>,
    current: ArcSwap<Current>,
    leaving: CancellationToken,
}

impl Admin {
    /// Tells of `current`, asks `conductor` to end the gateway, and `reloads` to load its configuration anew.
    pub fn new(conductor: Arc<Conductor>, reloads: Arc<Reloads>, current: Current) -> Arc<Admin> {
        Arc::new(Admin {
            conductor,
            reloads,
            current: ArcSwap::from_pointee(current),
            leaving: CancellationToken::new(),
        })
    }

    /// From now on another configuration is served.
    pub fn now_serves(&self, current: Current) {
        self.current.store(Arc::new(current));
    }

    /// Takes the operator's connections, on a socket that doesn't block, until it leaves.
    pub fn start(self: Arc<Self>, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let own = listener.local_addr()?;
        tracing::info!("admin on http://{own}");
        if !own.ip().is_loopback() {
            tracing::info!(
                "the admin address can be reached from elsewhere: metrics, configuration and streams can be read there"
            );
        }
        tokio::spawn(async move {
            let leaving = self.leaving.clone();
            leaving.run_until_cancelled(self.accept(listener)).await;
        });
        Ok(())
    }

    /// Somebody else has the address from now on: takes no more connections, and closes those that are open once they have
    /// their present answer.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        // Kept for the moment when all other descriptors are in use: health must still be told then.
        let mut reserve = std::fs::File::open("/dev/null").ok();
        loop {
            match listener.accept().await {
                Ok((tcp, client)) => drop(tokio::spawn(self.clone().serve(tcp, client, true))),
                Err(error) => {
                    let is_exhausted = matches!(error.raw_os_error(), Some(23 | 24));
                    if is_exhausted
                        && reserve.take().is_some()
                        && let Ok((tcp, client)) = listener.accept().await
                    {
                        // Others wait for their turn meanwhile.
                        let serve = self.clone().serve(tcp, client, false);
                        let _ = tokio::time::timeout(OUT_OF_TURN, serve).await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    reserve = reserve.or_else(|| std::fs::File::open("/dev/null").ok());
                }
            }
        }
    }

    /// Serves a connection: one request, or all that it has if it `keeps` open.
    async fn serve(self: Arc<Self>, tcp: TcpStream, client: SocketAddr, keeps: bool) {
        let leaving = self.leaving.clone();
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request, client).await.into()) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .keep_alive(keeps)
            .header_read_timeout(Duration::from_secs(10))
            .max_buf_size(16 * 1024);
        let mut serving = pin!(builder.serve_connection(TokioIo::new(tcp), service));
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = leaving.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.as_mut().await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, client: SocketAddr) -> Answer {
        let (parts, body) = request.into_parts();
        if let Err(refusal) = access::check(&parts, client) {
            return refusal;
        }
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        let path = parts.uri.path();
        if let Some(id) = path.strip_prefix("/streams/") {
            return match parts.method {
                Method::DELETE => streams::terminate(id),
                _ => Answer::not_allowed("DELETE"),
            };
        }
        let query = parts.uri.query().unwrap_or_default();
        let current = self.current.load();
        match path {
            "/drain" if parts.method == Method::POST => self.drain(),
            "/reload" if parts.method == Method::POST => self.reload().await,
            "/log-level" if parts.method == Method::PUT => set_log_level(body).await,
            "/drain" | "/reload" => Answer::not_allowed("POST"),
            "/log-level" if !is_read => Answer::not_allowed("GET, PUT"),
            "/healthz" | "/readyz" | "/metrics" | "/config" | "/routes" | "/streams" | "/"
                if !is_read =>
            {
                Answer::not_allowed("GET")
            }
            "/" => Answer::text(StatusCode::OK, answer::CALLS),
            "/healthz" => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let level = current.shared.memory.level();
                status::ready(self.conductor.phase(), level, &parts.headers)
            }
            "/metrics" => metrics::page(&current, self.conductor.phase()),
            "/config" => config::effective(&current.model, &current.shared.memory),
            "/routes" => routes::answer(&current, query),
            "/streams" => streams::list(query),
            "/log-level" => Answer::text(StatusCode::OK, format!("{}\n", log_level())),
            _ => Answer::text(StatusCode::NOT_FOUND, answer::CALLS),
        }
    }

    async fn reload(&self) -> Answer {
        match self.reloads.ask().await {
            Some(report) => told(&report),
            None => Answer::text(StatusCode::CONFLICT, "this gateway can't be reloaded\n"),
        }
    }

    fn drain(&self) -> Answer {
        tracing::info!("an operator asked for the shutdown");
        self.conductor.ask_to_stop();
        Answer::text(StatusCode::ACCEPTED, "shutting down\n")
    }
}

/// What came of a reload, which is served or refused by now.
fn told(report: &Report) -> Answer {
    let number = report.generation;
    let (status, said) = if report.is_adopted {
        let said = format!("configuration {number} is served\n");
        (StatusCode::OK, said)
    } else {
        let said = format!("not reloaded: configuration {number} is still served\n");
        (StatusCode::UNPROCESSABLE_ENTITY, said)
    };
    Answer::text(status, format!("{said}{}", report.text))
}

fn log_level() -> String {
    log::level().unwrap_or_default()
}

async fn set_log_level(body: Incoming) -> Answer {
    let body = Limited::new(body, MOST_BODY).collect().await;
    let words = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let words = words.trim();
    let result = if words.is_empty() {
        Err("say what is to be told, such as `debug` or `info,sluicegate=trace`".to_owned())
    } else {
        log::set_level(words)
    };
    match result {
        Ok(()) => {
            tracing::warn!("an operator set the log level to {words:?}");
            Answer::text(StatusCode::OK, format!("{}\n", log_level()))
        }
        Err(why) => Answer::text(StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}
