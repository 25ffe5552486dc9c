//! A running server: its workers, what it is told to serve, and the one way to stop it.

use std::{
    fmt,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking},
    thread::JoinHandle,
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{
    health::Checks,
    listen::{Inherited, bind_all, distribute},
    memory::Guard,
    permits::{Permits, most_connections},
    tls,
    worker::{Order, Place, Plan, Worker},
};
use crate::{
    config::model::{Http, Listener, Model, Shutdown},
    gateway::snapshot::{Shared, Snapshot},
    types::lifecycle::Conductor,
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
    /// A fault nobody knows a cure for.
    pub fn new(message: impl Into<String>) -> StartFault {
        StartFault {
            message: message.into(),
            hint: None,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> StartFault {
        self.hint = Some(hint.into());
        self
    }

    /// Itself and its hint, each on a line, as commands and reports say it.
    pub fn told(&self) -> String {
        let hint = self.hint.as_ref();
        let hint = hint.map_or(String::new(), |hint| format!("hint: {hint}\n"));
        format!("error: {self}\n{hint}")
    }
}

/// How long a worker may take to adopt a configuration before nobody waits for it any longer.
const ADOPTION: Duration = Duration::from_secs(5);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    conductor: Arc<Conductor>,
    permits: Arc<Permits>,
    control: Handle,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    served: Mutex<Served>,
}

/// What is served at present.
#[derive(Debug)]
struct Served {
    model: Model,
    shared: Arc<Shared>,
    listening: Vec<Listening>,
    checks: Checks,
    guard: Guard,
}

/// A listener that is open on all workers.
#[derive(Clone, Debug)]
struct Listening {
    id: u64,
    said: Listener,
    /// Where it is, which `said` leaves open for port 0.
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

/// The listeners of a model, and for each worker the sockets of those that are new.
struct Arranged {
    listening: Vec<Listening>,
    sockets: Vec<Vec<(u64, Vec<std::net::TcpListener>)>>,
}

impl Server {
    /// Starts workers for `model`; `control` is where functions are looked after.
    pub fn start(model: &Model, control: &Handle) -> Result<Server, StartFault> {
        Server::start_on(&mut Inherited::default(), model, control)
    }

    /// The same, on sockets that were inherited as far as there are any.
    pub fn start_on(
        inherited: &mut Inherited,
        model: &Model,
        control: &Handle,
    ) -> Result<Server, StartFault> {
        let count = model.workers.unwrap_or_else(available_workers).max(1);
        let arranged = arrange(&[], inherited, model, count)?;
        let shared = Arc::new(Shared::new(model, control));
        let conductor = Arc::new(Conductor::default());
        let permits = Arc::new(Permits::new(most_connections(&model.http)));
        let guard = Guard::start(model.memory_limit, &shared.memory, control);
        let (mut orders, mut threads) = (Vec::new(), Vec::new());
        for (number, plan) in plans(model, &shared, &arranged.listening, arranged.sockets)?
            .into_iter()
            .enumerate()
        {
            let (order, ordered) = mpsc::unbounded_channel();
            let worker = Worker {
                plan,
                permits: permits.clone(),
                conductor: conductor.clone(),
                memory: shared.memory.clone(),
                orders: ordered,
            };
            threads.push(worker.spawn(number)?);
            orders.push(order);
        }
        let mut checks = Checks::default();
        checks.follow(model, &shared, control);
        Ok(Server {
            conductor,
            permits,
            control: control.clone(),
            orders,
            threads: Mutex::new(threads),
            served: Mutex::new(Served {
                model: in_effect(model.clone(), model.admin, count),
                shared,
                listening: arranged.listening,
                checks,
                guard,
            }),
        })
    }

    /// Serves `model` from now on; waits until all workers do. If that can't be, nothing changes. Says what of the model
    /// takes effect only after a restart.
    pub fn reload(&self, model: Model) -> Result<Vec<String>, StartFault> {
        let mut served = self.served();
        let count = self.workers();
        let mut none = Inherited::default();
        let arranged = arrange(&served.listening, &mut none, &model, count)?;
        let shared = served
            .shared
            .followed_by(Some(&served.model), &model, &self.control);
        let plans = plans(&model, &shared, &arranged.listening, arranged.sockets)?;
        let (done, is_done) = blocking::channel();
        for (order, plan) in self.orders.iter().zip(plans) {
            let _ = order.send(Order::Adopt(Box::new(plan), done.clone()));
        }
        drop(done);
        while is_done.recv_timeout(ADOPTION).is_ok() {}
        self.permits.allow(most_connections(&model.http));
        served.checks.follow(&model, &shared, &self.control);
        let limit = model.memory_limit;
        served.guard.follow(limit, &shared.memory, &self.control);
        let mut left = Vec::new();
        let wanted = model.workers.unwrap_or_else(available_workers).max(1);
        if wanted != count {
            left.push(format!("`workers`: {count} run, {wanted} after a restart"));
        }
        if model.admin != served.model.admin {
            left.push("`admin`: its address changes with a restart".to_owned());
        }
        tell_changes(&served.listening, &arranged.listening);
        served.listening = arranged.listening;
        served.shared = Arc::new(shared);
        served.model = in_effect(model, served.model.admin, count);
        Ok(left)
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens, and whether with TLS.
    pub fn addresses(&self) -> Vec<(SocketAddr, bool)> {
        let served = self.served();
        let listening = served.listening.iter();
        listening.map(|it| (it.address, it.tls.is_some())).collect()
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
    pub fn shared(&self) -> Arc<Shared> {
        self.served().shared.clone()
    }

    /// What is served.
    pub fn model(&self) -> Model {
        self.served().model.clone()
    }

    /// How it is to stop.
    pub fn shutdown(&self) -> Shutdown {
        self.served().model.shutdown
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.orders.len()
    }

    /// How many requests are under way.
    pub async fn exchanges(&self) -> usize {
        self.ask(Order::Count).await.into_iter().sum()
    }

    /// Duplicates of all listening sockets, for a process that is to take over.
    pub async fn lend_sockets(&self) -> Vec<OwnedFd> {
        self.ask(Order::Lend).await.into_iter().flatten().collect()
    }

    async fn ask<T>(&self, order: impl Fn(oneshot::Sender<T>) -> Order) -> Vec<T> {
        let mut answers = Vec::new();
        for worker in &self.orders {
            let (answer, answered) = oneshot::channel();
            let _ = worker.send(order(answer));
            answers.extend(answered.await.ok());
        }
        answers
    }

    /// Waits until all workers have ended, which they do once the server has drained.
    pub fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// Says which listeners are new and which are gone.
fn tell_changes(before: &[Listening], now: &[Listening]) {
    let is_in = |list: &[Listening], it: &Listening| list.iter().any(|other| other.id == it.id);
    for new in now.iter().filter(|it| !is_in(before, it)) {
        let scheme = if new.tls.is_some() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{}", new.address);
    }
    for gone in before.iter().filter(|it| !is_in(now, it)) {
        tracing::info!("listening no longer on {}", gone.address);
    }
}

/// A model as it is served: with what only a restart changes as it is, and what it leaves open as it was chosen.
fn in_effect(model: Model, admin: Option<SocketAddr>, workers: usize) -> Model {
    let http = Http {
        max_connections: Some(most_connections(&model.http)),
        ..model.http
    };
    Model {
        admin,
        workers: Some(workers),
        http,
        ..model
    }
}

/// The CPUs this process may use.
fn available_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Finds the listeners of a model among those that are open, and opens the others.
fn arrange(
    open: &[Listening],
    inherited: &mut Inherited,
    model: &Model,
    workers: usize,
) -> Result<Arranged, StartFault> {
    let own_ports: Vec<u16> = open.iter().map(|own| own.address.port()).collect();
    let mut next = open.iter().map(|own| own.id + 1).max().unwrap_or(0);
    let mut open: Vec<Listening> = open.to_vec();
    let mut arranged = Arranged {
        listening: Vec::new(),
        sockets: (0..workers).map(|_| Vec::new()).collect(),
    };
    for said in &model.listeners {
        let at = open.iter().position(|own| own.said.address == said.address);
        let own = at.map(|at| open.remove(at));
        let tls = server_config(own.as_ref(), said)?;
        let (id, address) = match own {
            Some(own) => (own.id, own.address),
            None => {
                let mut sockets = inherited.claim(said.address);
                if sockets.is_empty() {
                    sockets = bind_all(said.address, workers, &own_ports)?;
                }
                let fault = |error: std::io::Error| StartFault::new(error.to_string());
                let address = sockets
                    .first()
                    .map_or(Ok(said.address), std::net::TcpListener::local_addr);
                let shares = distribute(sockets, workers).map_err(fault)?;
                for (worker, share) in arranged.sockets.iter_mut().zip(shares) {
                    worker.push((next, share));
                }
                next += 1;
                (next - 1, address.map_err(fault)?)
            }
        };
        arranged.listening.push(Listening {
            id,
            said: said.clone(),
            address,
            tls,
        });
    }
    Ok(arranged)
}

/// What stays the same keeps its sessions; after any change, nobody resumes one that began before.
fn server_config(
    own: Option<&Listening>,
    said: &Listener,
) -> Result<Option<Arc<ServerConfig>>, StartFault> {
    if let Some(own) = own.filter(|own| own.said.tls == said.tls) {
        return Ok(own.tls.clone());
    }
    let made = said.tls.as_ref().map(tls::server_config).transpose();
    made.map_err(|fault| StartFault::new(fault.to_string()))
}

/// What each worker is to serve.
fn plans(
    model: &Model,
    shared: &Shared,
    listening: &[Listening],
    sockets: Vec<Vec<(u64, Vec<std::net::TcpListener>)>>,
) -> Result<Vec<Plan>, StartFault> {
    let plan = |mut own: Vec<(u64, Vec<std::net::TcpListener>)>| {
        let mut place = |it: &Listening| {
            let at = own.iter().position(|(id, _)| *id == it.id);
            Place {
                id: it.id,
                tls: it.tls.clone(),
                h2c: it.said.h2c,
                proxy_protocol: it.said.proxy_protocol,
                serves: it.said.serves,
                sockets: at.map(|at| own.swap_remove(at).1).unwrap_or_default(),
            }
        };
        let places = listening.iter().map(&mut place).collect();
        Snapshot::build(model, shared)
            .map(|snapshot| Plan {
                snapshot,
                http: model.http.clone(),
                places,
            })
            .map_err(|error| StartFault::new(error.to_string()))
    };
    sockets.into_iter().map(plan).collect()
}
