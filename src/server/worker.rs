//! A worker: one thread that accepts connections and serves them, and does what the server orders.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc as blocking,
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Service,
    accept::{self, Acceptor, Door, Terms},
    handshake,
    permits::Permits,
    registry,
    run::StartFault,
};
use crate::{
    config::model::Http,
    gateway::{Gateway, snapshot::Snapshot},
    stream::unattended,
    types::{
        clock::Tick,
        lifecycle::{Conductor, Phase},
        memory::{Level, Memory},
        peer::Serves,
    },
    upstream::pool,
};

/// How long connections have to end once they are cut: a verdict's grace, and then some.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// What a worker serves.
#[derive(Debug)]
pub struct Plan {
    /// Its own snapshot.
    pub snapshot: Snapshot,
    /// Limits on connections; those that are open keep theirs.
    pub http: Http,
    /// All its listeners.
    pub places: Vec<Place>,
}

/// A listener as a worker sees it.
#[derive(Debug)]
pub struct Place {
    /// By which it is recognised in later plans.
    pub id: u64,
    /// TLS, if any.
    pub tls: Option<Arc<ServerConfig>>,
    /// HTTP/2 with prior knowledge.
    pub h2c: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether it serves APIs, functions, or both.
    pub serves: Serves,
    /// Sockets, if the worker doesn't have them yet.
    pub sockets: Vec<std::net::TcpListener>,
}

/// What a worker is told.
#[derive(Debug)]
pub enum Order {
    /// Serve this from now on, and say when.
    Adopt(Box<Plan>, blocking::Sender<()>),
    /// Give duplicates of the listening sockets.
    Lend(oneshot::Sender<Vec<OwnedFd>>),
    /// Count the exchanges under way.
    Count(oneshot::Sender<usize>),
}

/// A worker before it runs.
pub(super) struct Worker {
    pub(super) plan: Plan,
    pub(super) permits: Arc<Permits>,
    pub(super) conductor: Arc<Conductor>,
    pub(super) memory: Arc<Memory>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
}

/// A worker that runs.
struct Running {
    gateway: Arc<Gateway>,
    ends_keep_alive: Arc<AtomicBool>,
    doors: HashMap<u64, Open>,
    permits: Arc<Permits>,
    tasks: TaskTracker,
}

/// A listener that is open.
struct Open {
    terms: Arc<ArcSwap<Terms>>,
    closing: CancellationToken,
    sockets: Vec<Arc<TcpListener>>,
}

impl Worker {
    /// Starts the worker's thread, and waits until it accepts.
    pub(super) fn spawn(self, number: usize) -> Result<JoinHandle<()>, StartFault> {
        let fault = |error: io::Error| StartFault::new(format!("can't start a worker: {error}"));
        let (ready, is_ready) = blocking::channel();
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

    async fn run(self, ready: &blocking::Sender<io::Result<()>>) {
        let Plan {
            snapshot,
            http,
            places,
        } = self.plan;
        let mut running = Running {
            gateway: Arc::new(Gateway::new(snapshot)),
            ends_keep_alive: Arc::default(),
            doors: HashMap::new(),
            permits: self.permits,
            tasks: TaskTracker::new(),
        };
        if let Err(error) = running.arrange(http, places) {
            return drop(ready.send(Err(error)));
        }
        let _ = ready.send(Ok(()));
        let sweeping = tokio::spawn(sweep());
        let permits = running.permits.clone();
        let making_room = tokio::spawn(async move { permits.room().answer().await });
        running
            .serve(&self.conductor, &self.memory, self.orders)
            .await;
        sweeping.abort();
        making_room.abort();
    }
}

impl Running {
    /// Serves until the server has drained or is cut.
    async fn serve(
        &mut self,
        conductor: &Conductor,
        memory: &Memory,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut phases = conductor.subscribe();
        let mut levels = memory.subscribe();
        self.spare(memory.level());
        loop {
            let phase = *phases.borrow_and_update();
            let ends_keep_alive = phase >= Phase::Unready || memory.level() >= Level::Tight;
            self.ends_keep_alive.store(ends_keep_alive, Relaxed);
            if phase >= Phase::Draining {
                self.close_all();
            }
            if phase >= Phase::Cut {
                break;
            }
            let tasks = self.tasks.clone();
            tokio::select! {
                changed = phases.changed() => if changed.is_err() {
                    break;
                },
                Ok(()) = levels.changed() => self.spare(*levels.borrow_and_update()),
                Some(order) = orders.recv() => self.obey(order),
                () = ended(&tasks), if phase >= Phase::Draining => return,
            }
        }
        self.close_all();
        registry::cut_all();
        let _ = tokio::time::timeout(LAST_GRACE, self.tasks.wait()).await;
    }

    /// Takes in and keeps only what memory is left for.
    fn spare(&self, level: Level) {
        self.gateway.turn_away(level == Level::Short);
        if level >= Level::Tight {
            registry::close_idle(Tick::now());
            pool::clear();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Adopt(plan, adopted) => {
                let Plan {
                    snapshot,
                    http,
                    places,
                } = *plan;
                self.gateway.adopt(snapshot);
                // A server that drains opens no door again.
                let arranged = if self.tasks.is_closed() {
                    Ok(())
                } else {
                    self.arrange(http, places)
                };
                if let Err(error) = arranged {
                    tracing::error!(%error, "a worker can't accept on a new listener");
                }
                let _ = adopted.send(());
            }
            Order::Lend(lent) => drop(lent.send(self.lend())),
            Order::Count(count) => {
                let _ = count.send(registry::exchanges() + unattended::count());
            }
        }
    }

    /// Opens, changes and closes listeners until they are `places`.
    fn arrange(&mut self, http: Http, places: Vec<Place>) -> io::Result<()> {
        let is_listed = |id: &u64| places.iter().any(|place| place.id == *id);
        for (id, open) in self.doors.extract_if(|id, _| !is_listed(id)) {
            open.closing.cancel();
            registry::close_door(id);
        }
        let service = Arc::new(Service {
            gateway: self.gateway.clone(),
            http,
            ends_keep_alive: self.ends_keep_alive.clone(),
        });
        for place in places {
            let terms = Arc::new(Terms {
                service: service.clone(),
                tls: place.tls,
                h2c: place.h2c,
                proxy_protocol: place.proxy_protocol,
                serves: place.serves,
            });
            match self.doors.get(&place.id) {
                Some(open) => open.terms.store(terms),
                None => self.open(place.id, terms, place.sockets)?,
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        id: u64,
        terms: Arc<Terms>,
        sockets: Vec<std::net::TcpListener>,
    ) -> io::Result<()> {
        let sockets: Vec<Arc<TcpListener>> = sockets
            .into_iter()
            .map(|socket| TcpListener::from_std(socket).map(Arc::new))
            .collect::<io::Result<_>>()?;
        let open = Open {
            terms: Arc::new(ArcSwap::new(terms)),
            closing: CancellationToken::new(),
            sockets,
        };
        for socket in &open.sockets {
            let acceptor = Acceptor {
                listener: socket.clone(),
                terms: open.terms.clone(),
                door: Door {
                    id,
                    closing: open.closing.clone(),
                },
                permits: self.permits.clone(),
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn(acceptor.run());
        }
        self.doors.insert(id, open);
        Ok(())
    }

    /// Takes no more connections, and asks those there are to end.
    fn close_all(&mut self) {
        if self.tasks.close() {
            for (_, open) in self.doors.drain() {
                open.closing.cancel();
            }
            registry::close_all();
        }
    }

    fn lend(&self) -> Vec<OwnedFd> {
        let sockets = self.doors.values().flat_map(|open| &open.sockets);
        sockets
            .filter_map(|socket| socket.as_fd().try_clone_to_owned().ok())
            .collect()
    }
}

/// Everything has ended: the connections, and then what nobody waited for on one.
async fn ended(connections: &TaskTracker) {
    connections.wait().await;
    unattended::ended().await;
}

async fn sweep() {
    loop {
        tokio::time::sleep(pool::SWEEP).await;
        let now = Tick::now();
        pool::sweep(now);
        accept::tell_rest(now);
        handshake::tell_rest(now);
    }
}
