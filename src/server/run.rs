//! A running server: its workers, and the one way to stop them.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::task::TaskTracker;

use super::{
    Service,
    accept::{Acceptor, Permits, bind, probe},
    registry, tls,
};
use crate::{
    config::model::Model,
    gateway::{
        Gateway,
        snapshot::{Shared, Snapshot},
    },
    types::{
        clock::Tick,
        lifecycle::{Conductor, Phase, reached},
        peer::Serves,
    },
    upstream::pool,
};

/// Why a server can't start.
#[derive(Debug)]
pub struct StartFault {
    /// What can't be done.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartFault {}

impl StartFault {
    fn new(message: impl Into<String>) -> StartFault {
        StartFault {
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> StartFault {
        self.hint = Some(hint.into());
        self
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(SocketAddr, bool)>,
    conductor: Arc<Conductor>,
    permits: Arc<Permits>,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What a listener becomes on each worker.
#[derive(Clone)]
struct Bound {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    h2c: bool,
    proxy_protocol: bool,
    serves: Serves,
}

impl Server {
    /// Starts workers for `model`; `control` is where functions are looked after.
    pub fn start(model: &Model, control: &Handle) -> Result<Server, StartFault> {
        let count = model.workers.unwrap_or_else(available_workers).max(1);
        let mut listeners: Vec<(Bound, Vec<std::net::TcpListener>)> = Vec::new();
        for listener in &model.listeners {
            let tls = listener.tls.as_ref().map(tls::server_config).transpose();
            let tls = tls.map_err(|fault| StartFault::new(fault.to_string()))?;
            let (address, sockets) = bind_all(listener.address, count)?;
            listeners.push((
                Bound {
                    address,
                    tls,
                    h2c: listener.h2c,
                    proxy_protocol: listener.proxy_protocol,
                    serves: listener.serves,
                },
                sockets,
            ));
        }
        let shared = Arc::new(Shared::new(model, control));
        let conductor = Arc::new(Conductor::default());
        let permits = Arc::new(Permits::new(
            model
                .http
                .max_connections
                .unwrap_or_else(default_connections),
        ));
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let snapshot = Snapshot::build(model, &shared)
                .map_err(|error| StartFault::new(error.to_string()))?;
            let service = Service {
                gateway: Gateway::new(snapshot),
                http: model.http.clone(),
                is_leaving: AtomicBool::new(false),
            };
            let own = listeners
                .iter_mut()
                .filter_map(|(bound, sockets)| Some((bound.clone(), sockets.pop()?)))
                .collect();
            let worker = Worker {
                service,
                listeners: own,
                permits: permits.clone(),
                conductor: conductor.clone(),
            };
            workers.push(worker.spawn(number)?);
        }
        let addresses = listeners
            .iter()
            .map(|(bound, _)| (bound.address, bound.tls.is_some()))
            .collect();
        Ok(Server {
            addresses,
            conductor,
            permits,
            shared,
            workers,
        })
    }

    /// Where it listens, and whether with TLS.
    pub fn addresses(&self) -> &[(SocketAddr, bool)] {
        &self.addresses
    }

    /// To move it through the phases of its end.
    pub fn conductor(&self) -> &Arc<Conductor> {
        &self.conductor
    }

    /// How many client connections are open.
    pub fn permits(&self) -> &Arc<Permits> {
        &self.permits
    }

    /// What its workers share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Waits until all workers have ended, which they do once the server has drained.
    pub fn join(self) {
        for worker in self.workers {
            let _ = worker.join();
        }
    }
}

/// The CPUs this process may use.
fn available_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Each client connection may need another one to a backend; some descriptors are kept for logs and the operator.
fn default_connections() -> usize {
    const KEPT: u64 = 128;
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    usize::try_from(limit.saturating_sub(KEPT) / 2)
        .unwrap_or(usize::MAX)
        .max(16)
}

fn bind_all(
    address: SocketAddr,
    count: usize,
) -> Result<(SocketAddr, Vec<std::net::TcpListener>), StartFault> {
    let fault = |error: io::Error| {
        let fault = StartFault::new(format!("can't listen on {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => fault.hint(
                "another program listens there; stop it, or choose another address under `listeners:` or with SLUICEGATE_LISTEN",
            ),
            io::ErrorKind::PermissionDenied => {
                fault.hint("ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); a port like 8080 doesn't")
            }
            io::ErrorKind::AddrNotAvailable => fault.hint("this machine has no such address; `0.0.0.0` takes all it has"),
            _ => fault,
        }
    };
    probe(address).map_err(fault)?;
    let first = bind(address).map_err(fault)?;
    let bound = first.local_addr().map_err(fault)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind(bound).map_err(fault)?);
    }
    Ok((bound, sockets))
}

struct Worker {
    service: Service,
    listeners: Vec<(Bound, std::net::TcpListener)>,
    permits: Arc<Permits>,
    conductor: Arc<Conductor>,
}

impl Worker {
    /// Starts the worker's thread, and waits until it accepts.
    fn spawn(self, number: usize) -> Result<JoinHandle<()>, StartFault> {
        let fault = |error: io::Error| StartFault::new(format!("can't start a worker: {error}"));
        let (ready, is_ready) = mpsc::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(self.run(&ready)),
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(run)
            .map_err(fault)?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(error)) => Err(fault(error)),
            Err(_) => Err(StartFault::new("a worker ended before it began")),
        }
    }

    async fn run(self, ready: &mpsc::Sender<io::Result<()>>) {
        let service = Arc::new(self.service);
        let tasks = TaskTracker::new();
        let mut accepting = Vec::new();
        for (bound, socket) in self.listeners {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    let acceptor = Acceptor {
                        listener,
                        tls: bound.tls,
                        h2c: bound.h2c,
                        proxy_protocol: bound.proxy_protocol,
                        serves: bound.serves,
                    };
                    let phases = self.conductor.subscribe();
                    let run =
                        acceptor.run(service.clone(), self.permits.clone(), tasks.clone(), phases);
                    accepting.push(tokio::spawn(run));
                }
                Err(error) => return drop(ready.send(Err(error))),
            }
        }
        let _ = ready.send(Ok(()));
        let sweeping = tokio::spawn(sweep());
        let mut phases = self.conductor.subscribe();
        reached(&mut phases, Phase::Unready).await;
        service.is_leaving.store(true, Relaxed);
        reached(&mut phases, Phase::Draining).await;
        for acceptor in accepting {
            let _ = acceptor.await;
        }
        registry::close_all();
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = reached(&mut phases, Phase::Cut) => {
                registry::cut_all();
                // A verdict's grace, and then some.
                let _ = tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await;
            }
        }
        sweeping.abort();
    }
}

async fn sweep() {
    loop {
        tokio::time::sleep(pool::SWEEP).await;
        pool::sweep(Tick::now());
    }
}
