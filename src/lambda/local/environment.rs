//! One execution environment: from its start, through its invocations, to the end of its last process.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    bootstraps::Bootstraps,
    call::Stage,
    ending::Ending,
    extensions::Extensions,
    failure::Failure,
    occupation::Calls,
    pool::Pool,
    process::{Processes, Tell},
    program::Program,
    server,
    variables::variables,
};
use crate::types::clock::{Tick, Wall};

/// How long a runtime that can't start has to exit of its own.
const LAST_STEPS: Duration = Duration::from_millis(500);

/// An execution environment.
#[derive(Debug)]
pub(super) struct Environment {
    /// Its number in the pool.
    pub number: u64,
    /// The function it runs.
    pub pool: Arc<Pool>,
    /// Its extensions.
    pub extensions: Extensions,
    /// When it was started.
    pub started: Tick,
    /// The runtime has asked for its first event.
    pub ready: CancellationToken,
    /// The runtime has said that it can't start.
    broken: CancellationToken,
    init_failure: OnceLock<Failure>,
    /// Somebody wants it to end.
    ended: CancellationToken,
    ending: OnceLock<Ending>,
    /// One of its processes has ended.
    pub exited: CancellationToken,
    exit: OnceLock<Failure>,
    /// What occupies it.
    pub calls: Mutex<Calls>,
}

impl Environment {
    /// An environment that isn't running yet.
    pub(super) fn new(number: u64, pool: Arc<Pool>) -> Arc<Environment> {
        Arc::new(Environment {
            number,
            pool,
            extensions: Extensions::default(),
            started: Tick::now(),
            ready: CancellationToken::new(),
            broken: CancellationToken::new(),
            init_failure: OnceLock::new(),
            ended: CancellationToken::new(),
            ending: OnceLock::new(),
            exited: CancellationToken::new(),
            exit: OnceLock::new(),
            calls: Mutex::default(),
        })
    }

    /// What occupies it.
    pub(super) fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to end.
    pub(super) fn end(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.ended.cancel();
    }

    /// Ends it, whatever it does.
    pub(super) fn stop(&self) {
        self.end(Ending::Stopped);
        self.fail(&Failure::sandbox("the gateway stops"), |_| true);
    }

    /// Fails the invocations that occupy it, as far as they have come to a stage where that is due.
    fn fail(&self, failure: &Failure, is_due: impl Fn(Stage) -> bool) {
        let calls = self.calls().current.clone();
        for call in calls.iter().filter(|call| is_due(call.stage())) {
            self.conclude(call, call.fail(failure));
        }
    }

    // --- its life

    /// Lives from the start of its processes to their end.
    pub(super) async fn run(self: Arc<Self>) {
        match self.open() {
            Ok((processes, server)) => self.live(processes, server).await,
            Err(failure) => self.not_started(&failure),
        }
        self.pool.gone(self.number);
    }

    fn open(self: &Arc<Self>) -> Result<(Processes, AbortOnDropHandle<()>), Failure> {
        let lacking = |what: &str, error| Failure::sandbox(format!("{what}: {error}"));
        let listener =
            server::listen().map_err(|error| lacking("no port for the Runtime API", error))?;
        let port = listener
            .local_addr()
            .map_err(|error| lacking("no port for the Runtime API", error))?
            .port();
        let processes = self.start(port)?;
        let server = self.serve(listener);
        Ok((processes, server))
    }

    fn start(self: &Arc<Self>, port: u16) -> Result<Processes, Failure> {
        let local = &self.pool.local;
        let unwritten =
            |error| Failure::sandbox(format!("the bundled runtime can't be written: {error}"));
        let bootstraps = Program::is_bundled(local)
            .then(|| Bootstraps::get().map_err(unwritten))
            .transpose()?;
        let directory = bootstraps.as_ref().map(|bootstraps| bootstraps.directory());
        Processes::start(
            &Program::of_runtime(local, directory),
            &Program::of_extensions(local),
            &local.directory,
            &variables(&self.pool.function, local, port, directory),
            &self.teller(),
        )
    }

    fn serve(self: &Arc<Self>, listener: TcpListener) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(server::serve(listener, self.clone())))
    }

    async fn live(&self, mut processes: Processes, server: AbortOnDropHandle<()>) {
        match self.init(&mut processes).await {
            Ok(()) => self.work(&mut processes).await,
            Err(Some(failure)) => {
                self.not_started(&failure);
                if self.broken.is_cancelled() {
                    // A runtime that says so is about to exit.
                    let _ = timeout(LAST_STEPS, processes.exited()).await;
                }
            }
            Err(None) => {}
        }
        self.wind_down(processes).await;
        drop(server);
    }

    /// Waits until the runtime has asked for an event. Without a failure it was asked to end before.
    async fn init(&self, processes: &mut Processes) -> Result<(), Option<Failure>> {
        let most = self.pool.local.init_timeout;
        let failure = tokio::select! {
            biased;
            () = self.ended.cancelled() => return Err(None),
            () = self.broken.cancelled() => self.init_failure.get().cloned(),
            () = self.ready.cancelled() => return Ok(()),
            failure = processes.exited() => self.init_failure.get().cloned().or(Some(failure)),
            () = sleep(most) => Some(Failure::timed_out(most)),
        };
        Err(failure)
    }

    /// Works until it is asked to end, or one of its processes ends.
    async fn work(&self, processes: &mut Processes) {
        loop {
            let idle = self.pool.idle_until(self.number);
            tokio::select! {
                biased;
                () = self.ended.cancelled() => return,
                failure = processes.exited() => return self.crashed(failure),
                () = sleep_until(idle.instant()) => {
                    if self.pool.idle_until(self.number) <= Tick::now() {
                        self.pool.retire(self.number, Ending::Idle);
                    }
                }
            }
        }
    }

    fn not_started(&self, failure: &Failure) {
        let name = &self.pool.function.name;
        tracing::warn!(target: "function", "{name}: no execution environment: {failure}");
        self.pool.not_started(self.number, failure);
    }

    /// A process has ended. What was being answered ends with what is still in its socket.
    fn crashed(&self, failure: Failure) {
        let name = &self.pool.function.name;
        tracing::warn!(target: "function", "{name}: {failure}");
        self.pool.crashed(self.number);
        self.fail(&failure, |stage| stage == Stage::Delivered);
        let _ = self.exit.set(failure);
        self.exited.cancel();
    }

    /// Waits until one of the processes has ended.
    pub(super) async fn exit(&self) -> Option<Failure> {
        self.exited.cancelled().await;
        self.exit.get().cloned()
    }

    async fn wind_down(&self, processes: Processes) {
        let ending = self.ending.get().copied();
        if let Some(ending) = ending.filter(|_| self.exit.get().is_none()) {
            let (name, why) = (&self.pool.function.name, ending.why());
            tracing::debug!(target: "function", "{name}: an execution environment ends because {why}");
        }
        let grace = ending.map_or(Duration::from_secs(1), Ending::grace);
        let is_told = self.extensions.shut_down(ending, Wall::now().after(grace));
        processes.end(grace, is_told).await;
        self.calls().is_closed = true;
        let failure = self.exit.get().cloned();
        let failure =
            failure.unwrap_or_else(|| Failure::sandbox("the execution environment ended"));
        self.fail(&failure, |stage| stage == Stage::Delivered);
        let calls = std::mem::take(&mut self.calls().current);
        for call in calls {
            // What is still being answered is read to the end of its socket, within its own time.
            call.over.cancelled().await;
            call.returned.cancel();
        }
    }

    /// The runtime can't start, and says why. False if it had started.
    pub(super) fn init_failed(&self, failure: Failure) -> bool {
        if self.ready.is_cancelled() {
            return false;
        }
        let _ = self.init_failure.set(failure);
        self.broken.cancel();
        true
    }

    // --- its log

    /// Logs lines, under the id of the invocation if there is exactly one.
    fn teller(self: &Arc<Self>) -> Tell {
        let own = Arc::downgrade(self);
        Arc::new(move |line| {
            let Some(environment) = own.upgrade() else {
                return;
            };
            let name = &environment.pool.function.name;
            let only = match &*environment.calls().current {
                [only] => Some(only.clone()),
                _ => None,
            };
            match only {
                Some(call) => {
                    call.note(line);
                    tracing::info!(target: "function", "({}) {name}: {line}", call.id.as_str());
                }
                None => tracing::info!(target: "function", "{name}: {line}"),
            }
        })
    }
}
